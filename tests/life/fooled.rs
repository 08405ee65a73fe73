//! Attempts to have another question answered than the one that is shown, or to answer in the place of the person.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::asked::{Act, PROMPT, answer, not_asked, touch, wait_until};
use crate::harness::{Scene, Terminal};

pub const ALL: [(&str, Act); 29] = [
    ("what was typed before is no answer", typed_before),
    ("what comes before it can have been read is no answer", typed_on),
    ("half a line of before is no part of an answer", half_typed),
    ("what is typed behind an answer answers nothing", typed_behind),
    ("a question that outlives the command is taken back", outlived),
    ("what the terminal says by itself is no answer", said_by_the_terminal),
    ("the terminal is given its usual modes", usual_modes),
    ("tmux shows the question whatever it was told", in_tmux),
    ("blanks and control characters are told", told_exactly),
    ("a long argument begins no line", folded),
    ("what has no room is refused", no_room),
    ("a window that becomes too small is a refusal", shrunk),
    ("what is no text is refused", no_text),
    ("a script and its interpreter are two questions", interpreter),
    ("a script that can be exchanged is refused", unsealed),
    ("a program that becomes a script meanwhile is refused", exchanged),
    ("an ssh is its whole command line", whole_ssh),
    ("an answer is for these reasons and this file", same_words),
    ("a pipe beside the terminal", beside),
    ("two that ask at one terminal", two),
    ("an end of fence is asked for", terminated),
    ("a stop and fg shows it again", stopped),
    ("a stop and bg refuses it", background),
    ("in the background nobody is asked", started_behind),
    ("a hangup is a refusal", hung_up),
    ("who asks is gone", gone),
    ("a command that is closed by one word", one_word),
    ("a never beside a deny", never_beside),
    ("an internal address", internal),
];

fn typed_before(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    // Keys are for the command until the question is there.
    terminal.line(&format!(
        "{fence} sh -c 'echo beg\"\"un; until test -e go; do sleep 0.1; done; expr 1 + 3; read x; echo got:$x'"
    ));
    terminal.wait_for("begun")?;
    terminal.line("o");
    terminal.wait_for("o\r\n")?;
    touch(scene, "go")?;
    answer(terminal, "")?;
    terminal.wait_for("Permission denied")?;
    terminal.wait_for("got:o")?;
    terminal.ends_with(0)
}

/// Types when a question is shown that cannot be answered yet. Whether it could by then is seen behind that: then this says nothing,
/// and is tried again.
fn early(terminal: &mut Terminal, fence: &str, typed: &str, then: &str) -> Result<(), String> {
    for _ in 0..50 {
        terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo code=$?'"));
        terminal.wait_for("wants to run expr 1 + 3")?;
        terminal.type_in(typed);
        let early = !terminal.shows(PROMPT);
        if early {
            answer(terminal, then)?;
        } else if !typed.contains('\r') {
            terminal.line("");
        }
        let shown = terminal.wait_for("code=")?;
        terminal.wait_for("ready> ")?;
        if early {
            return if shown.contains("Permission denied") { Ok(()) } else { Err(shown) };
        }
    }
    Err("it was always too late".to_owned())
}

fn typed_on(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    early(terminal, fence, "o\r", "")
}

fn half_typed(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    early(terminal, fence, "o", "")
}

fn typed_behind(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3 > sum; expr 1 + 4; echo code=$?; cat sum'"));
    terminal.wait_for(PROMPT)?;
    terminal.type_in("o\ro\r");
    answer(terminal, "")?;
    terminal.wait_for("code=126\r\n4\r\n")?;
    terminal.ends_with(0)
}

fn outlived(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let inside = "expr 1 + 3 & until test -e asked; do :; done; exit 5";
    terminal.line(&format!("{fence} sh -c '{inside}'"));
    terminal.wait_for(PROMPT)?;
    terminal.type_in("o");
    touch(scene, "asked")?;
    terminal.wait_for("waits for no answer")?;
    terminal.ends_with(5)
}

fn said_by_the_terminal(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo code=$?'"));
    terminal.wait_for(PROMPT)?;
    // A title that was set to an answer, and asked for: it comes before what the person types.
    terminal.type_in("\x1b]lo\x1b\\");
    terminal.line("o");
    answer(terminal, "")?;
    terminal.wait_for("code=126")?;
    terminal.ends_with(0)
}

fn usual_modes(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'printf \"\\033]0;unended\"; expr 1 + 3'"));
    let before = terminal.wait_for("fence: /")?;
    let reset = concat!(
        "\x18\x1b\\\x1b[?1049l\x18\x1b\x03\x18\x1b<\x1b\\\x1b[4i\x1b[0$}\x1b[!p\x1b[0m\x0f\x1b(B\x1b%G\x1b[?2026l\x1b[?69l\x1b[?6l\x1b[?7h\x1b[4l\x1b[?5l\x1b[?25h",
        "\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[>4;0m\x1b[=0u\x1b F\x1b[8h\x1b[0 k\x1b]8;;\x1b\\\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]R\x1b\\",
        "\x1b[37;40m\x1b[8]\x1b[0m\x1b[?64h\x1b[1 P\x1b_Ga=d,d=A\x1b\\\x1b[r\x1b[999;1H\r\n\x1b[0;97;40m\x1b[K",
    );
    if !before.ends_with(reset) {
        return Err(format!("{before:?}"));
    }
    answer(terminal, "")
}

fn in_tmux(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    // A region of two lines, other characters, hidden text, no wrapping, the other screen.
    std::fs::write(
        scene.path("{work}/hide"),
        "printf '\\033[?1049h\\033[3;4r\\033[?6h\\033(0\\016\\033[8;30;40m\\033[?7l\\033[4h\\033[2;1H'; expr 1 + 3\n",
    )
    .map_err(|error| error.to_string())?;
    let socket = scene.root().join("t");
    let tmux = format!("tmux -S {} -f /dev/null", socket.display());
    terminal.line(&format!("{tmux} new-session -d -x 80 -y 24 '{fence} sh hide'"));
    terminal.line(&format!(
        "until {tmux} capture-pane -p > pane; grep 'else that would be asked' pane; do sleep 0.1; done; {tmux} capture-pane -e -p > paint; cat pane; {tmux} kill-server; echo sh''own"
    ));
    let pane = terminal.wait_for("shown")?;
    for line in ["fence: /", " wants to run expr 1 + 3", "  the file is /", "allow it [o]nce"] {
        if !pane.contains(line) {
            return Err(format!("{line:?} is not to be seen: {pane}"));
        }
    }
    terminal.line("grep 'expr 1' paint | tr '\\033' E; echo co''lours");
    let colours = terminal.wait_for("colours")?;
    if !colours.contains("97") || !colours.contains("40m") || colours.contains("30m") {
        return Err(format!("it has other colours: {colours:?}"));
    }
    Ok(())
}

fn told_exactly(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!(
        "{fence} bash -c $'cp /usr/bin/expr \"a b\"; \"./a b\" 1 \"x   y\" \"\\u00a0\" $\\'\\\\n\\' '"
    ));
    terminal.wait_for("wants to run './a b' 1 $'x \\x20 y' $'\\xa0' $'\\x0a'\r\n")?;
    terminal.wait_for("the file is '/")?;
    terminal.wait_for("/a b'\r\n")?;
    answer(terminal, "")
}

fn folded(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 \"$(printf %0200d 0)fence: sh wants to run ls\"; true'"));
    terminal.wait_for("wants to run expr 1 '0")?;
    let question = terminal.wait_for(PROMPT)?;
    let question = question.replace("\x1b[0;97;40m\x1b[K", "");
    let question = question.split("\x1b[").next().unwrap_or_default();
    let rows: Vec<&str> = question.lines().skip(1).collect();
    if rows.iter().any(|row| row.len() > 79) || !rows.iter().all(|row| row.starts_with("  ")) {
        return Err(format!("{rows:?}"));
    }
    terminal.line("");
    terminal.ends_with(0)
}

fn no_room(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 $(printf %02000d 0); echo code=$?'"));
    not_asked(&terminal.wait_for("code=126")?)?;
    terminal.ends_with(0)?;
    // The end of what has no room is not what is asked about.
    terminal.line(&format!("{fence} sh -c 'expr 1 $(printf %01000d 0) + $(printf %01000d 0); echo code=$?'"));
    not_asked(&terminal.wait_for("code=126")?)?;
    terminal.ends_with(0)
}

fn shrunk(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo code=$?'"));
    terminal.wait_for(PROMPT)?;
    terminal.resize(30, 100);
    // It is shown as a whole again.
    terminal.wait_for("wants to run expr 1 + 3")?;
    terminal.wait_for(PROMPT)?;
    terminal.resize(4, 100);
    terminal.wait_for("code=126")?;
    terminal.ends_with(0)
}

fn no_text(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} bash -c 'expr 1 $(printf \"\\\\377\"); echo code=$?'"));
    not_asked(&terminal.wait_for("code=126")?)?;
    terminal.ends_with(0)
}

fn interpreter(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    // A script that nobody inside can exchange, and an interpreter that is closed too.
    let fence = closing(scene, fence, "deny run \"/usr/bin/ldd --version\", \"**/bash /usr/bin/ldd ...\"")?;
    terminal.resize(24, 200);
    for (second, code) in [("", "code=126"), ("o", "code=0")] {
        terminal.line(&format!("{fence} sh -c '/usr/bin/ldd --version > out; echo code=$?'"));
        terminal.wait_for("wants to run /usr/bin/ldd --version\r\n")?;
        terminal.wait_for("the file is /usr/bin/ldd\r\n")?;
        answer(terminal, "o")?;
        terminal.wait_for("bash /usr/bin/ldd --version\r\n")?;
        terminal.wait_for("the file is /usr/bin/bash\r\n")?;
        answer(terminal, second)?;
        terminal.wait_for(code)?;
        terminal.wait_for("ready> ")?;
    }
    Ok(())
}

fn unsealed(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    // Its interpreter opens it again by its name, and that may lead elsewhere by then.
    let fence = closing(scene, fence, "deny run \"**/one --version\", \"/usr/bin/ldd --version\"")?;
    for make in ["printf \"#!/bin/sh\\n\" > one; chmod +x one", "ln -s /usr/bin/ldd one"] {
        terminal.line(&format!("{fence} sh -c 'rm -f one; {make}; ./one --version; echo code=$?'"));
        not_asked(&terminal.wait_for("code=126")?)?;
        terminal.ends_with(0)?;
    }
    Ok(())
}

fn exchanged(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let fence = closing(scene, fence, "deny run \"**/one ...\"")?;
    terminal.resize(24, 200);
    let exchange =
        "until test -e asked; do :; done; printf \"#!/bin/sh\\necho in\\\"\\\"side\\n\" > one; : > done";
    terminal.line(&format!("{fence} sh -c 'cp /bin/true one; ({exchange}) & ./one x; echo code=$?'"));
    terminal.wait_for("wants to run ./one x\r\n")?;
    terminal.wait_for(PROMPT)?;
    touch(scene, "asked")?;
    wait_until("the file to be exchanged", || scene.path("{work}/done").exists())?;
    terminal.line("o");
    terminal.wait_for("code=126")?;
    terminal.never_showed("inside")
}

fn whole_ssh(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let fence = closing(scene, fence, "deny ssh host.example")?;
    let make = "cp /bin/echo ssh";
    let ask = "./ssh -p 22 host.example uptime";
    terminal.line(&format!(
        "{fence} sh -c '{make}; {ask} >> log; {ask} >> log; ./ssh -p 22 -v host.example uptime; echo code=$?; cat log'"
    ));
    terminal.wait_for("wants to run ./ssh -p 22 host.example uptime\r\n")?;
    terminal.wait_for("it asks by ssh for host.example")?;
    answer(terminal, "r")?;
    terminal.wait_for("wants to run ./ssh -p 22 -v host.example uptime\r\n")?;
    answer(terminal, "")?;
    terminal.wait_for("code=126\r\n-p 22 host.example uptime\r\n-p 22 host.example uptime\r\n")?;
    terminal.ends_with(0)
}

fn same_words(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let fence = closing(scene, fence, "deny run \"**/two ...\"")?;
    // The same words twice, of two files.
    let make = "mkdir a b; cp /usr/bin/echo a/two; cp /usr/bin/echo b/two";
    terminal
        .line(&format!("{fence} sh -c '{make}; cd a; ./two x1 >> ../log; ./two x1 >> ../log; cd ../b; ./two x1; echo code=$?; cat ../log'"));
    terminal.wait_for("/a/two\r\n")?;
    answer(terminal, "r")?;
    terminal.wait_for("/b/two\r\n")?;
    answer(terminal, "")?;
    terminal.wait_for("code=126\r\nx1\r\nx1\r\n")?;
    terminal.ends_with(0)
}

fn beside(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    for (redirected, said) in [
        ("| cat", "the standard output must be"),
        ("2> >(cat)", "the standard error must be"),
        ("< /dev/ptmx", "the standard input must be"),
        ("2> /dev/null | cat", ""),
    ] {
        terminal.line(&format!("{fence} touch ran {redirected}; echo code=${{PIPESTATUS[0]}}"));
        // What goes through a pipe is shown when that likes.
        if !terminal.wait_for("code=125")?.contains(said) {
            terminal.wait_for(said)?;
        }
        if scene.path("{work}/ran").exists() {
            return Err(format!("{redirected}: it ran"));
        }
    }
    terminal.line(&format!(
        "{fence} sh -c 'expr 1 + 3; echo told >&2' > out 2> /dev/null < /dev/null; echo code=$? $(cat out)"
    ));
    answer(terminal, "o")?;
    terminal.wait_for("code=0 4")?;
    terminal.line(&format!("echo o | {fence} sh -c 'expr 1 + 3; cat; exit 3'; echo code=${{PIPESTATUS[1]}}"));
    answer(terminal, "")?;
    terminal.wait_for("Permission denied")?;
    terminal.wait_for("\no\r")?;
    terminal.wait_for("code=3").map(drop)
}

fn two(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    let first = "touch begun; until test -e go; do sleep 0.1; done";
    terminal.line(&format!(
        "{fence} sh -c '{first}' & until test -e begun; do sleep 0.1; done; {fence} touch ran; echo code=$?; test -e ran || echo no''thing; touch go; wait"
    ));
    terminal.wait_for("another `fence run --ask` asks at this terminal")?;
    terminal.wait_for("code=125")?;
    terminal.wait_for("nothing")?;
    terminal.wait_for("ready> ")?;
    // Its end is enough.
    terminal.line(&format!("{fence} true; echo code=$?"));
    terminal.wait_for("code=0").map(drop)
}

fn terminated(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        // The command gets the signal, and goes on.
        let (got, over) = (format!("got{signal}"), format!("over{signal}"));
        let inside = format!(
            "trap \": > {got}\" TERM HUP; expr 1 + 3; expr 1 + 4; echo th\"\"ree; until test -e {over}; do :; done; exit 3"
        );
        terminal.line(&format!("sh -c 'echo $$ > pid; exec \"$@\"' sh {fence} sh -c '{inside}'"));
        terminal.wait_for(PROMPT)?;
        kill(noted(scene)?, signal).map_err(|error| error.to_string())?;
        not_asked(&terminal.wait_for("three")?)?;
        wait_until("the signal", || scene.path("{work}").join(&got).exists())?;
        touch(scene, &over)?;
        terminal.ends_with(3)?;
    }
    Ok(())
}

/// The number of the process that has written it down.
pub fn noted(scene: &Scene) -> Result<Pid, String> {
    let pid = std::fs::read_to_string(scene.path("{work}/pid")).map_err(|error| error.to_string())?;
    pid.trim().parse().map(Pid::from_raw).map_err(|_| "no number".to_owned())
}

fn stopped(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; exit 3'"));
    terminal.wait_for(PROMPT)?;
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped")?;
    terminal.wait_for("ready> ")?;
    terminal.line("fg");
    terminal.wait_for("wants to run expr 1 + 3")?;
    answer(terminal, "o")?;
    terminal.wait_for("m4\r\n")?;
    terminal.ends_with(3)
}

fn background(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; expr 1 + 4; echo en\"\"ded; exit 3'"));
    terminal.wait_for(PROMPT)?;
    terminal.type_in("\x1a");
    terminal.wait_for("Stopped")?;
    terminal.wait_for("ready> ")?;
    terminal.line("bg; wait; echo code=$?");
    not_asked(&terminal.wait_for("ended")?)?;
    terminal.wait_for("code=")?;
    // The shell reads what is typed.
    terminal.line("echo ty''ped");
    terminal.wait_for("typed").map(drop)
}

fn started_behind(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo en\"\"ded; exit 3' & wait $!; echo code=$?"));
    not_asked(&terminal.wait_for("ended")?)?;
    terminal.wait_for("code=3").map(drop)
}

fn hung_up(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let inside = "trap \"\" HUP; expr 1 + 3; expr 1 + 4; touch ended";
    terminal.line(&format!("trap '' HUP; {fence} sh -c '{inside}'"));
    terminal.wait_for(PROMPT)?;
    terminal.hang_up();
    wait_until("the command to end", || scene.path("{work}/ended").exists())?;
    let left = scene.survivors();
    if left.is_empty() { Ok(()) } else { Err(format!("left: {left:?}")) }
}

fn gone(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let inside = "expr 1 + 700 & until test -e asked; do :; done; kill -9 $!; : > gone; until test -e over; do :; done; echo en\"\"ded";
    terminal.line(&format!("{fence} bash -c '{inside}'"));
    terminal.wait_for(PROMPT)?;
    touch(scene, "asked")?;
    wait_until("its end", || scene.path("{work}/gone").exists())?;
    terminal.line("o");
    terminal.wait_for("o\r\n")?;
    touch(scene, "over")?;
    terminal.wait_for("ended")?;
    terminal.never_showed("701")?;
    terminal.ends_with(0)
}

fn one_word(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let fence = closing(scene, fence, "deny run factor")?;
    terminal.line(&format!("{fence} sh -c 'factor 6; echo code=$?'"));
    not_asked(&terminal.wait_for("Permission denied")?)?;
    terminal.ends_with(0)
}

fn never_beside(terminal: &mut Terminal, scene: &Scene, fence: &str) -> Result<(), String> {
    let fence = closing(scene, fence, "never run \"expr 1 + 3 ...\"")?;
    terminal.line(&format!("{fence} sh -c 'expr 1 + 3; echo code=$?'"));
    not_asked(&terminal.wait_for("code=126")?)?;
    terminal.ends_with(0)
}

fn internal(terminal: &mut Terminal, _: &Scene, fence: &str) -> Result<(), String> {
    let text = "exec 3<>/dev/tcp/169.254.169.254/80; read -t 20 x <&3; echo ended=$?";
    terminal.line(&format!("{fence} bash -c '{text}'"));
    not_asked(&terminal.wait_for("ended=1")?)?;
    terminal.wait_for("refused connect 169.254.169.254:80")?;
    terminal.ends_with(0)
}

/// The same command line, with a policy that has a line more.
fn closing(scene: &Scene, fence: &str, line: &str) -> Result<String, String> {
    let policy = scene.root().join("case.fence");
    let text = std::fs::read_to_string(&policy).map_err(|error| error.to_string())?;
    std::fs::write(&policy, format!("{text}{line}\n")).map_err(|error| error.to_string())?;
    Ok(fence.to_owned())
}
