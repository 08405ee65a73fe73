//! What is told of each rule: how faithful it is, why it is not, and what is worth knowing.

use fence_compiler::fidelity::Enforced;
use fence_compiler::host::{FileFacts, Support};
use fence_compiler::lower::linux::lower_for;
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::{Finish, LinuxTarget};
use fence_compiler::policy::RuleId;

use super::machine::{DEBIAN, files, host};
use super::written::policy;

/// Policies about files, one a paragraph, a rule a line.
const FILES: &str = include_str!("told/files.txt");
/// The same about devices.
const DEVICES: &str = include_str!("told/devices.txt");
/// The same about everything else.
const OTHERS: &str = include_str!("told/others.txt");

fn machine() -> FileFacts {
    files(&format!(
        "{DEBIAN}
         /etc/ssl/key.pem
         /dev/dri/card0 %
         /dev/sda %
         /dev/disk/one -> ../sda
         /dev/stdin -> /proc/self/fd/0
         /srv/kept/x
         /tmp/job/in.txt
         /home/ada/loop -> loop
         /home/ada/src -> work/src
         /home/ada/work/a.key -> ../../../srv/kept/x
         /home/ada/work/b.key
         /home/ada/work/gone.key -> nowhere
         /home/ada/work/out -> /etc
         /home/ada/work/round -> round
         /home/ada/work/server ="
    ))
}

/// Each rule, and below it what is told of it where no call is judged from outside.
fn told(target: &LinuxTarget, policies: &str) -> String {
    let mut out = String::new();
    let mut host = host("/home/ada/work");
    host.features.mediation = Support::No("no listener".into());
    for text in policies.trim().split("\n\n") {
        let policy = policy(text);
        assert_eq!(policy.rules.len(), text.lines().count(), "{text}");
        let lowered = lower_for(target, &policy, &host, &mut machine());
        for (number, rule) in (0..).map(RuleId).zip(text.lines()) {
            let told = lowered.fidelity.iter().find(|told| told.what == Enforced::Rule(number)).unwrap();
            out.push_str(&format!("{rule}\n    {:?} by {:?}\n", told.level, told.by));
            told.why.iter().for_each(|why| out.push_str(&format!("    {why}\n")));
            told.notes.iter().for_each(|note| out.push_str(&format!("    (note) {note}\n")));
        }
        out.push('\n');
    }
    out
}

#[test]
fn of_files() {
    insta::assert_snapshot!(told(&LinuxTarget::Native, FILES));
}

#[test]
fn of_devices() {
    insta::assert_snapshot!(told(&LinuxTarget::Native, DEVICES));
}

#[test]
fn of_everything_else() {
    insta::assert_snapshot!(told(&LinuxTarget::Native, OTHERS));
}

#[test]
fn of_everything_else_where_nobody_serves() {
    insta::assert_snapshot!(told(&LinuxTarget::Bwrap(Finish::ByNobody), OTHERS));
}

#[test]
fn of_everything_else_where_landlock_holds_alone() {
    insta::assert_snapshot!(told(&LinuxTarget::Landlock(RunId::none()), OTHERS));
}

#[test]
fn of_files_where_mounts_hold_alone() {
    insta::assert_snapshot!(told(&LinuxTarget::Bwrap(Finish::ByFence), FILES));
}

#[test]
fn of_files_where_landlock_holds_alone() {
    insta::assert_snapshot!(told(&LinuxTarget::Landlock(RunId::none()), FILES));
}
