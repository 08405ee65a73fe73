//! One policy, asked as whoever this process runs as.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use fence::host::{ProbedFiles, Surroundings, named_variables, probe, read_entry};
use fence::load::Library;
use fence_compiler::bytes::{AbsolutePath, escape};
use fence_compiler::decide::decide;
use fence_compiler::diagnostic::Severity;
use fence_compiler::fidelity::{Enforced, Level};
use fence_compiler::host::{Entry, FileFacts, Host, Recorder};
use fence_compiler::index::Index;
use fence_compiler::lower::landlock::own_tmp;
use fence_compiler::lower::linux::{Lowered, lower_for};
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::{Finish, LinuxTarget};
use fence_compiler::pattern::Variable;
use fence_compiler::policy::{Effect, PathAction, Policy, RuleId, Subject};
use fence_compiler::question::{Decision, Question, Reason, Verdict};
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{Origin, Source};
use fence_compiler::world::{Spelling, World};

use crate::beyond::Beyond;
use crate::model::{Holder, Model};
use crate::{beyond, connections, probe, questions};

/// Where the questions are about.
pub struct Ground {
    pub home: AbsolutePath,
    pub workspace: AbsolutePath,
    pub variables: BTreeMap<Variable, Vec<u8>>,
}

impl Ground {
    /// What is the kernel's own, or differs from run to run, is asked about elsewhere.
    pub fn can_be_asked(&self, path: &AbsolutePath) -> bool {
        !matches!(path.components().next(), None | Some(b"proc" | b"dev" | b"tmp"))
    }
}

/// How the answers compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    allowed: usize,
    denied: usize,
    /// Open, although a rule closes it: the fidelity says so.
    weaker: usize,
    /// Closed, although a rule opens it: the fidelity says so.
    stricter: usize,
    /// Closed, and closed without fence too, or not there.
    machine: usize,
    unanswered: usize,
}

impl Counts {
    pub const HEAD: &'static str = "  asked allowed  denied  weaker stricter machine unasked";

    fn line(&self) -> String {
        let Counts { allowed, denied, weaker, stricter, machine, unanswered } = self;
        let asked = allowed + denied + weaker + stricter + machine + unanswered;
        format!("{asked:>7} {allowed:>7} {denied:>7} {weaker:>7} {stricter:>8} {machine:>7} {unanswered:>7}")
    }
}

/// A question about a file, and what the deciders answer.
struct Asked {
    action: PathAction,
    path: AbsolutePath,
    decisions: Vec<Decision>,
    /// What is decided of what the path leads to, by its own name.
    of_object: Vec<Decision>,
    object: AbsolutePath,
}

impl Asked {
    fn denied(&self) -> Option<&Decision> {
        self.decisions.iter().find(|decision| decision.verdict == Verdict::Denied)
    }
}

/// Asks everything about one policy.
pub fn run(name: &str, kind: &[String]) -> ExitCode {
    let root = PathBuf::from(std::env::var_os("FENCE_AGREEMENT_ROOT").unwrap());
    let bin = root.join("bin");
    let text = format!(
        "fence 1\npolicy agreement\ninclude base\ninclude {name}\nallow read exec {}\nallow read write exec $workspace, $tmp\n",
        bin.display()
    );
    let file = root.join("agreement.fence");
    std::fs::write(&file, &text).unwrap();
    let surroundings = Surroundings::of(None).unwrap();
    let library =
        Library::new(surroundings.person.home.clone(), surroundings.person.uid, surroundings.cwd.clone());
    let main = Source { origin: Origin::Given(text.clone()), name: "agreement".to_owned(), text };
    let request = Request { mains: vec![main], set: Vec::new(), above: Vec::new() };
    let resolved = resolve(&request, &library);
    let errors: Vec<_> =
        resolved.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
    let policy = resolved.policy;
    let first = probe(&surroundings, &named_variables(&policy), Vec::new());
    let ground = Ground {
        home: surroundings.person.home.clone(),
        workspace: surroundings.cwd.clone(),
        variables: fence_compiler::lower::values::of(&first, &policy),
    };
    questions::plant(&policy, &ground);
    let host = Host { protected: vec![absolute(&file)], ..first };
    let paths = questions::paths(&policy, &ground);
    let refs: Vec<&AbsolutePath> = paths.iter().collect();
    let world = fence::preflight::world(&host, &policy, &refs, fence::preflight::Ways::Everything);
    // One person is enough for what does not look at the machine.
    let mut wrong = if std::env::var_os("FENCE_AGREEMENT_DECIDERS").is_some() {
        deciders(&policy, &world, &paths)
    } else {
        Vec::new()
    };
    let asked = ask(&policy, &world, &paths);
    assert!(asked.len() >= questions::LEAST * 9 / 10, "{name}: {} questions", asked.len());
    // Which connections are made hangs on nobody's rights.
    let most = if kind[0] == "user" { beyond::MOST } else { 0 };
    let further = beyond::questions(&policy, &world, most);
    let environment = beyond::environment(&further, beyond::start_proxy());
    for (backend, target, holder) in [
        ("native", LinuxTarget::Native, Holder::Both),
        ("bwrap", LinuxTarget::Bwrap(Finish::ByFence), Holder::Mounts),
        ("landlock", LinuxTarget::Landlock(RunId::none()), Holder::Landlock),
    ] {
        let mut recorder_files = ProbedFiles;
        let mut recorder = Recorder::new(&mut recorder_files);
        let lowered = lower_for(&target, &policy, &host, &mut recorder);
        let facts = recorder.into_facts().with(own_tmp(&RunId::none()), Entry::Directory);
        let errors: Vec<_> =
            lowered.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        if !errors.is_empty() {
            println!("{name:<16} {:<9} {backend:<9} refused: {}", kind[0], errors[0].message);
            continue;
        }
        let modelled = model(&lowered, holder, &facts, &asked);
        let text = further.iter().fold(lines(&asked), |text, one| format!("{text}{}\n", one.line));
        let mut command = launch(backend, &bin, &file);
        command.envs(&environment);
        let answers = match questioned(command, &text, asked.len() + further.len()) {
            Ok(answers) => answers,
            Err(why) => {
                wrong.push(format!("{backend}: {why}"));
                continue;
            }
        };
        let mut judge =
            Judge { policy: &policy, lowered: &lowered, counts: Counts::default(), wrong: Vec::new() };
        let control = control(&bin, &asked, &answers);
        for (number, question) in asked.iter().enumerate() {
            judge.one(question, answers[number], control[number], modelled[number]);
        }
        for (question, answer) in further.iter().zip(&answers[asked.len()..]) {
            judge.further(question, *answer);
        }
        println!("{name:<16} {:<9} {backend:<9} {}", kind[0], judge.counts.line());
        wrong.extend(judge.wrong.into_iter().map(|line| format!("{backend}: {line}")));
    }
    for line in wrong.iter().take(12) {
        println!("    {line}");
    }
    if wrong.len() > 12 {
        println!("    and {} more", wrong.len() - 12);
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn absolute(path: &Path) -> AbsolutePath {
    AbsolutePath::new(path.as_os_str().as_bytes()).unwrap()
}

/// Asks both deciders everything; both must say the same.
fn deciders(policy: &Policy, world: &World, paths: &[AbsolutePath]) -> Vec<String> {
    let index = Index::new(policy);
    let mut wrong = Vec::new();
    let files = paths.iter().flat_map(|path| {
        [PathAction::Read, PathAction::Write, PathAction::Exec, PathAction::Socket, PathAction::Device]
            .map(|action| Question::Path { action, path: path.clone() })
    });
    // Without links the index answers by itself.
    let bare = World { links: BTreeMap::new(), ..world.clone() };
    let mut count = 0;
    for question in files.chain(connections::questions(policy)) {
        for world in [world, &bare] {
            count += 1;
            let (naive, indexed) = (decide(policy, world, &question), index.decide(world, &question));
            if naive != indexed {
                wrong.push(format!("{question:?}: {naive:?}, indexed {indexed:?}"));
            }
        }
    }
    println!("{:<16} {:<9} deciders {count:>8} questions, {} differences", "", "", wrong.len());
    wrong
}

fn ask(policy: &Policy, world: &World, paths: &[AbsolutePath]) -> Vec<Asked> {
    let mut asked = Vec::new();
    for path in paths {
        let Ok(found) = world.resolve(path, Spelling::Exact) else { continue };
        let decided = |action, path: &AbsolutePath| {
            let one = |action| decide(policy, world, &Question::Path { action, path: path.clone() });
            let mut decisions = vec![one(action)];
            if action == PathAction::Exec {
                decisions.push(one(PathAction::Read));
            }
            decisions
        };
        for action in [PathAction::Read, PathAction::Write, PathAction::Exec] {
            let decisions = decided(action, path);
            asked.push(Asked {
                action,
                path: path.clone(),
                of_object: if found.object == *path {
                    decisions.clone()
                } else {
                    decided(action, &found.object)
                },
                decisions,
                object: found.object.clone(),
            });
        }
    }
    asked
}

/// What the plan means for each question.
fn model(lowered: &Lowered, holder: Holder, recorded: &FileFacts, asked: &[Asked]) -> Vec<Option<bool>> {
    let mut files = recorded.clone();
    for question in asked {
        for path in [&question.path, &question.object] {
            for at in path.ancestors().chain([path.clone()]) {
                files.entries.entry(at.clone()).or_insert_with(|| read_entry(&at));
            }
        }
    }
    let mut model = Model::held_by(holder, &lowered.plan, &files);
    asked
        .iter()
        .map(|question| {
            // The model knows the links that lowering has looked at, and no others.
            let direct = question.object == question.path;
            let there = matches!(read_entry(&question.object), Entry::File | Entry::Directory);
            (direct && there).then(|| model.allows(question.action, &question.path))
        })
        .collect()
}

fn lines(asked: &[Asked]) -> String {
    asked
        .iter()
        .map(|question| {
            let action = match question.action {
                PathAction::Read => "read",
                PathAction::Write => "write",
                _ => "exec",
            };
            format!("{action} {}\n", escape(question.path.as_bytes()))
        })
        .collect()
}

/// Starts the prober, gives it the questions, and takes its answers.
fn questioned(mut command: Command, text: &str, count: usize) -> Result<Vec<char>, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (mut input, text) = (child.stdin.take().unwrap(), text.to_owned());
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let _ = writer.join();
    let answers: Vec<char> = String::from_utf8_lossy(&output.stdout).chars().collect();
    if answers.len() == count {
        Ok(answers)
    } else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{} answers to {count} questions, {:?}: {said}", answers.len(), output.status))
    }
}

/// The prober, under a policy.
fn launch(backend: &str, bin: &Path, file: &Path) -> Command {
    let mut command = Command::new(bin.join("fence"));
    command.args(["-q", "run", "--backend", backend, "-p"]).arg(file).arg("--");
    command.arg(bin.join("agreement")).arg("probe");
    command
}

/// The same questions without fence, where it closed what a rule opens; the others are not asked.
fn control(bin: &Path, asked: &[Asked], answers: &[char]) -> Vec<char> {
    let open: Vec<bool> = asked
        .iter()
        .zip(answers)
        .map(|(question, answer)| question.denied().is_none() && *answer == '0')
        .collect();
    let text: String = lines(asked)
        .lines()
        .zip(&open)
        .filter(|(_, open)| **open)
        .map(|(line, _)| format!("{line}\n"))
        .collect();
    let count = open.iter().filter(|open| **open).count();
    let mut command = Command::new(bin.join("agreement"));
    command.arg("probe");
    let mut said = questioned(command, &text, count).unwrap().into_iter();
    open.iter().map(|open| if *open { said.next().unwrap() } else { probe::UNANSWERED }).collect()
}

struct Judge<'a> {
    policy: &'a Policy,
    lowered: &'a Lowered,
    counts: Counts,
    wrong: Vec<String>,
}

impl Judge<'_> {
    fn one(&mut self, question: &Asked, answer: char, control: char, modelled: Option<bool>) {
        let denied = question.denied();
        match (denied, answer) {
            (_, probe::UNANSWERED) => self.counts.unanswered += 1,
            (None, '1') => self.counts.allowed += 1,
            (Some(_), '0') => self.counts.denied += 1,
            (Some(_), _) => {
                // What only a link on the way denies is open under its own name.
                let by_name = question.of_object.iter().find(|decision| decision.verdict == Verdict::Denied);
                match by_name {
                    Some(decision) if !self.told_weaker(decision) => {
                        self.wrong.push(format!(
                            "{:?} {} is open, although {:?}",
                            question.action, question.path, decision.reason
                        ));
                    }
                    _ => self.counts.weaker += 1,
                }
            }
            (None, _) if control == '0' => self.counts.machine += 1,
            (None, _) => {
                if self.told_stricter(question) {
                    self.counts.stricter += 1;
                } else {
                    self.wrong.push(format!(
                        "{:?} {} is closed, although {:?}",
                        question.action, question.path, question.decisions[0].reason
                    ));
                }
            }
        }
        // Modes and owners are nothing that a plan knows of.
        if let Some(modelled) = modelled
            && answer == '1'
            && !modelled
        {
            self.wrong
                .push(format!("{:?} {}: the plan closes it, the kernel not", question.action, question.path));
        }
    }

    /// A variable or a connection.
    fn further(&mut self, question: &Beyond, answer: char) {
        // What fence sets itself says nothing of what the caller has.
        if question.variable().is_some_and(|name| self.lowered.plan.environment.set.contains_key(name)) {
            return;
        }
        let Beyond { line, decision } = question;
        let rules = match &decision.reason {
            Reason::Rules(rules) => rules.as_slice(),
            _ => &[],
        };
        let told = |level| rules.iter().any(|rule| self.level(*rule) == level);
        match (decision.verdict, answer) {
            (Verdict::Allowed, '1') => self.counts.allowed += 1,
            (Verdict::Denied, '0') => self.counts.denied += 1,
            (Verdict::Allowed, _) if told(Level::Stricter) => self.counts.stricter += 1,
            (Verdict::Denied, _) if self.told_weaker(decision) => self.counts.weaker += 1,
            (verdict, _) => {
                self.wrong.push(format!("{line} is {verdict:?}, by {:?}: {answer}", decision.reason))
            }
        }
    }

    fn level(&self, rule: RuleId) -> Level {
        let mut told = self.lowered.fidelity.iter();
        told.find(|told| told.what == Enforced::Rule(rule)).unwrap().level
    }

    fn told_weaker(&self, decision: &Decision) -> bool {
        match &decision.reason {
            Reason::Rules(rules) => rules.iter().all(|rule| self.level(*rule) == Level::Weaker),
            _ => false,
        }
    }

    /// A rule that opens it says that it opens less, or one that closes says that it closes more.
    fn told_stricter(&self, question: &Asked) -> bool {
        let opening = question.decisions.iter().filter_map(|decision| match &decision.reason {
            Reason::Rules(rules) => Some(rules),
            _ => None,
        });
        opening
            .flatten()
            .any(|rule| self.level(*rule) == Level::Stricter || self.opens_nothing(*rule, question))
            || self.closes_more()
    }

    /// What is not there when a command starts is not opened later, and the rule says so in a note.
    fn opens_nothing(&self, rule: RuleId, question: &Asked) -> bool {
        let mut told = self.lowered.fidelity.iter();
        let told = told.find(|told| told.what == Enforced::Rule(rule)).unwrap();
        told.notes.iter().any(|note| note.contains("does not exist"))
            && read_entry(&question.object) == Entry::Missing
    }

    fn closes_more(&self) -> bool {
        (0..).map(RuleId).zip(&self.policy.rules).any(|(id, rule)| {
            rule.effect != Effect::Allow
                && matches!(rule.subject, Subject::Path { .. } | Subject::Run { .. })
                && self.level(id) != Level::Exact
        })
    }
}
