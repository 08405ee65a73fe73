//! `fence session start`

use std::io::{PipeWriter, Read, Write};
use std::time::Instant;

use anyhow::{Context, bail};

use super::folder::{Folder, check_name};
use super::manager::Manager;
use crate::audit::{Log, visible};
use crate::cli::arguments::{BackendName, SessionStart};
use crate::cli::record::Live;
use crate::cli::run::{self, FAILED, Prepared};
use crate::cli::screen::Screen;
use crate::cli::{observed, prepared};
use crate::host::ProbedFiles;
use crate::launch::Observed;
use crate::linux::session::{Daemon, become_daemon};

/// Starts a session, and ends when commands can be run in it.
pub(in crate::cli) fn start(start: &SessionStart, screen: Screen) -> anyhow::Result<u8> {
    let folder = Folder::of_caller()?;
    let name = match &start.name {
        Some(name) => name.clone(),
        None => free_name(&folder)?,
    };
    check_name(&name)?;
    let offered = std::collections::BTreeSet::new();
    let Some(prepared) = run::prepare(
        &start.chosen,
        BackendName::Native,
        start.log.as_deref(),
        &offered,
        &mut ProbedFiles,
        None,
        screen,
    )?
    else {
        return Ok(FAILED);
    };
    run::tell_before(&prepared, screen);
    let observed = observed::asked(Live::Summed, start.log.as_deref());
    let observed = observed::wanted(&prepared, observed, screen);
    if prepared.policy.limits.iter().any(|limit| limit.kind == fence_compiler::policy::LimitKind::Time) {
        screen.note("`limit time` holds for each command and what it starts in its own session of processes; what leaves that goes on until the session ends");
    }
    let (mut told, tell) = std::io::pipe().context("cannot make a pipe")?;
    match become_daemon().context("cannot start the process that keeps the session")? {
        Daemon::Caller => {
            drop(tell);
            let mut text = String::new();
            told.read_to_string(&mut text).context("cannot hear of the session")?;
            match text.strip_prefix(READY) {
                Some(_) => {
                    screen.print(&format!("{name}\n"))?;
                    Ok(0)
                }
                None if text.is_empty() => {
                    bail!("the process that keeps the session has ended without a word")
                }
                None => {
                    screen.say(&visible(&text));
                    Ok(FAILED)
                }
            }
        }
        Daemon::Child(ended) => {
            drop(told);
            let made = made(&folder, &name, prepared, observed, start, ended);
            kept(made, tell);
            Ok(0)
        }
    }
}

/// What the process says when the session is there.
const READY: &str = "ready";

fn made(
    folder: &Folder,
    name: &str,
    prepared: Prepared,
    observed: Observed,
    start: &SessionStart,
    ended: std::os::fd::OwnedFd,
) -> anyhow::Result<Manager> {
    let log = start.log.as_deref().map(Log::open).transpose()?;
    let (own, listener) = folder.listen(name)?;
    let directory = prepared.host.cwd.to_string();
    let (rules, session) = match prepared::kept(prepared, start.idle.0, start.log.as_deref(), observed) {
        Ok(kept) => kept,
        Err(error) => {
            super::folder::remove(&own);
            return Err(error.into());
        }
    };
    let about = format!("{}  {directory}", rules.name());
    Ok(Manager {
        rules,
        session,
        listener,
        own,
        about,
        origin: super::reload::origin(&start.chosen, directory.into()),
        written_log: start.log.clone(),
        since: Instant::now(),
        log,
        ended,
    })
}

fn kept(made: anyhow::Result<Manager>, mut tell: PipeWriter) {
    match made {
        Err(error) => {
            let _ = write!(tell, "{error:#}");
        }
        Ok(manager) => {
            let _ = tell.write_all(READY.as_bytes());
            drop(tell);
            manager.keep();
        }
    }
}

/// The first number that no session has.
fn free_name(folder: &Folder) -> anyhow::Result<String> {
    let taken = folder.names()?;
    let mut names = (1_u32..).map(|number| number.to_string());
    names.find(|name| !taken.contains(name)).context("no name is free")
}
