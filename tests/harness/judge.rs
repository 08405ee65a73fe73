//! Running a case and judging it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::{Backend, Then};
use super::case::{Case, Control, Expect, Group};
use super::scene::word;
use super::{Ending, Finished, Ground, Person, Scene, Start, Tree};

/// Runs a case and its control as a person; says what is wrong.
pub fn judge(ground: &Ground, group: &Group, case: &Case, person: &Person) -> Result<(), String> {
    let (policy, rule) = in_force(group, case);
    let (with_rule, with_more) = (and(policy, rule), and(policy, case.unless.as_ref()));
    let trial = Trial { ground, group, case, person, backend: None };
    let seen = trial.run(&Way::Fenced(&with_rule));
    let wrong = match case.expect {
        Expect::Allowed => seen.not_allowed(case),
        Expect::Denied => seen.not_denied(case),
        Expect::Refused => seen.not_refused(case),
    };
    if let Some(wrong) = wrong {
        return Err(format!("{wrong}\n{}", seen.told));
    }
    let default = match (&case.unless, rule) {
        (Some(_), _) => Control::Policy(with_more),
        (None, Some(_)) => Control::WithoutRule,
        (None, None) => Control::Unfenced,
    };
    let control = case.control.as_ref().unwrap_or(&default);
    if !case.control_as.as_ref().is_none_or(|roles| roles.iter().any(|role| role == person.role)) {
        return Ok(());
    }
    let (way, opposite) = match control {
        Control::None(_) => return Ok(()),
        Control::WithoutRule => (Way::Fenced(policy), true),
        Control::Policy(policy) => (Way::Fenced(policy.as_str()), true),
        Control::Unfenced => (Way::Unfenced(None), case.expect != Expect::Allowed),
        Control::Sh(text) => (Way::Unfenced(Some(text)), case.expect != Expect::Allowed),
    };
    let seen = trial.run(&way);
    let wrong = match (case.expect, opposite) {
        (Expect::Allowed, true) => {
            seen.succeeded(case).then(|| "it succeeds without the rule too".to_owned())
        }
        (Expect::Allowed, false) | (Expect::Denied | Expect::Refused, _) => seen.failed(case),
    };
    match wrong {
        Some(wrong) => Err(format!("control ({way:?}): {wrong}\n{}", seen.told)),
        None => Ok(()),
    }
}

/// Runs a case with another backend as a person; says what is wrong. Its control is that of [`judge`].
pub fn judge_by(
    backend: Backend,
    then: Option<Then>,
    (ground, group, case, person): (&Ground, &Group, &Case, &Person),
) -> Result<(), String> {
    let (policy, rule) = in_force(group, case);
    let trial = Trial { ground, group, case, person, backend: Some(backend) };
    let seen = trial.run(&Way::Fenced(&and(policy, rule)));
    let wrong = match case.expect {
        Expect::Allowed => seen.not_allowed(case),
        Expect::Denied => seen.not_denied(case),
        // What is refused for the sake of fence's own backend may be held otherwise here.
        Expect::Refused => seen.not_refused(case).and_then(|_| seen.achieved()),
    };
    let wrong = match (then, wrong) {
        (None, wrong) => wrong,
        (Some(Then::DoesNotStart), _) => seen.started(),
        (Some(Then::Differs), None) => Some("it is said to differ, and does not".to_owned()),
        (Some(Then::Differs), Some(_)) if seen.started().is_none() => {
            Some("it is said to differ, and does not start".to_owned())
        }
        (Some(Then::Differs), Some(_)) => None,
    };
    wrong.map_or(Ok(()), |wrong| Err(format!("{wrong}\n{}", seen.told)))
}

/// The policy of a case, and the rule under test.
fn in_force<'a>(group: &'a Group, case: &'a Case) -> (&'a str, Option<&'a String>) {
    let policy = case.policy.as_deref().unwrap_or(&group.policy);
    (policy, case.rule.as_ref().or(group.rule.as_ref().filter(|_| case.policy.is_none())))
}

/// A policy with one more line.
fn and(policy: &str, line: Option<&String>) -> String {
    line.map_or_else(|| policy.to_owned(), |line| format!("{policy}\n{line}\n"))
}

/// How a command is run.
#[derive(Clone, Copy, Debug)]
enum Way<'a> {
    /// By fence, under this policy.
    Fenced(&'a str),
    /// Without fence, possibly another text for the shell.
    Unfenced(Option<&'a str>),
}

struct Trial<'a> {
    ground: &'a Ground,
    group: &'a Group,
    case: &'a Case,
    person: &'a Person,
    /// With which backend; `None`: fence's own.
    backend: Option<Backend>,
}

/// What came of running a command.
struct Seen {
    finished: Finished,
    changes: BTreeMap<PathBuf, String>,
    expected_changes: Vec<PathBuf>,
    tolerated: Vec<PathBuf>,
    touched: Vec<PathBuf>,
    survivors: Vec<String>,
    contacts: u32,
    servers: bool,
    bystander_lives: bool,
    says: Option<String>,
    shows: Option<String>,
    told: String,
}

/// What fence itself keeps in the home: the last refusal, in its folder, and nothing beside it.
const KEPT: [&str; 5] =
    ["", ".local", ".local/state", ".local/state/fence", ".local/state/fence/last-refusal.json"];

/// The changes that keeping the last refusal makes: the file and the folders above it come, or its content is another.
/// The time of a folder is one of them only where the next thing below came.
fn kept_by_fence(home: &Path, changes: &BTreeMap<PathBuf, String>) -> BTreeSet<PathBuf> {
    let path = |name: &str| if name.is_empty() { home.to_owned() } else { home.join(name) };
    let how = |name: &str| changes.get(&path(name)).map(String::as_str);
    let came = |name: &str| how(name) == Some("a directory came") || how(name) == Some("a file came");
    let [folders @ .., file] = KEPT;
    let below = KEPT.iter().skip(1);
    let folders = folders.iter().zip(below).filter(|(folder, next)| match how(folder) {
        Some("a directory came") => true,
        Some(super::tree::TOUCHED) => came(next),
        _ => false,
    });
    let file = Some(file).filter(|file| {
        came(file) || how(file).is_some_and(|how| how.starts_with("content became") && !how.contains("mode"))
    });
    folders.map(|(folder, _)| path(folder)).chain(file.map(path)).collect()
}

impl Trial<'_> {
    fn run(&self, way: &Way<'_>) -> Seen {
        let case = self.case;
        let entries: Vec<_> = self.group.fixture.iter().chain(&case.fixture).cloned().collect();
        let mut scene = Scene::new(self.ground, self.person, &entries, &case.host).by(self.backend);
        let start = self.start(&scene, way);
        let before = Tree::of(scene.root());
        let finished = start.run();
        let survivors = scene.survivors();
        let after = Tree::of(scene.root());
        let paths = |texts: &[String]| texts.iter().map(|text| scene.path(text)).collect::<Vec<_>>();
        let mut changes = before.changes(&after);
        for path in kept_by_fence(&scene.path("{home}"), &changes) {
            changes.remove(&path);
        }
        let mut seen = Seen {
            changes,
            expected_changes: paths(&case.changes),
            tolerated: paths(&case.may_change),
            touched: paths(&case.may_touch),
            contacts: scene.contacts(),
            servers: scene.has_servers(),
            bystander_lives: scene.bystander_lives(),
            says: case.says.as_deref().map(|text| scene.fill(text)),
            shows: case.shows.as_deref().map(|text| scene.fill(text)),
            told: String::new(),
            survivors,
            finished,
        };
        seen.told = seen.tell(&start);
        seen
    }

    fn start(&self, scene: &Scene, way: &Way<'_>) -> Start {
        let case = self.case;
        let shell = |text: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()];
        let command = match (&case.run, &case.sh, &case.fence, &case.around) {
            (Some(words), None, None, None) => words.clone(),
            (None, Some(text), None, None) => shell(text),
            (None, None, Some(_), None) | (None, None, None, Some(_)) => Vec::new(),
            _ => panic!("`{}` needs one of run, sh, fence, around", case.name),
        };
        let words: Vec<String> = match way {
            Way::Unfenced(Some(text)) => shell(text),
            Way::Unfenced(None) => command,
            Way::Fenced(policy) => {
                let mut words = vec!["{fence}".to_owned()];
                let file = scene.policy(policy).display().to_string();
                if let Some(text) = &case.around {
                    words = shell(&text.replace("{policy}", &file));
                } else if let Some(line) = &case.fence {
                    words.extend(line.iter().map(|word| word.replace("{policy}", &file)));
                } else {
                    words.push("run".to_owned());
                    if *policy != "none" {
                        words.extend(["-p".to_owned(), file]);
                    }
                    words.extend(case.options.iter().cloned());
                    words.push("--".to_owned());
                    words.extend(command);
                }
                words
            }
        };
        let words = match (&case.afterwards, way) {
            (Some(text), Way::Fenced(_)) => {
                let both = "afterwards=$1; shift; \"$@\"; code=$?; (eval \"$afterwards\"); exit $code";
                let before = [both, "sh", text].map(str::to_owned);
                ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain(before).chain(words).collect()
            }
            _ => words,
        };
        let mut start = scene.start().words(words.iter().map(|text| word(&scene.fill(text))));
        if case.afterwards.is_some() {
            start.environment.insert("XDG_STATE_HOME".into(), scene.path("{state}").into());
        }
        start.cwd = scene.path(case.cwd.as_deref().unwrap_or("{work}"));
        start.stdin = scene.fill(&case.stdin).into_bytes();
        start.stdin_file = case.stdin_file.as_deref().map(|path| scene.path(path));
        start.left_open = case.left_open.as_deref().map(|path| scene.path(path));
        start
            .environment
            .extend(case.env.iter().map(|(name, value)| (name.into(), word(&scene.fill(value)))));
        if let Some(seconds) = case.within {
            start.limit = Duration::from_secs(seconds);
        }
        start
    }
}

impl Seen {
    /// Why it is not what an allowed case must come to.
    fn not_allowed(&self, case: &Case) -> Option<String> {
        self.failed(case).or_else(|| self.told_wrong(case)).or_else(|| self.costs_too_much(case))
    }

    /// Why it did not succeed.
    fn failed(&self, case: &Case) -> Option<String> {
        let code = match case.expect {
            Expect::Allowed => case.exit.unwrap_or(0),
            Expect::Denied | Expect::Refused => 0,
        };
        if self.finished.ending != Ending::Code(code) {
            return Some(format!("it ended with {:?}, not with {code}", self.finished.ending));
        }
        let out = self.finished.out();
        if let Some(says) = self
            .says
            .as_deref()
            .filter(|says| case.expect == Expect::Allowed && out.trim_end() != says.trim_end())
        {
            return Some(format!("it did not say {says:?}"));
        }
        if let Some(shows) = self.shows.as_deref().filter(|shows| !out.contains(shows)) {
            return Some(format!("it did not show {shows:?}"));
        }
        if self.servers && self.contacts == 0 {
            return Some("nobody spoke to the server".to_owned());
        }
        if case.kills && self.bystander_lives {
            return Some("the bystander lives".to_owned());
        }
        if case.survives && self.survivors.is_empty() {
            return Some("nothing survived".to_owned());
        }
        self.expected_changes
            .iter()
            .find(|path| !self.changes.contains_key(*path))
            .map(|path| format!("{} did not change", path.display()))
    }

    fn succeeded(&self, case: &Case) -> bool {
        self.failed(case).is_none()
    }

    /// Why it is not what a denied case must come to.
    fn not_denied(&self, case: &Case) -> Option<String> {
        match (self.finished.ending, case.exit) {
            (Ending::Code(code), Some(expected)) if code == expected => {}
            (ending, Some(expected)) => {
                return Some(format!("it ended with {ending:?}, not with {expected}"));
            }
            (Ending::Code(0), None) => return Some("it succeeded".to_owned()),
            (Ending::Code(125) | Ending::Overdue, None) => {
                return Some(format!("fence itself failed: {:?}", self.finished.ending));
            }
            (Ending::Code(_) | Ending::Signal(_), None) => {}
        }
        if let Some(says) =
            self.says.as_deref().filter(|says| self.finished.out().trim_end() != says.trim_end())
        {
            return Some(format!("it did not say {says:?}"));
        }
        self.host_changed().or_else(|| self.told_wrong(case)).or_else(|| self.costs_too_much(case))
    }

    /// Why it is not what a refused case must come to.
    fn not_refused(&self, case: &Case) -> Option<String> {
        let code = case.exit.unwrap_or(125);
        if self.finished.ending != Ending::Code(code) {
            return Some(format!("it ended with {:?}, not with {code}", self.finished.ending));
        }
        self.host_changed().or_else(|| self.told_wrong(case)).or_else(|| self.costs_too_much(case))
    }

    /// Why it did not come to nothing.
    fn achieved(&self) -> Option<String> {
        match self.finished.ending {
            Ending::Code(0) => Some("it succeeded".to_owned()),
            Ending::Overdue => Some("it did not end".to_owned()),
            Ending::Code(_) | Ending::Signal(_) => self.host_changed(),
        }
    }

    /// Why it is not what fence itself refuses to start.
    fn started(&self) -> Option<String> {
        let told = self.finished.err().contains("error[E0") || self.finished.err().contains("fence: ");
        match self.finished.ending {
            Ending::Code(125) if told => self.host_changed(),
            ending => Some(format!("it is said not to start, and ended with {ending:?}")),
        }
    }

    fn host_changed(&self) -> Option<String> {
        let tolerated = |path: &PathBuf, how: &str| {
            self.tolerated.iter().any(|above| path.starts_with(above))
                || how == super::tree::TOUCHED && self.touched.contains(path)
        };
        if let Some((path, how)) = self.changes.iter().find(|(path, how)| !tolerated(path, how)) {
            return Some(format!("the host changed: {}: {how}", path.display()));
        }
        if self.contacts > 0 {
            return Some("something spoke to the server of the host".to_owned());
        }
        if !self.bystander_lives {
            return Some("the bystander is dead".to_owned());
        }
        let leaked = self.shows.as_deref().filter(|shows| self.finished.out().contains(shows));
        leaked.map(|shows| format!("it showed {shows:?}"))
    }

    fn told_wrong(&self, case: &Case) -> Option<String> {
        let err = self.finished.err();
        case.tells.iter().find(|part| !err.contains(*part)).map(|part| format!("it did not tell {part:?}"))
    }

    fn costs_too_much(&self, case: &Case) -> Option<String> {
        if self.finished.outlived || !self.survivors.is_empty() {
            return Some(format!("something outlived it: {:?}", self.survivors));
        }
        let held = self.finished.memory >> 20;
        case.memory.filter(|most| held > *most).map(|most| format!("it held {held} MiB, more than {most}"))
    }

    /// The whole of what was seen, for a person who looks into a failure.
    fn tell(&self, start: &Start) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "  command: {:?} in {}", start.words, start.cwd.display());
        let _ = writeln!(text, "  ended:   {:?} after {:?}", self.finished.ending, self.finished.elapsed);
        for (name, output) in [("stdout", self.finished.out()), ("stderr", self.finished.err())] {
            let shown: String = output.chars().take(3000).collect();
            for line in shown.lines() {
                let _ = writeln!(text, "  {name}: {line}");
            }
        }
        for (path, how) in &self.changes {
            let _ = writeln!(text, "  changed: {}: {how}", path.display());
        }
        text
    }
}
