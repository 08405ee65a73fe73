//! The terminal and job control: a command behaves as it does without fence.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use fence_compiler::plan::{LinuxPlan, TerminalPlan};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;

use crate::Case;
use crate::world::World;

pub const CASES: &[Case] = &[
    ("a_key_of_the_terminal_reaches_the_command_once", interrupt),
    ("a_stopped_command_stops_fence_and_goes_on_with_it", stop),
    ("a_shell_inside_has_job_control", shell_inside),
    ("the_terminal_has_a_name_inside_and_can_be_opened", name),
    ("a_command_without_a_terminal_has_none", without),
    ("a_pipeline_with_a_pager_like_reader_works", pipeline),
];

/// An interactive shell of the host on a terminal of its own.
struct Terminal {
    main: File,
    shell: std::process::Child,
    seen: String,
}

impl Terminal {
    fn new(world: &World) -> Terminal {
        let pair = openpty(None, None).unwrap();
        if let Some(owner) = world.owner() {
            nix::unistd::fchown(
                &pair.slave,
                Some(nix::unistd::Uid::from_raw(owner)),
                Some(nix::unistd::Gid::from_raw(owner)),
            )
            .unwrap();
        }
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let bash = std::path::Path::new("/bin/bash");
        let mut command = std::process::Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(bash).args(["--norc", "--noprofile", "-i"]);
        command.env("PS1", "PROMPT>").env("TERM", "xterm").env("HISTFILE", "").current_dir(&world.workspace);
        let shell = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop(pair.slave);
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut terminal = Terminal { main: File::from(pair.master), shell, seen: String::new() };
        terminal.wait("PROMPT>");
        terminal
    }

    /// Types a text.
    fn keys(&mut self, text: &str) {
        self.main.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until a text is seen, and yields everything up to it.
    fn wait(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(start.elapsed() < Duration::from_secs(20), "expected `{text}` in {:?}", self.seen);
            let mut bytes = [0; 4096];
            match self.main.read(&mut bytes) {
                Ok(count) => self.seen.push_str(&String::from_utf8_lossy(&bytes[..count])),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Types a line that launches a shell text.
    fn launch(&mut self, world: &World, plan: &LinuxPlan, program: &[&str]) {
        let launch = world.launch(plan, program);
        let words = [launch.get_program()].into_iter().chain(launch.get_args());
        let quoted: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        // The words are given through a file, so that they are not seen as an echo.
        let file = world.outside.join("launch.sh");
        std::fs::write(&file, format!("exec {}\n", quoted.join(" "))).unwrap();
        self.keys(&format!("sh {}\n", file.display()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn interrupt(world: &World) {
    let mut terminal = Terminal::new(world);
    let text = "n=0; trap \"n=\\$((n+1))\" INT; echo rea\"\"dy; i=0; while [ $i -lt 20 ]; do sleep 0.05; i=$((i+1)); done; echo got $n";
    terminal.launch(world, &world.plan(), &["/bin/sh", "-c", text]);
    terminal.wait("ready");
    terminal.keys("\x03");
    terminal.wait("got 1");
    // A command that does not care ends, and the shell says how.
    terminal.launch(world, &world.plan(), &["/bin/sh", "-c", "echo rea\"\"dy; exec sleep 60"]);
    terminal.wait("ready");
    terminal.keys("\x03");
    terminal.keys("echo code $?\n");
    terminal.wait("code 130");
}

fn stop(world: &World) {
    let mut terminal = Terminal::new(world);
    terminal.launch(
        world,
        &world.plan(),
        &["/bin/sh", "-c", "echo rea\"\"dy; read line; echo got $line; exit 5"],
    );
    terminal.wait("ready");
    terminal.keys("\x1a");
    terminal.wait("Stopped");
    terminal.keys("echo still he\"\"re; fg\n");
    terminal.wait("still here");
    terminal.wait("sh ");
    terminal.keys("word\n");
    terminal.wait("got word");
    terminal.keys("echo code $?\n");
    terminal.wait("code 5");
    // Stopped by itself, as an editor does, and continued.
    terminal.launch(world, &world.plan(), &["/bin/sh", "-c", "kill -TSTP $$; echo con\"\"tinued"]);
    terminal.wait("Stopped");
    terminal.keys("fg\n");
    terminal.wait("continued");
}

fn shell_inside(world: &World) {
    let mut terminal = Terminal::new(world);
    terminal.launch(world, &world.plan(), &["/bin/bash", "--norc", "--noprofile", "-i"]);
    terminal.keys("PS1=INS\"\"IDE; echo he\"\"re\n");
    let until = terminal.wait("here");
    assert!(!until.contains("no job control"), "{until}");
    terminal.keys("sh -c 'echo run\"\"ning; exec sleep 60'\n");
    terminal.wait("running");
    terminal.keys("\x1a");
    terminal.wait("Stopped");
    terminal.keys("jobs\n");
    terminal.wait("sleep 60");
    // A shell with a job that is still there does not end at once.
    terminal.keys("kill -9 %1; while [ -n \"$(jobs -s)\" ]; do sleep 0.05; done; exit 6\n");
    terminal.wait("PROMPT>");
    terminal.keys("echo co\"\"de $?\n");
    terminal.wait("code 6");
    // The outer shell has the terminal again.
    terminal.keys("cat\n");
    terminal.keys("\x03");
    terminal.wait("PROMPT>");
}

fn name(world: &World) {
    let mut terminal = Terminal::new(world);
    let text = "tty; echo over > /dev/tty; echo wro\"\"te > /dev/stderr; stty size < /dev/tty";
    terminal.launch(world, &world.plan(), &["/bin/sh", "-c", text]);
    terminal.wait("/dev/console");
    terminal.wait("over");
    terminal.wait("wrote");
    terminal.wait("0 0");
}

fn without(world: &World) {
    let mut plan = world.plan();
    plan.terminal = TerminalPlan::None;
    let mut terminal = Terminal::new(world);
    terminal.launch(world, &plan, &["/bin/sh", "-c", "echo > /dev/tty || echo no\"\"ne; exec sleep 60"]);
    terminal.wait("none");
    // Keys still end it.
    terminal.keys("\x03");
    terminal.keys("echo co\"\"de $?\n");
    terminal.wait("code 130");
}

fn pipeline(world: &World) {
    let launch = world.launch(&world.plan(), &["/bin/sh", "-c", "yes"]);
    let words = [launch.get_program()].into_iter().chain(launch.get_args());
    let words: Vec<_> = words.collect();
    let mut command = std::process::Command::new("/bin/bash");
    command.args(["-c", "\"$@\" | head -n 1; echo ${PIPESTATUS[0]}", "bash"]).args(words);
    let ran = crate::world::Ran::new(command.current_dir(&world.workspace).output().unwrap());
    assert_eq!(ran.fine(), "y\n141\n");
}
