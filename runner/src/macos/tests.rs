use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fence_compiler::plan::{EnvironmentPlan, LimitMechanism, LimitPlan, TerminalPlan};
use fence_compiler::policy::{LimitKind, RuleId};
use fence_compiler::profile::Tools;

use super::*;
use crate::launch::{Standard, Timings};

/// A stand-in for `sandbox-exec`: it writes down what it was given, and runs the command.
const STAND_IN: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s\n' "$@" > "$here/arguments"
env > "$here/environment"
ls /proc/self/fd 2>/dev/null | wc -l > "$here/descriptors"
profile=$2
stat -c %a "$profile" > "$here/mode"; stat -c %a "$(dirname "$profile")" >> "$here/mode"
cp "$profile" "$here/profile"
[ -f "$here/nested" ] && { echo "sandbox-exec: sandbox_apply: Operation not permitted" >&2; exit 71; }
[ -f "$here/refused" ] && { echo "sandbox-exec: unbound variable: x" >&2; exit 65; }
while [ "$1" != "--" ]; do shift; done
shift
exec "$@"
"#;

struct Scene {
    directory: tempfile::TempDir,
    plan: SeatbeltPlan,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let at = directory.path().join(name);
            std::fs::write(&at, text).unwrap();
            std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o755)).unwrap();
            AbsolutePath::new(at.as_os_str().as_bytes()).unwrap()
        };
        let sandbox_exec = write("sandbox-exec", STAND_IN);
        let log = write(
            "log",
            r#"#!/bin/sh
printf '%s\n' 'Filtering the log data using "x"'
printf '%s\n' '{"eventMessage":"Sandbox: cat(7) deny(1) file-read-data /w/a b\nfence:0123456789abcdef:3"}'
touch "$(dirname "$0")/told"
exec sleep 60
"#,
        );
        let at = AbsolutePath::new(directory.path().canonicalize().unwrap().as_os_str().as_bytes()).unwrap();
        let plan = SeatbeltPlan {
            profile: "(version 1)\n(deny default)\n".to_owned(),
            bytes: 10,
            run: "0123456789abcdef".to_owned(),
            tmp: at.join(b"tmp"),
            proxy: ProxyPlan::None,
            environment: EnvironmentPlan { pass: Vec::new(), set: BTreeMap::new() },
            limits: Vec::new(),
            terminal: TerminalPlan::None,
            cwd: at,
            tools: Tools { sandbox_exec, log },
        };
        Scene { directory, plan }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, launcher: &Seatbelt, words: &[&str]) -> Result<Outcome, Error> {
        launcher.run(&self.plan, &self.command(words), &self.options())
    }

    fn command(&self, words: &[&str]) -> Command {
        let text = |text: &str| CString::new(text).unwrap();
        Command {
            program: text(words[0]),
            argv: words.iter().map(|word| text(word)).collect(),
            environment: vec![text("A=1"), text("PATH=/usr/bin:/bin")],
        }
    }

    fn options(&self) -> Options {
        Options { timings: Timings::Off, standard: Standard::Kept }
    }
}

#[test]
fn a_command_runs_with_the_profile_in_a_private_file() {
    let scene = Scene::new();
    let script = "test -d \"$TMPDIR\" && echo x > \"$TMPDIR/x\" && exit 7";
    assert_eq!(scene.run(&Seatbelt::default(), &["/bin/sh", "-c", script]), Ok(Outcome::Exited(7)));
    let arguments = scene.read("arguments");
    let words: Vec<&str> = arguments.lines().collect();
    assert_eq!(words[0], "-f");
    assert_eq!(&words[2..4], ["--", "/bin/sh"]);
    assert_eq!(scene.read("mode"), "600\n700\n");
    assert_eq!(scene.read("profile"), scene.plan.profile);
    let environment = scene.read("environment");
    assert!(environment.contains("A=1\n") && environment.contains("TMPDIR="), "{environment}");
    assert!(!environment.contains("CARGO"), "{environment}");
    // Nothing of the run is left.
    assert!(!scene.at("tmp").exists() && !scene.at("tmp-profile").exists());
}

#[test]
fn the_proxy_comes_in_as_a_parameter_and_its_credential_in_the_environment_alone() {
    let mut scene = Scene::new();
    scene.plan.proxy = ProxyPlan::Loopback;
    let refused = scene.run(&Seatbelt::default(), &["/bin/true"]);
    assert!(matches!(refused, Err(Error::Plan(_))), "{refused:?}");
    let proxy = Proxy { port: 4711, credential: "s3cret".to_owned() };
    let launcher = Seatbelt { proxy: Some(proxy) };
    assert_eq!(scene.run(&launcher, &["/bin/true"]), Ok(Outcome::Exited(0)));
    let arguments = scene.read("arguments");
    assert!(arguments.contains("-D\nPROXY=localhost:4711\n"), "{arguments}");
    assert!(!arguments.contains("s3cret"), "{arguments}");
    assert!(scene.read("environment").contains("HTTPS_PROXY=http://fence:s3cret@localhost:4711\n"));
}

#[test]
fn where_the_profile_is_not_applied_nothing_runs_and_the_reason_is_told() {
    let scene = Scene::new();
    std::fs::write(scene.at("nested"), "").unwrap();
    let told = scene.run(&Seatbelt::default(), &["/bin/sh", "-c", "exit 0"]).unwrap_err().to_string();
    assert!(told.contains("a sandbox is around fence already"), "{told}");
    std::fs::remove_file(scene.at("nested")).unwrap();
    std::fs::write(scene.at("refused"), "").unwrap();
    let told = scene.run(&Seatbelt::default(), &["/bin/true"]).unwrap_err().to_string();
    assert!(told.contains("unbound variable: x"), "{told}");
    std::fs::remove_file(scene.at("refused")).unwrap();
    // The command's own code is not taken for that of `sandbox-exec`.
    assert_eq!(scene.run(&Seatbelt::default(), &["/bin/sh", "-c", "exit 71"]), Ok(Outcome::Exited(71)));
    assert_eq!(scene.run(&Seatbelt::default(), &["/bin/sh", "-c", "exit 65"]), Ok(Outcome::Exited(65)));
    // A name that is taken is not shared.
    std::fs::create_dir(scene.at("tmp")).unwrap();
    assert!(matches!(scene.run(&Seatbelt::default(), &["/bin/true"]), Err(Error::Step { .. })));
}

#[test]
fn limits_hold_and_what_is_left_in_the_group_ends() {
    let mut scene = Scene::new();
    scene.plan.limits = vec![
        LimitPlan { kind: LimitKind::Files, amount: 40, by: LimitMechanism::Rlimit },
        LimitPlan { kind: LimitKind::Time, amount: 60_000, by: LimitMechanism::Timer },
    ];
    let script = "test \"$(ulimit -n)\" = 40 && sleep 300 & echo $! > left; exit 3";
    assert_eq!(scene.run(&Seatbelt::default(), &["/bin/sh", "-c", script]), Ok(Outcome::Exited(3)));
    let left: i32 = scene.read("left").trim().parse().unwrap();
    let is_there = || {
        let state = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z ")
    };
    while is_there() {
        std::thread::yield_now();
    }
    scene.plan.limits = vec![LimitPlan { kind: LimitKind::Time, amount: 50, by: LimitMechanism::Timer }];
    let ended = scene.run(&Seatbelt::default(), &["/bin/sh", "-c", "sleep 300"]);
    assert_eq!(ended, Ok(Outcome::TimedOut));
}

#[test]
fn refusals_are_read_from_the_log_and_lead_back_to_their_rule() {
    let run = "0123456789abcdef";
    for (message, program, pid, operation, target, by) in [
        (
            "Sandbox: cat(7) deny(1) file-read-data /w/a b\nfence:0123456789abcdef:3",
            "cat",
            7,
            "file-read-data",
            "/w/a b",
            Tagged::Rule(RuleId(3)),
        ),
        (
            "Sandbox: my tool (x)(8) deny(1) network-outbound 1.2.3.4:443\nfence:0123456789abcdef:default",
            "my tool (x)",
            8,
            "network-outbound",
            "1.2.3.4:443",
            Tagged::Nothing,
        ),
        (
            "2 duplicate reports for Sandbox: sh(9) deny(1) file-write-unlink /w/.git\nfence:0123456789abcdef:way",
            "sh",
            9,
            "file-write-unlink",
            "/w/.git",
            Tagged::Way,
        ),
        (
            "Sandbox: a(1) deny(1) process-fork\nfence:0123456789abcdef:own",
            "a",
            1,
            "process-fork",
            "",
            Tagged::Own,
        ),
        (
            "Sandbox: a(1) deny(1) file-read-data /x\nSandbox: b(2) deny(1) mach-lookup y\nfence:0123456789abcdef:port",
            "a",
            1,
            "file-read-data",
            "/x\nSandbox: b(2) deny(1) mach-lookup y",
            Tagged::Port,
        ),
    ] {
        let expected =
            Denial { program: program.into(), pid, operation: operation.into(), target: target.into(), by };
        assert_eq!(denial(message, run), Some(expected), "{message}");
    }
    for other in [
        "Sandbox: cat(7) deny(1) file-read-data /x",
        "Sandbox: cat(7) deny(1) file-read-data /x\nfence:ffffffffffffffff:3",
        "Sandbox: cat(7) deny(1) file-read-data /x\nfence:0123456789abcdef:x",
        "cat: deny\nfence:0123456789abcdef:3",
        "",
    ] {
        assert_eq!(denial(other, run), None, "{other}");
    }
}

#[test]
fn the_log_is_watched_for_this_run() {
    let scene = Scene::new();
    let watch = Watch::start(&scene.plan).unwrap();
    let seen = watch.wait().unwrap();
    assert_eq!((seen.target.as_str(), seen.by), ("/w/a b", Tagged::Rule(RuleId(3))));
    assert_eq!((watch.seen(), watch.end()), (Vec::new(), Vec::new()));
}

#[test]
fn what_was_refused_is_told_where_somebody_listens() {
    let scene = Scene::new();
    let rules = "allow read /w\nallow read /x\nallow read /y\ndeny read \"/w/a b\" as notes";
    let policy = crate::proxy::testing::policy(rules);
    // It ends when the log has been started, which writes its line at once.
    let words = ["/bin/sh", "-c", "while [ ! -e \"$0\" ]; do sleep 0.01; done; exit 3"];
    let told = scene.at("told").to_str().unwrap().to_owned();
    let command = scene.command(&[words[0], words[1], words[2], &told]);
    let mut targets = Vec::new();
    let mut add = |event: &Event| targets.push(event.clone());
    let ended = run_watched(&scene.plan, &policy, &command, &scene.options(), Some(&mut add));
    assert_eq!(ended, Ok(Outcome::Exited(3)));
    let [event] = targets.as_slice() else { panic!("{targets:?}") };
    let told = serde_json::to_string(event).unwrap();
    assert!(told.contains("/w/a b") && told.contains("notes"), "{told}");
    // Nobody listens, and no log is started.
    std::fs::remove_file(scene.at("told")).unwrap();
    let command = scene.command(&["/bin/sh", "-c", "exit 4"]);
    assert_eq!(run_watched(&scene.plan, &policy, &command, &scene.options(), None), Ok(Outcome::Exited(4)));
    assert!(!scene.at("told").exists());
}
