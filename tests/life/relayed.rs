//! A terminal of the command's own, relayed to the one that a person has.

use crate::harness::Terminal;

/// Something that a person does, with the words that a command is put behind.
pub type Act = fn(&mut Terminal, &str) -> Result<(), String>;

/// All of it.
pub const ALL: [(&str, Act); 9] = [
    ("it controls, and is another one", controls),
    ("keys are the command's", keys),
    ("what shows without end can be interrupted", endless),
    ("a shell inside has job control", job_control),
    ("the window's size is followed", window_size),
    ("a signal is passed on", signalled),
    ("a stop from outside gives the terminal back", stopped),
    ("a pipe's end is typed", piped),
    ("a command that is refused leaves the terminal as it was", refused),
];

/// Gives the command the time to get the terminal; what is typed before goes to the shell.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(300));
}

/// The person's terminal reads lines and shows what is typed, as before.
fn is_as_before(terminal: &mut Terminal) -> Result<(), String> {
    terminal.line("(stty -a < /dev/tty; echo as=$?) | tr -s '; ' '\\n' | grep -x -e isig -e 'as=0' -e opost | tr '\\n' +");
    terminal.wait_for("opost+isig+as=0+").map(drop)
}

fn controls(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    let text = "test -t 0 -a -t 1 -a -t 2 && stty size && tty && echo as\"\"ks && read x < /dev/tty && echo got:$x; exit 7";
    terminal.line(&format!("{fence} sh -c '{text}'"));
    terminal.wait_for("24 80")?;
    terminal.wait_for("/dev/")?;
    terminal.wait_for("asks")?;
    settle();
    terminal.line("hello");
    terminal.wait_for("got:hello")?;
    terminal.ends_with(7)?;
    is_as_before(terminal)
}

fn keys(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; sleep 100'"));
    terminal.wait_for("begun")?;
    settle();
    terminal.type_in("\x03");
    terminal.ends_with(130)?;
    is_as_before(terminal)
}

fn endless(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; while :; do echo again; done'"));
    terminal.wait_for("begun")?;
    settle();
    terminal.type_in("\x03");
    terminal.ends_with(130)?;
    is_as_before(terminal)
}

fn job_control(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} bash --norc --noprofile -i"));
    settle();
    terminal.line("PS1='in''side> '");
    terminal.wait_for("inside> ")?;
    terminal.line("sh -c 'echo beg\"\"un; sleep 100'");
    terminal.wait_for("begun")?;
    settle();
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped")?;
    terminal.wait_for("inside> ")?;
    terminal.line("kill -KILL %1; exec sh -c 'exit 5'");
    terminal.ends_with(5)
}

fn window_size(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "{fence} sh -c 'trap \"stty size\" WINCH; echo beg\"\"un; i=0; while [ $i -lt 40 ]; do sleep 0.1; i=$((i+1)); done'"
    ));
    terminal.wait_for("begun")?;
    settle();
    terminal.resize(31, 97);
    terminal.wait_for("31 97").map(drop)
}

fn signalled(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "{fence} sh -c 'trap \"echo cau\"\"ght; exit 9\" TERM; echo beg\"\"un; while :; do sleep 0.1; done' & (sleep 2; kill -TERM $!) & fg %1"
    ));
    terminal.wait_for("begun")?;
    terminal.wait_for("caught")?;
    terminal.ends_with(9)?;
    is_as_before(terminal)
}

fn stopped(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "{fence} sh -c 'echo beg\"\"un; read x; echo got:$x; exit 4' & (sleep 2; kill -TSTP $!) & fg %1"
    ));
    terminal.wait_for("begun")?;
    terminal.wait_for("Stopped")?;
    is_as_before(terminal)?;
    terminal.line("fg %1");
    settle();
    terminal.line("typed");
    terminal.wait_for("got:typed")?;
    terminal.ends_with(4)?;
    is_as_before(terminal)
}

fn piped(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "printf 'one\\ntwo' | {fence} sh -c 'cat > /dev/null; echo re\"\"ad; exit 3'; echo code=$?"
    ));
    terminal.wait_for("read")?;
    terminal.wait_for("code=3")?;
    is_as_before(terminal)
}

fn refused(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} no-such-program; echo code=$?"));
    terminal.wait_for("was not found")?;
    terminal.wait_for("code=127")?;
    is_as_before(terminal)
}
