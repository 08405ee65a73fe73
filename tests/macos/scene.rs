//! A machine with stand-ins, and runs on it.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fence::audit::Event;
use fence::launch::{Command, Error};
use fence::macos::{Ended, Heard, Refusals, Run, run};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::{Features, FileFacts, Host, Person};
use fence_compiler::lower::seatbelt::{Run as Named, RunId, lower};
use fence_compiler::plan::TerminalPlan;
use fence_compiler::policy::Policy;
use fence_compiler::profile::{SeatbeltPlan, Tools};
use fence_compiler::question::Platform;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

pub const RUN: &str = "0123456789abcdef";

/// A stand-in for `sandbox-exec`: it writes down what it was given, by the name of the profile, and runs the command.
const SANDBOX_EXEC: &str = r#"#!/bin/sh
here=$(dirname "$0"); name=$(basename "$2" .sb)
printf '%s\n' "$@" > "$here/$name.arguments"
env > "$here/$name.environment"
ls /proc/self/fd | wc -l > "$here/$name.descriptors"
stat -c %a "$2" "$(dirname "$2")" > "$here/$name.mode"
cp "$2" "$here/$name.copy"
echo $$ > "$here/$name.pid"
[ -f "$here/$name.nested" ] && { echo "sandbox-exec: sandbox_apply: Operation not permitted" >&2; exit 71; }
[ -f "$here/$name.refused" ] && { echo "sandbox-exec: unbound variable: x" >&2; exit 65; }
while [ "$1" != "--" ]; do shift; done
shift
exec "$@"
"#;

/// A stand-in for `log`, which runs a text of the scene.
const LOG: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s\n' "$@" > "$here/log.arguments"
cd "$here" && exec /bin/sh ./log.text
"#;

/// What a scene is made of.
pub struct Scene {
    directory: PathBuf,
    /// Gone with the scene.
    _kept: Option<tempfile::TempDir>,
    pub policy: Policy,
    pub host: Host,
    pub plan: SeatbeltPlan,
    /// What `log` does, if it is to be watched.
    pub refusals: Refusals,
}

impl Scene {
    /// A scene with these rules.
    pub fn new(rules: &str) -> Scene {
        let kept = tempfile::Builder::new().prefix("fence-macos").tempdir_in("/var/tmp").unwrap();
        // Programs of other users are started from here.
        std::fs::set_permissions(kept.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for (name, text) in [("sandbox-exec", SANDBOX_EXEC), ("log", LOG)] {
            let at = kept.path().join(name);
            std::fs::write(&at, text).unwrap();
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(kept.path().join("rules"), rules).unwrap();
        let directory = kept.path().canonicalize().unwrap();
        Scene { _kept: Some(kept), ..Scene::at(&directory) }
    }

    /// The scene that lies in a directory.
    fn at(directory: &Path) -> Scene {
        let rules = std::fs::read_to_string(directory.join("rules")).unwrap();
        let at = AbsolutePath::new(directory.as_os_str().as_bytes()).unwrap();
        let policy = policy(&rules);
        let host = Host {
            platform: Platform::MacOs,
            person: Person { name: "ada".into(), home: at.join(b"home"), uid: 501, gid: 20 },
            cwd: at.clone(),
            git_root: None,
            git_common: None,
            environment_names: Default::default(),
            environment: BTreeMap::new(),
            features: Features::none("this is macOS"),
            protected: Vec::new(),
        };
        let named = Named::named(RunId::new(RUN).unwrap());
        let lowered = lower(&policy, &host, &mut FileFacts::default(), &named);
        assert!(lowered.diagnostics.is_empty(), "{:?}", lowered.diagnostics);
        let plan = SeatbeltPlan {
            tmp: at.join(b"tmp"),
            cwd: at.clone(),
            terminal: TerminalPlan::None,
            tools: Tools { sandbox_exec: at.join(b"sandbox-exec"), log: at.join(b"log") },
            ..lowered.plan
        };
        let refusals = Refusals::Untold;
        Scene { directory: directory.to_owned(), _kept: None, policy, host, plan, refusals }
    }

    /// Has `log` watched, and do this: a text for `sh`.
    pub fn with_log(mut self, text: &str) -> Scene {
        std::fs::write(self.at_name("log.text"), text).unwrap();
        self.refusals = Refusals::Told;
        self
    }

    pub fn at_name(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at_name(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.at_name(name), text).unwrap();
    }

    /// Runs a text of the shell, and hears what is told.
    pub fn hear(&self, text: &str, heard: &mut dyn FnMut(Heard)) -> Result<Ended, Error> {
        let c = |text: &str| CString::new(text).unwrap();
        let words = ["/bin/bash", "-c", text];
        let command = Command {
            program: c(words[0]),
            argv: words.iter().map(|word| c(word)).collect(),
            environment: vec![c("A=1"), c("PATH=/usr/bin:/bin")],
        };
        let fence = std::env::current_exe().unwrap();
        let Scene { plan, policy, host, refusals, .. } = self;
        let run_ = Run { plan, policy, host, command: &command, fence: &fence, refusals: *refusals };
        run(run_, heard)
    }

    /// Runs a text of the shell; how it ended, and what was heard.
    pub fn run(&self, text: &str) -> (Result<Ended, Error>, Vec<Heard>) {
        let mut all = Vec::new();
        let ended = self.hear(text, &mut |heard| all.push(heard));
        (ended, all)
    }

    /// The same for a run that comes to its end: its code, and the events.
    pub fn events(&self, text: &str) -> (i32, Vec<Event>) {
        let (ended, heard) = self.run(text);
        let events = heard.into_iter().filter_map(|heard| match heard {
            Heard::Told(told) => Some(told.event),
            _ => None,
        });
        (ended.unwrap().outcome.exit_code(), events.collect())
    }

    /// A run that another process makes, which can be killed.
    pub fn driven(&self, text: &str) -> std::process::Child {
        self.write("text", text);
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program.arg("drive").arg(&self.directory).spawn().unwrap()
    }

    /// Waits until a file is there, and whole: it ends with a line.
    pub fn await_line(&self, name: &str) -> String {
        loop {
            let text = std::fs::read_to_string(self.at_name(name)).unwrap_or_default();
            if text.ends_with('\n') {
                return text.trim_end().to_owned();
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// Makes the run of a scene in this process.
pub fn drive(directory: &str) -> ExitCode {
    let scene = Scene::at(Path::new(directory));
    let text = scene.read("text");
    let (ended, _) = scene.run(&text);
    ExitCode::from(u8::try_from(ended.unwrap().outcome.exit_code()).unwrap())
}

/// Waits until a process is gone.
pub fn await_end(pid: &str) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn policy(rules: &str) -> Policy {
    struct Nothing;
    impl Loader for Nothing {
        fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            Err(LoadError::NoDirectory)
        }
    }
    let text = format!("fence 1\npolicy testing \"A test\"\n{rules}\n");
    let source = Source { origin: Origin::Given("test".to_owned()), name: "test".to_owned(), text };
    let resolved = resolve(&Request { mains: vec![source], ..Request::default() }, &Nothing);
    assert!(
        resolved
            .diagnostics
            .iter()
            .all(|found| found.severity != fence_compiler::diagnostic::Severity::Error),
        "{:?}",
        resolved.diagnostics
    );
    resolved.policy
}
