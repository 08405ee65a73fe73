//! Job control, keys and window sizes in a real terminal.

use crate::harness::{Person, Scene, Suite, Terminal};
use crate::relayed;

const POLICY: &str = "include base\nallow read write exec $cwd, $tmp\n";

type Act = fn(&mut Terminal, &str) -> Result<(), String>;

/// Adds the tests.
pub fn add(suite: &mut Suite) {
    let acts: [(&str, Act, &[&str]); 12] = [
        ("an interrupt ends the command", interrupt, &[]),
        ("a quit ends the command", quit, &[]),
        ("a program that handles the interrupt goes on", handled, &[]),
        ("a stop and fg", stop_and_continue, &[]),
        ("a stop and bg", stop_and_background, &[]),
        ("reading in the background stops", background_reader, &[]),
        ("the window's size is followed", window_size, &["stty"]),
        ("a pipe into a pager", pipe_into_pager, &["less"]),
        ("a reader that ends first", short_reader, &[]),
        ("a shell inside has job control", shell_inside, &[]),
        ("an editor fills the screen", editor, &["vim"]),
        ("a multiplexer", multiplexer, &["tmux"]),
    ];
    for person in Person::everybody() {
        for (name, act, needs) in acts {
            let (ground, someone) = (suite.ground(), person.clone());
            let needs: Vec<String> =
                ["bash"].iter().chain(needs).map(|program| (*program).to_owned()).collect();
            suite.add_needing(&format!("terminals::{name}"), &person, &needs, move || {
                let scene = Scene::new(&ground, &someone, &[], &[]);
                let policy = scene.policy(POLICY);
                let mut terminal = Terminal::open(&scene);
                let fence = format!("{} run -p {} --", scene.fence().display(), policy.display());
                act(&mut terminal, &fence)
            });
        }
    }
}

/// Adds those of a terminal that is the command's own.
pub fn add_relayed(suite: &mut Suite) {
    for person in Person::everybody() {
        for (name, act) in relayed::ALL {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add_needing(&format!("relayed::{name}"), &person, &["bash".to_owned()], move || {
                let scene = Scene::new(&ground, &someone, &[], &[]);
                let policy = scene.policy(POLICY);
                let mut terminal = Terminal::open(&scene);
                act(
                    &mut terminal,
                    &format!("{} run --pty -p {} --", scene.fence().display(), policy.display()),
                )
            });
        }
    }
}

/// Gives the job in the foreground the time to get the terminal; what is typed before goes to the shell.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(300));
}

fn interrupt(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; sleep 100'"));
    terminal.wait_for("begun")?;
    settle();
    terminal.type_in("\x03");
    terminal.ends_with(130)
}

fn quit(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line("ulimit -c 0");
    terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; exec sleep 100'"));
    terminal.wait_for("begun")?;
    settle();
    terminal.type_in("\x1c");
    terminal.ends_with(131)
}

fn handled(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "{fence} sh -c 'trap \"echo cau\"\"ght\" INT; echo beg\"\"un; sleep 100; echo we\"\"nt on; exit 9'"
    ));
    terminal.wait_for("begun")?;
    settle();
    terminal.type_in("\x03");
    terminal.wait_for("caught")?;
    terminal.wait_for("went on")?;
    terminal.ends_with(9)
}

fn stop_and_continue(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; while read word; do echo \"got:$word\"; done'"));
    terminal.wait_for("begun")?;
    terminal.line("one");
    terminal.wait_for("got:one")?;
    for word in ["two", "three"] {
        terminal.type_in("\x1a");
        terminal.wait_for("Stopped")?;
        terminal.wait_for("ready> ")?;
        terminal.line("fg");
        terminal.wait_for("sh -c")?;
        settle();
        terminal.line(word);
        terminal.wait_for(&format!("got:{word}"))?;
    }
    terminal.type_in("\x04");
    terminal.ends_with(0)
}

fn stop_and_background(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; sleep 1; echo fin\"\"ished'"));
    terminal.wait_for("begun")?;
    settle();
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped")?;
    terminal.wait_for("ready> ")?;
    terminal.line("bg");
    terminal.wait_for("finished")?;
    terminal.line("wait; echo code=$?");
    terminal.wait_for("code=0").map(drop)
}

fn background_reader(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} cat &"));
    terminal.wait_for("ready> ")?;
    terminal.line("sleep 1; jobs");
    terminal.wait_for("Stopped")?;
    terminal.line("fg");
    terminal.wait_for("-- cat\r\n")?;
    settle();
    terminal.line("typed");
    terminal.wait_for("typed\r\ntyped")?;
    terminal.type_in("\x04");
    terminal.wait_for("ready> ").map(drop)
}

fn window_size(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal
        .line(&format!("{fence} bash -c 'trap \"exit 0\" INT; trap \"stty size\" WINCH; stty size; while :; do sleep 0.1; done'"));
    terminal.wait_for("24 80")?;
    terminal.resize(33, 77);
    terminal.wait_for("33 77")?;
    settle();
    terminal.type_in("\x03");
    terminal.wait_for("ready> ").map(drop)
}

fn pipe_into_pager(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} seq 100000 | {fence} less"));
    terminal.wait_for("\r\n20\r\n")?;
    terminal.type_in("q");
    terminal.ends_with(0)
}

fn short_reader(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} yes | head -n 1; echo codes=${{PIPESTATUS[*]}}"));
    terminal.wait_for("codes=141 0").map(drop)
}

fn shell_inside(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} env PS1='in'\"side> \" bash --norc --noprofile -i"));
    terminal.wait_for("inside> ")?;
    terminal.line("sleep 100");
    settle();
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped")?;
    terminal.line("jobs; bg; fg");
    terminal.wait_for("sleep 100\r\n")?;
    settle();
    terminal.type_in("\x03");
    terminal.line("echo code=$?");
    terminal.wait_for("code=130")?;
    terminal.never_showed("no job control")?;
    terminal.line("exit 7");
    terminal.wait_for("ready> ")?;
    terminal.line("echo outer=$?");
    terminal.wait_for("outer=7").map(drop)
}

fn editor(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} vim -u NONE edited"));
    terminal.wait_for("edited")?;
    terminal.type_in("ihello from inside\x1b:wq\r");
    terminal.wait_for("ready> ")?;
    terminal.line("cat edited");
    terminal.wait_for("hello from inside\r\n").map(drop)
}

fn multiplexer(terminal: &mut Terminal, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} tmux -S /tmp/t -f /dev/null new-session bash --norc --noprofile"));
    terminal.wait_for("[0]")?;
    terminal.line("echo in-$((40+2))");
    terminal.wait_for("in-42")?;
    terminal.line("exit");
    terminal.ends_with(0)
}
