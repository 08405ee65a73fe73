//! `fence overlay`: what runs wrote to an overlay.

use std::time::SystemTime;

use super::arguments::{Overlay, OverlayWord};
use super::screen::Screen;
use crate::overlay::{Error, Folder, Name, last_used, places};

/// Does what one word of `fence overlay` says.
pub(super) fn overlay(overlay: &Overlay, screen: Screen) -> anyhow::Result<u8> {
    let folder = Folder::of(&crate::host::person()?);
    match &overlay.word {
        OverlayWord::List(_) => list(&folder, screen),
        OverlayWord::Discard(discard) => discard_all(&folder, &discard.names, screen),
    }
}

/// Names the overlays of the caller, each with its age and what it is over.
fn list(folder: &Folder, screen: Screen) -> anyhow::Result<u8> {
    let mut text = String::new();
    for name in folder.names()? {
        let Some(kept) = folder.find(&name)? else { continue };
        let over: Vec<String> = places(&kept)?.iter().map(|place| place.over().to_string()).collect();
        let over = if over.is_empty() { "nothing yet".to_owned() } else { over.join(", ") };
        let age = last_used(&kept).and_then(|time| SystemTime::now().duration_since(time).ok());
        let age = age.map_or_else(|| "?".to_owned(), |age| age_told(age.as_secs()));
        text.push_str(&format!("{}  {age}  {over}\n", name.as_str()));
    }
    screen.print(&text)?;
    Ok(0)
}

/// How long ago, in its greatest unit.
fn age_told(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// Drops overlays.
fn discard_all(folder: &Folder, names: &[String], screen: Screen) -> anyhow::Result<u8> {
    let mut code = 0;
    for name in names {
        let name: Name = name.parse()?;
        match folder.discard(&name) {
            Err(error @ Error::None(_)) => {
                screen.say(&error.to_string());
                code = 1;
            }
            other => other?,
        }
    }
    Ok(code)
}
