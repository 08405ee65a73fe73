//! `fence compile`

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use fence_compiler::artifact::{Artifact, Lowering, Target, compile_for};
use fence_compiler::diagnostic::render;
use fence_compiler::host::{FileFacts, Host};
use fence_compiler::lower::seatbelt::{Run, RunId, like_a_mac};
use fence_compiler::lower::target::Finish;
use fence_compiler::profile::SeatbeltPlan;
use fence_compiler::question::Platform;
use serde::Deserialize;

use super::arguments::{Compile, Format};
use super::fidelity::Accepted;
use super::policy::{has_errors, load, refuse_home_in_tmp, refuse_wide_workspace};
use super::run::{shown, tell_findings};
use super::screen::Screen;
use super::{bwrap, fidelity};
use crate::host::{PLATFORM, ProbedFiles};

/// Compiles a policy to an artifact.
pub(super) fn compile(arguments: &Compile, screen: Screen) -> anyhow::Result<u8> {
    let target = match arguments.target.as_str() {
        "native" => Target::Native,
        "bwrap" => Target::Bwrap(Finish::ByNobody),
        "landlock" => Target::Landlock(RunId::none()),
        "seatbelt" => Target::Seatbelt(Run::named(RunId::none())),
        other => bail!(
            "there is no target `{}`; there are `native`, `bwrap`, `landlock` and `seatbelt`",
            crate::audit::visible(other)
        ),
    };
    let machine = arguments.host.as_deref().map(|file| machine(file, &target)).transpose()?;
    let policies: Vec<OsString> = arguments.policy.iter().cloned().collect();
    let loaded = load(&policies, &arguments.changes)?;
    let sources = &loaded.resolved.sources;
    if loaded.has_errors() {
        screen.tell(&render::text(&loaded.resolved.diagnostics, sources, screen.err));
        return Ok(1);
    }
    let version = env!("CARGO_PKG_VERSION");
    let policy = loaded.resolved.policy.clone();
    let compiled = match machine {
        Some(mut machine) => compile_for(&target, policy, machine.host, &mut machine.files, version),
        None if matches!(target, Target::Seatbelt(_)) && PLATFORM != Platform::MacOs => {
            let host = like_a_mac(&loaded.host(Vec::new()));
            screen.note(&format!(
                "compiled for a Mac with the home `{}` and nothing else known of its files; --host FILE describes a certain one",
                host.person.home
            ));
            compile_for(&target, policy, host, &mut FileFacts::default(), version)
        }
        None => compile_for(&target, policy, loaded.host(Vec::new()), &mut ProbedFiles, version),
    };
    if has_errors(&compiled.diagnostics) && arguments.host.is_none() {
        let policy = &loaded.resolved.policy;
        refuse_wide_workspace(&loaded.place, policy)?;
        refuse_home_in_tmp(&loaded.place, policy, &compiled.diagnostics)?;
    }
    tell_findings(&compiled.diagnostics, sources, screen);
    if has_errors(&compiled.diagnostics) {
        return Ok(1);
    }
    let artifact = &compiled.value;
    let text = match (arguments.format, &artifact.lowering) {
        (None, Lowering::Bwrap { plan, .. }) => {
            if let Some(summary) = fidelity::summary(&artifact.fidelity, "--format text", Accepted::ByChoice)
            {
                screen.note(&summary);
            }
            return bwrap::write(artifact, plan, arguments.output.as_deref(), screen);
        }
        (None | Some(Format::Json), _) => format!("{}\n", serde_json::to_string_pretty(artifact)?),
        (Some(Format::Text), _) => as_text(artifact),
    };
    match &arguments.output {
        Some(file) => write(file, &text).with_context(|| format!("cannot write `{}`", shown(file)))?,
        None => screen.print(&text)?,
    }
    Ok(0)
}

/// A machine as a file describes it: a `host`, and the `files` that are there. An artifact is one, too.
#[derive(Deserialize)]
struct Machine {
    host: Host,
    #[serde(default)]
    files: FileFacts,
}

fn machine(file: &Path, target: &Target) -> anyhow::Result<Machine> {
    let text = std::fs::read(file).with_context(|| format!("cannot read the host `{}`", shown(file)))?;
    let machine: Machine = serde_json::from_slice(&text).with_context(|| {
        format!("`{}` describes no host (an artifact's `host` and `files` are one)", shown(file))
    })?;
    let (name, platform) = match target {
        Target::Native => ("native", Platform::Linux),
        Target::Bwrap(_) => ("bwrap", Platform::Linux),
        Target::Landlock(_) => ("landlock", Platform::Linux),
        Target::Seatbelt(_) => ("seatbelt", Platform::MacOs),
    };
    if machine.host.platform != platform {
        bail!("the target `{name}` is for another platform than that of the host in `{}`", shown(file));
    }
    Ok(machine)
}

/// The profile for a person, which `sandbox-exec -f` takes as well: how each rule is enforced stands before it, as
/// remarks.
fn as_profile(artifact: &Artifact, plan: &SeatbeltPlan) -> String {
    let mut text = format!("; fence {} for seatbelt\n;\n", artifact.fence);
    for enforcement in &artifact.fidelity {
        for line in fidelity::line(&artifact.policy, enforcement).lines() {
            let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
            text.push_str(&format!("; {}\n", line.chars().map(printable).collect::<String>()));
        }
    }
    text.push_str(&format!(
        ";\n; {} bytes of the profile count; its `$tmp` is {}.\n\n",
        plan.bytes, plan.tmp
    ));
    text.push_str(&plan.profile);
    text
}

/// Writes a file whole or not at all.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::symlink_metadata(file).is_ok_and(|found| !found.is_file()) {
        return File::options().write(true).open(file)?.write_all(text.as_bytes());
    }
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let written = File::create_new(&beside)
        .and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
        .and_then(|()| std::fs::rename(&beside, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// The plan for a person: how each rule is enforced, then each step.
fn as_text(artifact: &Artifact) -> String {
    let (name, plan) = match &artifact.lowering {
        Lowering::Native { plan } => ("native", plan),
        Lowering::Bwrap { plan, .. } => ("bwrap", plan),
        Lowering::Landlock { plan } => ("landlock", plan),
        Lowering::Seatbelt { plan } => return as_profile(artifact, plan),
    };
    let mut text = format!("fence {} for {name}\n\nrules\n", artifact.fence);
    for enforcement in &artifact.fidelity {
        let line = fidelity::line(&artifact.policy, enforcement);
        text.push_str(&format!("  {}\n", line.replace('\n', "\n  ")));
    }
    text.push('\n');
    text.push_str(&fence_compiler::plan::text(plan, &artifact.policy));
    text
}
