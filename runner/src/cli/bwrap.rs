//! What `fence compile --target bwrap` writes: the arguments, and a directory in which a script runs with them.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use fence_compiler::artifact::Artifact;
use fence_compiler::fidelity::Level;
use fence_compiler::plan::bwrap::{self, Content, FILTER, List};
use fence_compiler::plan::{LimitMechanism, LinuxPlan, NamesFile, NetworkPlan};
use fence_compiler::policy::LimitKind;

use super::run::shown;
use super::screen::Screen;
use crate::audit::visible;

/// Writes the list to standard output, or the list, the seccomp program and the script into a directory.
pub(super) fn write(
    artifact: &Artifact,
    plan: &LinuxPlan,
    directory: Option<&Path>,
    screen: Screen,
) -> anyhow::Result<u8> {
    let list = bwrap::list(plan);
    let lines = bwrap::lines(&list);
    match directory {
        None => {
            let mut out = io::stdout().lock();
            match out.write_all(&lines).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                other => other.context("cannot write the list")?,
            }
        }
        Some(directory) => {
            fill(artifact, plan, &list, &lines, directory)
                .with_context(|| format!("cannot write to `{}`", shown(directory)))?;
            screen.note(&format!("`{}/run.sh COMMAND` runs a command so", shown(directory)));
        }
    }
    Ok(0)
}

/// What the list does not hold, in one line each.
pub(super) fn not_held(artifact: &Artifact) -> Vec<String> {
    let mut lines = Vec::new();
    for enforcement in artifact.fidelity.iter().filter(|enforcement| enforcement.level == Level::Weaker) {
        for why in &enforcement.why {
            if !lines.contains(why) {
                lines.push(why.clone());
            }
        }
    }
    lines.iter().map(|line| format!("not held: {}", visible(line))).collect()
}

fn fill(
    artifact: &Artifact,
    plan: &LinuxPlan,
    list: &List,
    lines: &[u8],
    directory: &Path,
) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    put(&directory.join("bwrap.args"), lines, 0o644)?;
    put(&directory.join("seccomp.bpf"), &filter(plan)?, 0o644)?;
    for file in [NamesFile::Hosts, NamesFile::Resolver, NamesFile::Order] {
        if list.descriptors.iter().any(|(_, content)| *content == Content::Names(file)) {
            put(&directory.join(name(file)), &names(file), 0o644)?;
        }
    }
    put(&directory.join("run.sh"), &script(artifact, plan, list), 0o755)
}

/// Replaces a file as a whole.
fn put(file: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let written = File::create_new(&beside).and_then(|mut new| {
        new.write_all(bytes)?;
        new.set_permissions(Permissions::from_mode(mode))
    });
    if let Err(error) = written.and_then(|()| fs::rename(&beside, file)) {
        let _ = fs::remove_file(&beside);
        return Err(error.into());
    }
    Ok(())
}

/// The seccomp program as bubblewrap reads it.
#[cfg(target_os = "linux")]
fn filter(plan: &LinuxPlan) -> anyhow::Result<Vec<u8>> {
    crate::linux::seccomp::bytes(&plan.seccomp, crate::linux::seccomp::Architecture::NATIVE)
        .map_err(|error| anyhow!(error))
}

#[cfg(not(target_os = "linux"))]
fn filter(_: &LinuxPlan) -> anyhow::Result<Vec<u8>> {
    Err(anyhow!("the program for seccomp is made on Linux only"))
}

#[cfg(target_os = "linux")]
fn names(file: NamesFile) -> Vec<u8> {
    crate::linux::names_file(file).into_bytes()
}

#[cfg(not(target_os = "linux"))]
fn names(_: NamesFile) -> Vec<u8> {
    Vec::new()
}

fn name(file: NamesFile) -> &'static str {
    match file {
        NamesFile::Hosts => "hosts",
        NamesFile::Resolver => "resolv.conf",
        NamesFile::Order => "nsswitch.conf",
    }
}

/// The script: what it passes on is the caller's at the time it runs.
fn script(artifact: &Artifact, plan: &LinuxPlan, list: &List) -> Vec<u8> {
    let mut out = format!(
        "#!/usr/bin/env bash\n# Made by fence {}: runs a command under bubblewrap as the policy says, without fence.\n",
        artifact.fence
    );
    for line in not_held(artifact) {
        out.push_str(&format!("# {line}\n"));
    }
    if plan.network != NetworkPlan::Isolated {
        out.push_str("# no connection is served: fence itself would judge them\n");
    }
    out.push_str(
        "set -eu\n\
         if [ $# -eq 0 ]; then echo \"usage: $0 COMMAND [ARGUMENT]...\" >&2; exit 125; fi\n\
         here=$(cd -- \"$(dirname -- \"${BASH_SOURCE[0]}\")\" && pwd)\n",
    );
    let weaker = not_held(artifact).len();
    if weaker > 0 {
        out.push_str(&format!(
            "echo \"run.sh: {weaker} things of the policy are not held here; the head of $0 names them\" >&2\n"
        ));
    }
    out.push_str(
        "for open in /proc/$$/fd/*; do\n  \
           open=${open##*/}\n  \
           if [ \"$open\" -gt 2 ] && [ \"$open\" -ne 255 ]; then eval \"exec $open>&-\"; fi\n\
         done\n",
    );
    for limit in plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Rlimit) {
        out.push_str(&match limit.kind {
            LimitKind::Cpu => format!("ulimit -t {}\n", limit.amount.div_ceil(1000)),
            LimitKind::Files => format!("ulimit -n {}\n", limit.amount),
            LimitKind::FileSize => format!("ulimit -f {}\n", limit.amount.div_ceil(1024)),
            LimitKind::Memory => format!("ulimit -d {}\n", limit.amount.div_ceil(1024)),
            _ => continue,
        });
    }
    out.push_str("arguments=(\n");
    let mut out = out.into_bytes();
    for argument in &list.arguments {
        out.extend(b"  ");
        out.extend(bwrap::quoted(argument));
        out.push(b'\n');
    }
    out.extend(b")\nfor name in");
    let is_name = |name: &&String| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    for name in plan.environment.pass.iter().filter(is_name) {
        out.push(b' ');
        out.extend(name.as_bytes());
    }
    out.extend(
        b"; do\n  if [ -n \"${!name+set}\" ]; then arguments+=(--setenv \"$name\" \"${!name}\"); fi\ndone\n",
    );
    out.extend(b"exec 9< <(printf '%s\\0' \"${arguments[@]}\")\n");
    out.extend(b"exec env -i PATH=\"$PATH\" ");
    if let Some(limit) = plan.limits.iter().find(|limit| limit.by == LimitMechanism::Timer) {
        let seconds = std::time::Duration::from_millis(limit.amount).as_secs_f64();
        out.extend(format!("timeout --foreground -s KILL {seconds} ").bytes());
    }
    out.extend(b"bwrap --args 9 -- \"$@\"");
    for (number, content) in &list.descriptors {
        let from = match content {
            Content::Filter => "\"$here/seccomp.bpf\"".to_owned(),
            Content::Empty => "/dev/null".to_owned(),
            Content::Names(file) => format!("\"$here/{}\"", name(*file)),
        };
        out.extend(format!(" {number}<{from}").bytes());
    }
    out.push(b'\n');
    debug_assert_eq!(FILTER, 10);
    out
}
