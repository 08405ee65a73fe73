//! Questions at a terminal that shows them late, or never.

use nix::sys::signal::{Signal, kill};

use crate::asked::{Act, PROMPT, not_asked, touch, wait_until};
use crate::fooled::noted;
use crate::harness::{Scene, Terminal};

pub const ALL: [(&str, Act); 4] = [
    ("what is typed before the terminal has shown it is no answer", typed_unseen),
    ("a terminal that does not say where its cursor is", mute),
    ("an end of fence at a terminal that nobody reads", unread),
    ("an end of fence at a terminal that is held", held),
];

fn typed_unseen(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.be_mute();
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo code=$?'"));
    terminal.wait_for("wants to run expr 1 + 3")?;
    terminal.type_in("o\ro");
    terminal.wait_for("\x1b[6n\x1b[999;1H")?;
    let replies = terminal.replies();
    terminal.type_in(&format!("{replies}o\ro"));
    not_asked_yet(&terminal.wait_for(PROMPT)?)?;
    terminal.line("");
    let shown = terminal.wait_for("code=126")?;
    not_asked(&shown)
}

/// Nothing of what was typed or answered is shown.
fn not_asked_yet(shown: &str) -> Result<(), String> {
    if shown.contains("code=") || shown.contains("R\x1b[") || shown.contains("^[") {
        Err(shown.to_owned())
    } else {
        Ok(())
    }
}

fn mute(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.be_mute();
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo code=$?; read x; echo \"got:$x.\"'"));
    terminal.wait_for("wants to run expr 1 + 3")?;
    terminal.wait_for("\x1b[6n\x1b[999;1H")?;
    // The same places in another order are no answer, nor with something between.
    let replies = terminal.replies();
    let (first, rest) = replies.split_at(replies.find('R').ok_or("it is not asked")? + 1);
    terminal.line(&format!("{rest}{first}o{rest}"));
    let shown = terminal.wait_for("does not say where its cursor is")?;
    if shown.contains(PROMPT) {
        return Err(shown);
    }
    terminal.wait_for("code=126")?;
    // What it says too late is for nobody.
    terminal.line(&format!("{}x", terminal.replies()));
    terminal.wait_for("got:x.")?;
    terminal.ends_with(0)
}

fn unread(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        terminal.line(&format!("sh -c 'echo $$ > pid; exec \"$@\"' sh {fence} sh -c 'yes & sleep 60'"));
        terminal.wait_for("y\r\ny\r\n")?;
        let pid = noted(scene)?;
        terminal.look_away(true);
        kill(pid, signal).map_err(|error| error.to_string())?;
        wait_until("its end", || kill(pid, None).is_err())?;
        terminal.look_away(false);
        terminal.wait_for("ready> ")?;
    }
    Ok(())
}

fn held(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "sh -c 'echo $$ > pid; exec \"$@\"' sh {fence} sh -c '(until test -e asked; do :; done; yes) & expr 1 + 3; sleep 60'"
    ));
    terminal.wait_for(PROMPT)?;
    terminal.type_in("\x13");
    touch(scene, "asked")?;
    let pid = noted(scene)?;
    kill(pid, Signal::SIGTERM).map_err(|error| error.to_string())?;
    wait_until("its end", || kill(pid, None).is_err())?;
    terminal.type_in("\x11");
    terminal.wait_for("ready> ").map(drop)
}
