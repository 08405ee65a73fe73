//! `fence completions`: what clap knows of the options, and what only fence knows: policies, labels, codes.

use std::collections::BTreeSet;

use clap::CommandFactory;
use clap_complete::aot::{Shell, generate};

use super::arguments::{Cli, CompletionShell, Completions};
use super::help::topics;
use super::screen::Screen;
use crate::load::known_names;

/// Prints the completions for a shell.
pub(super) fn completions(arguments: &Completions, screen: Screen) -> anyhow::Result<u8> {
    let shell = match arguments.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut made = Vec::new();
    generate(shell, &mut Cli::command(), "fence", &mut made);
    let made = String::from_utf8(made)?;
    let known = Known::new();
    let script = match arguments.shell {
        CompletionShell::Bash => format!("{made}\n{}", known.bash()),
        CompletionShell::Zsh => known.zsh(&made),
        CompletionShell::Fish => format!("{made}\n{}", known.fish()),
    };
    screen.print(&script)?;
    Ok(0)
}

/// What only fence knows, as words.
struct Known {
    policies: String,
    labels: String,
    topics: String,
    actions: String,
}

impl Known {
    fn new() -> Known {
        let actions = fence_grammar::tree::Action::ALL.iter().map(|action| action.word());
        Known {
            policies: known_names().join(" "),
            labels: labels().into_iter().collect::<Vec<_>>().join(" "),
            topics: topics().join(" "),
            actions: actions.collect::<Vec<_>>().join(" "),
        }
    }

    /// A function around clap's own that answers where a policy, a label, an action or a page stands.
    fn bash(&self) -> String {
        format!(
            r#"_fence_known() {{
    local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" word="" at
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${{COMP_WORDS[at]}}" in -p|--policy|--rule|--set|-C|--directory|--color|--log) ((at++)) ;; -*) ;; *) word="${{COMP_WORDS[at]}}"; break ;; esac
    done
    case "$prev" in
        -p|--policy) COMPREPLY=($(compgen -W "{policies}" -f -- "$cur")); return ;;
        --label) COMPREPLY=($(compgen -W "{labels}" -- "$cur")); return ;;
    esac
    if [[ "$cur" != -* ]]; then
        case "$word" in
            check|test|compile|show) COMPREPLY=($(compgen -W "{policies}" -f -- "$cur")); return ;;
            policies) COMPREPLY=($(compgen -W "{policies}" -- "$cur")); return ;;
            help) COMPREPLY=($(compgen -W "{topics}" -- "$cur")); return ;;
            why) COMPREPLY=($(compgen -W "{actions}" -f -- "$cur")); return ;;
            trust) COMPREPLY=($(compgen -W "list revoke" -f -- "$cur")); return ;;
        esac
    fi
    _fence "$@"
    if [[ -z "$word" && "$cur" != -* ]]; then
        COMPREPLY+=($(compgen -c -- "$cur"))
    fi
}}
complete -F _fence_known -o bashdefault -o default fence
"#,
            policies = self.policies,
            labels = self.labels,
            topics = self.topics,
            actions = self.actions,
        )
    }

    /// Clap's own script, with functions of fence's in place of plain files and defaults.
    fn zsh(&self, made: &str) -> String {
        let mut script = String::new();
        for line in made.lines() {
            let line = line
                .replace(":POLICY:_files", ":POLICY:_fence_policies")
                .replace(":LABEL:_default", ":LABEL:_fence_labels")
                .replace(
                    ":TOPIC -- A word of fence's own, an action, or a code:_default",
                    ":TOPIC:_fence_topics",
                );
            let line = replace_positional(&line);
            script.push_str(&line);
            script.push('\n');
            if line.starts_with("autoload") {
                script.push_str(&format!(
                    "\n_fence_policies() {{ compadd -- {}; _files }}\n_fence_labels() {{ compadd -- {} }}\n_fence_topics() {{ compadd -- {} }}\n_fence_actions() {{ compadd -- {} }}\n",
                    self.policies, self.labels, self.topics, self.actions
                ));
            }
        }
        script
    }

    /// Further lines: fish puts all of them together.
    fn fish(&self) -> String {
        let within = |word: &str| format!("__fish_fence_using_subcommand {word}");
        let mut script = String::new();
        let mut add = |condition: &str, rest: &str| {
            script.push_str(&format!("complete -c fence -n \"{condition}\" {rest}\n"))
        };
        for word in ["check", "test", "compile", "show", "policies"] {
            add(&within(word), &format!("-a \"{}\"", self.policies));
        }
        for word in ["run", "show", "why"] {
            add(&within(word), &format!("-s p -l policy -r -a \"{}\"", self.policies));
        }
        add(&within("show"), &format!("-l label -x -a \"{}\"", self.labels));
        add(&within("help"), &format!("-x -a \"{}\"", self.topics));
        add(&within("why"), &format!("-a \"{}\"", self.actions));
        add(&within("trust"), "-a \"list revoke\"");
        add("__fish_fence_needs_command", "-a \"(__fish_complete_command)\"");
        script
    }
}

/// Puts fence's own functions where a positional argument of clap's zsh script takes anything.
fn replace_positional(line: &str) -> String {
    let function = if line.contains(" an action, or a code:") {
        "_fence_topics"
    } else if line.contains("::name -- Print this one") {
        "_fence_policies"
    } else if line.contains(":action -- The action") {
        "_fence_actions"
    } else if line.contains("::policies -- ") || line.contains("::policy -- ") || line.contains("::named -- ")
    {
        return line.replace(":_files'", ":_fence_policies'");
    } else {
        return line.to_owned();
    };
    line.replace(":_default'", &format!(":{function}'"))
}

/// The labels of the built-in policies.
fn labels() -> BTreeSet<String> {
    let texts = fence_policies::ALL.iter().map(|(_, text)| fence_grammar::parse(text).file);
    let mut labels = BTreeSet::new();
    for file in texts {
        for statement in file.statements {
            collect(&statement.node, &mut labels);
        }
    }
    labels
}

fn collect(statement: &fence_grammar::tree::Statement, labels: &mut BTreeSet<String>) {
    use fence_grammar::tree::Statement;
    match statement {
        Statement::Rule(rule) => labels.extend(rule.note.label.as_ref().map(|label| label.node.clone())),
        Statement::Platform(block) => block.statements.iter().for_each(|inner| collect(&inner.node, labels)),
        _ => {}
    }
}
