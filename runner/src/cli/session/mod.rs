//! `fence session`: a sandbox that stays, for many commands.

mod client;
mod folder;
mod manager;
mod reload;
mod start;
mod telling;
mod wire;

use anyhow::bail;

use super::arguments::{Session, SessionWord};
use super::run::FAILED;
use super::screen::Screen;
use crate::audit::visible;
use folder::Folder;

/// Does what one word of `fence session` says.
pub(super) fn session(session: &Session, screen: Screen) -> anyhow::Result<u8> {
    match &session.word {
        SessionWord::Start(start) => start::start(start, screen),
        SessionWord::Run(run) => client::run(run, screen),
        SessionWord::Reload(word) => reload::reload(word, screen),
        SessionWord::List(_) => list(screen),
        SessionWord::Stop(stop) => stop_all(&stop.names, screen),
    }
}

/// Names the sessions of the caller, each with its policy, directory and age.
fn list(screen: Screen) -> anyhow::Result<u8> {
    let folder = Folder::of_caller()?;
    let mut text = String::new();
    for name in folder.names()? {
        if let Some(about) = folder.ask(&name, wire::Kind::About)? {
            text.push_str(&format!("{name}  {}\n", visible(about.trim_end())));
        }
    }
    screen.print(&text)?;
    Ok(0)
}

/// Ends sessions, and waits until nothing of them is left.
fn stop_all(names: &[String], screen: Screen) -> anyhow::Result<u8> {
    let folder = Folder::of_caller()?;
    let mut code = 0;
    for name in names {
        folder::check_name(name)?;
        if folder.ask(name, wire::Kind::Stop)?.is_none() {
            screen.say(&format!("there is no session `{name}`; `fence session list` names those there are"));
            code = 1;
        }
    }
    if names.is_empty() {
        bail!("name the sessions to stop; `fence session list` names those there are");
    }
    Ok(code.min(FAILED))
}
