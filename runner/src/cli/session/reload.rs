//! `fence session reload`

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use nix::sys::socket::{MsgFlags, recv};

use super::folder::{Folder, check_name};
use super::wire::{self, Kind, TEXT};
use crate::audit::visible;
use crate::cli::arguments::{Changes, Chosen, SessionReload};
use crate::cli::policy::{How, load, refuse_wide_workspace};
use crate::cli::screen::Screen;
use crate::cli::{distrust, run};
use crate::session::judged::Wanted;

/// The most that an answer holds.
const LONGEST: usize = 256 * 1024;

/// What a session's policy was made of, as the words of a command line.
pub(super) fn origin(chosen: &Chosen, directory: PathBuf) -> Wanted {
    let mut argv: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| argv.extend([option.into(), value]);
    chosen.policy.iter().for_each(|policy| add(POLICY, policy.clone()));
    chosen.changes.rule.iter().for_each(|rule| add(RULE, rule.into()));
    chosen.changes.set.iter().for_each(|(name, value)| add(SET, format!("{name}={value}").into()));
    Wanted { argv, environment: Vec::new(), directory, umask: 0, terminal: None }
}

const POLICY: &str = "-p";
const RULE: &str = "--rule";
const SET: &str = "--set";

fn chosen(origin: Wanted) -> Chosen {
    let changes = Changes { rule: Vec::new(), set: Vec::new(), directory: Some(origin.directory) };
    let mut chosen = Chosen { policy: Vec::new(), changes };
    let mut words = origin.argv.into_iter();
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        let text = value.to_string_lossy().into_owned();
        match option.to_str() {
            Some(POLICY) => chosen.policy.push(value),
            Some(RULE) => chosen.changes.rule.push(text),
            Some(SET) => {
                chosen
                    .changes
                    .set
                    .extend(text.split_once('=').map(|(name, value)| (name.into(), value.into())));
            }
            _ => {}
        }
    }
    chosen
}

/// Has a session hold its commands by what its policy says now. The policy is read here, where a person is told what is
/// wrong with it; whether it is narrower is decided by whoever keeps the session.
pub(in crate::cli) fn reload(reload: &SessionReload, screen: Screen) -> anyhow::Result<u8> {
    check_name(&reload.name)?;
    let folder = Folder::of_caller()?;
    let asked = |kind, descriptors: &[i32]| -> anyhow::Result<Vec<u8>> {
        let no_session =
            || format!("there is no session `{}`; `fence session list` names those there are", reload.name);
        let Some(connection) = folder.reach(&reload.name)? else { bail!(no_session()) };
        wire::send(&connection, kind, descriptors).with_context(no_session)?;
        let mut bytes = vec![0; LONGEST];
        let length = recv(connection.as_raw_fd(), &mut bytes, MsgFlags::empty()).with_context(no_session)?;
        bytes.truncate(length);
        Ok(bytes)
    };
    let told = asked(Kind::Origin, &[])?;
    if let Some((code, text)) = refusal(&told) {
        screen.say(&text);
        return Ok(code);
    }
    let origin = wire::of_texts(told)
        .with_context(|| format!("the session `{}` does not say what its policy is made of", reload.name))?;
    let chosen = chosen(origin);
    let loaded = load(&chosen.policy, &chosen.changes)?;
    if !run::tell_findings(&loaded.resolved.diagnostics, &loaded.resolved.sources, screen) {
        return Ok(1);
    }
    if let How::Found { found, closure } = &loaded.how
        && distrust::refused(&loaded, found, closure, screen)?
    {
        return Ok(1);
    }
    refuse_wide_workspace(&loaded.place, &loaded.resolved.policy)?;
    let memory = wire::policy_written(&loaded.resolved.policy).context("cannot lay out the policy")?;
    match refusal(&asked(Kind::Reload, &[memory.as_raw_fd()])?) {
        Some((0, _)) => {
            screen.note(&format!(
                "commands of `{}` that start from now on are held by this policy, and so is every new connection; those that run keep what they had",
                reload.name
            ));
            Ok(0)
        }
        Some((_, text)) => {
            screen.say(&visible(&text));
            Ok(1)
        }
        None => bail!("the session `{}` has ended", reload.name),
    }
}

/// The text of an answer, and its code.
fn refusal(bytes: &[u8]) -> Option<(u8, String)> {
    match bytes {
        [TEXT, code, text @ ..] => Some((*code, String::from_utf8_lossy(text).into_owned())),
        _ => None,
    }
}
