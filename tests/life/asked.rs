//! Asking the person at the terminal before something is refused.

use crate::harness::{Person, Scene, Suite, Terminal};
use crate::{fooled, unseen};

const POLICY: &str = r#"include base
allow read write exec $cwd, $tmp
allow run *
deny run "expr 1 ..." as sums because "no sums"
never run "expr 2 ..." as never-sums
"#;

/// The end of a question.
pub const PROMPT: &str = "would be asked [x]: ";

pub type Act = fn(&mut Terminal, &Scene, &str) -> Result<(), String>;

const ALL: [(&str, Act); 12] = [
    ("once", once),
    ("for the run", for_the_run),
    ("refused, and asked again", refused),
    ("never again", never_again),
    ("nothing more", nothing_more),
    ("a never is not asked about", never),
    ("an interrupt refuses", interrupt),
    ("what is no answer is none", no_answer),
    ("nothing is shown meanwhile", nothing_meanwhile),
    ("a full screen is put away and drawn again", full_screen),
    ("the command itself", itself),
    ("a connection", connection),
];

/// Adds the tests.
pub fn add(suite: &mut Suite) {
    for person in Person::everybody() {
        for (name, act) in ALL.into_iter().chain(fooled::ALL).chain(unseen::ALL) {
            let (ground, someone) = (suite.ground(), person.clone());
            let needs = if name.contains("tmux") { vec!["bash", "tmux"] } else { vec!["bash"] };
            let needs: Vec<String> = needs.into_iter().map(str::to_owned).collect();
            suite.add_needing(&format!("asked::{name}"), &person, &needs, move || {
                let scene = Scene::new(&ground, &someone, &[], &[]);
                let policy = scene.policy(POLICY);
                let mut terminal = Terminal::open(&scene);
                let fence = format!("{} run --ask -p {} --", scene.fence().display(), policy.display());
                act(&mut terminal, &scene, &fence)
            });
        }
    }
}

/// Reads a question, and answers it.
pub fn answer(terminal: &mut Terminal, text: &str) -> Result<(), String> {
    terminal.wait_for(PROMPT)?;
    terminal.line(text);
    Ok(())
}

/// The person's terminal reads lines and shows what is typed, as before.
fn is_as_before(terminal: &mut Terminal) -> Result<(), String> {
    terminal.line("(stty -a < /dev/tty; echo as=$?) | tr -s '; ' '\\n' | grep -x -e isig -e icanon -e 'as=0' -e opost | tr '\\n' +");
    terminal.wait_for("opost+isig+icanon+as=0+").map(drop)
}

fn once(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3 > sum; expr 1 + 4; echo code=$?; cat sum; exit 5'"));
    terminal.wait_for("wants to run expr 1 + 3")?;
    terminal.wait_for("the file is /usr/bin/expr")?;
    terminal.wait_for("deny run \"expr 1 ...\" as sums ")?;
    answer(terminal, "o")?;
    terminal.wait_for("wants to run expr 1 + 4")?;
    answer(terminal, "")?;
    terminal.wait_for("Permission denied")?;
    terminal.wait_for("code=126")?;
    terminal.wait_for("\n4\r\n")?;
    terminal.ends_with(5)?;
    is_as_before(terminal)
}

fn for_the_run(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'for i in a b c; do expr 1 + 700 >> sums; done; cp /usr/bin/expr . && bash -c \"exec -a expr ./expr 1 + 700\"; expr 1 + 5; cat sums'"));
    answer(terminal, "run")?;
    terminal.wait_for("wants to run expr 1 + 700")?;
    terminal.wait_for("/expr\r\n")?;
    answer(terminal, "n")?;
    // It was about this command, not about others that the same rule refuses, nor about another file under its name.
    terminal.wait_for("wants to run expr 1 + 5")?;
    answer(terminal, "r")?;
    terminal.wait_for("m6\r\n701\r\n701\r\n701\r\n")?;
    terminal.ends_with(0)
}

fn refused(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; expr 1 + 3; exit 3'"));
    for _ in 0..2 {
        answer(terminal, "")?;
        terminal.wait_for("Permission denied")?;
    }
    terminal.wait_for("refused run expr 1 + 3")?;
    terminal.ends_with(3)
}

fn never_again(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; expr 1 + 3; expr 1 + 3; echo th\"\"ree'"));
    answer(terminal, "n")?;
    let shown = terminal.wait_for("three")?;
    not_asked(&shown)?;
    terminal.ends_with(0)
}

fn nothing_more(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; expr 1 + 4; expr 1 + 5; echo th\"\"ree'"));
    answer(terminal, "x")?;
    let shown = terminal.wait_for("three")?;
    not_asked(&shown)?;
    terminal.ends_with(0)
}

pub fn not_asked(shown: &str) -> Result<(), String> {
    if shown.contains("wants to") { Err(format!("it was asked again: {shown}")) } else { Ok(()) }
}

fn never(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 2 + 2; echo code=$?'"));
    let shown = terminal.wait_for("code=126")?;
    not_asked(&shown)?;
    terminal.ends_with(0)
}

fn interrupt(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo go\"\"es on; exit 4'"));
    terminal.wait_for(PROMPT)?;
    terminal.type_in("\x03");
    terminal.wait_for("goes on")?;
    terminal.ends_with(4)?;
    is_as_before(terminal)
}

fn no_answer(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo code=$?'"));
    for said in ["yes", "o o", "0"] {
        answer(terminal, said)?;
    }
    terminal.wait_for("code=126")?;
    terminal.ends_with(0)
}

fn nothing_meanwhile(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "{fence} sh -c 'printf \"\\033]0;unended\"; (until test -e asked; do :; done; echo la\"\"ter; : > written) & expr 1 + 3; wait; exit 6'"
    ));
    // What was begun is ended, so that the question is none of a title's text.
    terminal.wait_for("\x18")?;
    terminal.wait_for("wants to run expr 1 + 3")?;
    terminal.wait_for(PROMPT)?;
    touch(scene, "asked")?;
    wait_until("the text to be written", || scene.path("{work}/written").exists())?;
    terminal.never_showed("later")?;
    terminal.line("o");
    terminal.wait_for("later")?;
    terminal.ends_with(6)
}

/// Tells the command something: by a file that it waits for.
pub fn touch(scene: &Scene, name: &str) -> Result<(), String> {
    std::fs::write(scene.path("{work}").join(name), "").map_err(|error| error.to_string())
}

/// Waits for what nobody tells of.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let began = std::time::Instant::now();
    while !done() {
        if began.elapsed() > std::time::Duration::from_secs(20) {
            return Err(format!("waited too long for {what}"));
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(())
}

fn full_screen(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "{fence} sh -c 'trap \"echo drawn; stty size\" WINCH; printf \"\\033[?1049h\"; expr 1 + 3; sleep 1; printf \"\\033[?1049l\"'"
    ));
    terminal.wait_for("\x1b[?1049h")?;
    terminal.wait_for("\x1b[?1049l")?;
    answer(terminal, "o")?;
    terminal.wait_for("\x1b[?1049h")?;
    terminal.wait_for("drawn")?;
    terminal.wait_for("24 80")?;
    terminal.ends_with(0)
}

fn itself(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} expr 1 + 3; echo code=$?"));
    answer(terminal, "o")?;
    // Its own start is asked about once, though it is judged before it starts and when it does.
    let shown = terminal.wait_for("code=0")?;
    not_asked(&shown)?;
    terminal.line(&format!("{fence} expr 1 + 3; echo code=$?"));
    answer(terminal, "")?;
    terminal.wait_for("code=126")?;
    is_as_before(terminal)
}

fn connection(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    // Nobody answers there; what matters is that it was tried.
    let text =
        "exec 3<>/dev/tcp/192.0.2.1/9 2>/dev/null && echo conn\"\"ected; read -t 20 x <&3; echo ended=$?";
    terminal.line(&format!("{fence} bash -c '{text}'"));
    terminal.wait_for("wants to connect to 192.0.2.1:9")?;
    terminal.wait_for("nothing allows it")?;
    answer(terminal, "n")?;
    terminal.wait_for("ended=1")?;
    terminal.wait_for("refused connect 192.0.2.1:9: nothing allows it")?;
    terminal.ends_with(0)
}
