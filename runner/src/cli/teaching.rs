//! What `--help` teaches beside the options.

/// Of `fence --help`.
pub(super) const OVERVIEW: &str = "\
Examples:
  fence npm test                    run a command under the policy found here, or `default`
  fence -p default -- ls -la        name the policy; after the first word all is the command's
  fence -c 'make && ./check'        a line of shell text
  fence why write ~/.bashrc         is it allowed, and which rule says so
  fence check                       what the policy here means on this machine
  fence show                        every rule in force, with where it comes from

A word that is not in the list above is a command to run. To run a program that has
the name of such a word, write `fence run -- NAME`.

Exit status of a command that ran: its own; 125 when fence itself failed, 126 when the
policy refused the command or it cannot be executed, 127 when it was not found, 124 when
a time limit ended it, 128+N for a signal. Of the other words: 0 yes or clean, 1 no or a
finding, 2 could not answer.";

/// Of `fence run --help`.
pub(super) const RUN: &str = "\
Examples:
  fence run -- git status           the arguments are the command's, exactly as they are
  fence run -p ./ci.fence -p default -- make
                                    two policies are a union
  fence run --rule 'allow read ~/notes' -- cat ~/notes/todo
                                    one more statement, for this run
  fence run -c 'echo \"$1\"' -- sh hello
                                    shell text with $0 and $1
  fence run -v -- true              tell what is enforced, by what, in which order
  fence run -m -- npm install       tell each refusal as it happens
  fence run --ask -- npm test       ask before a connection or a command is refused
  fence run --dry-run -- make       run nothing, and say what would hold
  #!/usr/bin/env -S fence run -p default --
                                    as the first line of a script

Exit status: the command's own; 125 when fence itself failed, 126 when the policy refused
the command or it cannot be executed, 127 when it was not found, 124 when a time limit
ended it, 128+N for a signal.";

/// Of `fence overlay --help`.
pub(super) const OVERLAY: &str = "\
Examples:
  fence run --overlay try -- make   writes go to the overlay `try`; it is made if there is none
  fence overlay list
  fence overlay diff try            what it holds that the host has not
  fence overlay apply try           carry that over
  fence overlay apply try src       only what is in `src`
  fence overlay discard try         drop it
  fence run --overlay tmp -- make   writes are gone at the end

Exit status: 0 done, 1 there is no overlay of that name, the host has changed something
since, or something could not be carried over, 2 could not.";

/// Of `fence audit --help`.
pub(super) const AUDIT: &str = "\
Examples:
  fence run --log run.jsonl -- npm install
  fence audit run.jsonl             what was reached, what was refused, by which rules
  fence audit --format json run.jsonl

Exit status: 0 nothing was refused, 1 something was, 2 could not answer.";

/// Of `fence check --help`.
pub(super) const CHECK: &str = "\
Examples:
  fence check                       the policy that `fence run` would take here
  fence check ci.fence default      two policies, each by itself
  fence check -v                    also the rules that are enforced exactly
  fence check --format json         for a program

Exit status: 0 clean (warnings are no findings), 1 an error, a failed test, or a rule that
would be enforced more weakly than its author accepts, 2 could not answer.";

/// Of `fence fmt --help`.
pub(super) const FMT: &str = "\
Examples:
  fence fmt policy.fence            write the file in canonical form
  fence fmt --check *.fence         name those that are not, and exit with 1
  fence fmt - < draft > policy.fence
  fence fmt --to yaml policy.fence > policy.fence.yaml
                                    comments are kept; JSON has none

What is written means the same: it is read again and compared first. A file with a mistake
stays as it is.

Exit status: 0 done, 1 a file is not in canonical form, 2 could not.";

/// Of `fence why --help`.
pub(super) const WHY: &str = "\
Examples:
  fence why read ~/.ssh/id_ed25519
  fence why -p default write src/main.rs
  fence why run 'git push'          a command in one word, or in several: fence why run -- git push
  fence why connect github.com:443
  fence why http 'GET api.github.com/user'
  fence why env AWS_SECRET_ACCESS_KEY
  fence why tty
  fence why --last                  the refusal that came last

Exit status: 0 allowed, 1 denied, 2 could not answer.";

/// Of `fence show --help`.
pub(super) const SHOW: &str = "\
Examples:
  fence show                        the policy that `fence run` would take here
  fence show default --label terminal
  fence show -p ./ci.fence --format json";

/// Of `fence test --help`.
pub(super) const TEST: &str = "\
Examples:
  fence test                        the tests of the policy that `fence run` would take here
  fence test ci.fence --coverage    also name the rules that no test decided by

Exit status: 0 all hold, 1 one does not, 2 could not answer.";

/// Of `fence compile --help`.
pub(super) const COMPILE: &str = "\
Examples:
  fence compile ci.fence -o ci.json
  fence run --artifact ci.json -- make
  fence compile default --format text
                                    the plan, for a person
  fence compile default --target seatbelt --format text -o default.sb
                                    a profile of macOS, on any machine";

/// Of `fence trust --help`.
pub(super) const TRUST: &str = "\
A policy that fence finds in a directory, and that you did not name, runs only when you
have read it and trust it. What is recorded is the hash of its text, of all that it
includes, and fence's version: a change of any of them asks again.

Examples:
  fence trust                       the policy that is found here, after reading it: fence show
  fence trust list
  fence trust revoke                the policy that is found here
  fence trust revoke old/policy.fence";

/// Of `fence completions --help`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  source <(fence completions bash)
  fence completions zsh > ~/.zfunc/_fence
  fence completions fish > ~/.config/fish/completions/fence.fish";

/// Of `fence session --help`.
pub(super) const SESSION: &str = "\
Examples:
  fence session start build -p default
                                    a sandbox for the current directory, called `build`
  fence session run build -- make   as `fence run`, at about the cost of a plain start
  fence session run build -c 'make && ./check'
  fence session run -m build -- make
                                    and each refusal of this command as it happens
  fence session run -t build -- bash
                                    with a terminal of its own, and job control in it
  fence session reload build        its policy has changed, and allows less than before
  fence session list                name, policy, directory, age in seconds
  fence session stop build          it and everything in it ends

A command starts in the caller's directory, with as much of the caller's environment as the
policy passes on. Exit status of `run`: as of `fence run`.";
