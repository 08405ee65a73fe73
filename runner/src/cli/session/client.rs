//! `fence session run`

use std::ffi::OsString;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::folder::{Folder, check_name};
use super::telling::Telling;
use super::wire::{self, Kind, TEXT};
use crate::audit::visible;
use crate::cli::arguments::SessionRun;
use crate::cli::run::FAILED;
use crate::cli::screen::Screen;
use crate::launch::Outcome;
use crate::linux::relay::size;
use crate::linux::session::{Forwarded, Heard, LENGTH, Size, TERMINAL, heard};
use crate::session::judged::Wanted;

/// The most that a refusal says.
const LONGEST: usize = 64 * 1024;

/// Runs a command in a session, and exits as it does.
pub(in crate::cli) fn run(run: &SessionRun, screen: Screen) -> anyhow::Result<u8> {
    check_name(&run.name)?;
    let argv = match &run.text {
        None => run.command.clone(),
        Some(text) => {
            let mut argv: Vec<OsString> = vec![run.shell.clone().into(), "-c".into(), text.clone()];
            argv.extend(run.command.iter().cloned());
            argv
        }
    };
    let directory = match &run.directory {
        None => std::env::current_dir().context("cannot use the current directory")?,
        Some(directory) => directory
            .canonicalize()
            .with_context(|| format!("cannot go to `{}`", visible(&directory.to_string_lossy())))?,
    };
    let wanted = Wanted {
        argv,
        environment: std::env::vars_os().collect(),
        directory,
        umask: crate::linux::session::umask(),
        terminal: run.terminal.then(|| size().unwrap_or(Size::USUAL)),
    };
    let folder = Folder::of_caller()?;
    let no_session =
        || format!("there is no session `{}`: start it first: fence session start {0}", run.name);
    let Some(connection) = folder.reach(&run.name)? else { bail!(no_session()) };
    let null = File::options().read(true).write(true).open("/dev/null").context("cannot open `/dev/null`")?;
    let standard = [0, 1, 2].map(|number| if is_open(number) { number } else { null.as_raw_fd() });
    let memory = wire::written(&wanted).context("cannot lay out the command")?;
    // A command with a terminal of its own has that for all three.
    let [input, output, error] = if run.terminal { [null.as_raw_fd(); 3] } else { standard };
    let telling = Telling::wanted(run, screen)?;
    let forwarded = Forwarded::begin();
    let mut sent = vec![memory.as_raw_fd(), input, output, error];
    sent.extend(telling.as_ref().map(|telling| telling.told.as_raw_fd()));
    let kind = telling.as_ref().map_or(Kind::Run, Telling::kind);
    wire::send(&connection, kind, &sent).with_context(no_session)?;
    let telling = telling.map(Telling::begin).transpose()?;
    // The command has them: a reader of its output sees the end as soon as it closes it.
    if !run.terminal {
        crate::linux::session::release_standard();
    }
    let ended = until_the_end(&connection, &forwarded)?;
    if let Some(telling) = telling {
        telling.finish(&forwarded)?;
    }
    match ended {
        Ended::With(outcome) => Ok(u8::try_from(outcome.exit_code() & 0xff).unwrap_or(FAILED)),
        Ended::Refused(code, text) => {
            screen.say(&text);
            Ok(code)
        }
        Ended::NotStarted(index, errno) => {
            let (code, text) = explained(&folder, &run.name, index, errno, &wanted)?;
            screen.say(&visible(&text));
            Ok(code)
        }
        Ended::Gone => bail!("the session `{}` has ended, and the command with it", run.name),
    }
}

/// What came of a command.
enum Ended {
    With(Outcome),
    Refused(u8, String),
    NotStarted(Option<u32>, i32),
    Gone,
}

fn until_the_end(connection: &OwnedFd, forwarded: &Forwarded) -> anyhow::Result<Ended> {
    loop {
        if forwarded.wait(connection) {
            continue;
        }
        if let Some(outer) = terminal_of(connection) {
            let mut end = None;
            forwarded.relay(outer, connection, &mut || {
                // What stops a command with a terminal of its own is not for the shell outside.
                end = told(connection, &mut |_| {}).transpose();
                if end.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            return end.unwrap_or(Ok(Ended::Gone));
        }
        if let Some(ended) = told(connection, &mut |signal| forwarded.stop(signal, connection))? {
            return Ok(ended);
        }
    }
}

/// The end of the command's own terminal that is relayed, if that is what was sent.
fn terminal_of(connection: &OwnedFd) -> Option<OwnedFd> {
    let mut first = [0];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    if recv(connection.as_raw_fd(), &mut first, flags) != Ok(1) || first != [TERMINAL] {
        return None;
    }
    let (_, descriptors) = wire::take(connection).ok()?;
    descriptors.into_iter().next()
}

/// Hears what is told of the command; how it ended, if it has.
fn told(connection: &OwnedFd, stopped: &mut dyn FnMut(i32)) -> anyhow::Result<Option<Ended>> {
    let mut bytes = vec![0; LONGEST];
    let length = match recv(connection.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
        Err(Errno::EINTR | Errno::EAGAIN) => return Ok(None),
        Err(Errno::ECONNRESET) | Ok(0) => return Ok(Some(Ended::Gone)),
        Err(errno) => return Err(errno).context("cannot hear of the command"),
        Ok(length) => length,
    };
    if let Some([TEXT, code, text @ ..]) = bytes.get(..length) {
        return Ok(Some(Ended::Refused(*code, String::from_utf8_lossy(text).into_owned())));
    }
    let message = bytes.get(..length).and_then(|bytes| <[u8; LENGTH]>::try_from(bytes).ok());
    Ok(match message.and_then(heard) {
        Some(Heard::Ended(outcome)) => Some(Ended::With(outcome)),
        Some(Heard::Failed(index, errno)) => Some(Ended::NotStarted(index, errno)),
        Some(Heard::Stopped(signal)) => {
            stopped(signal);
            None
        }
        None => None,
    })
}

/// Asks the session why a command was not started.
fn explained(
    folder: &Folder,
    name: &str,
    index: Option<u32>,
    errno: i32,
    wanted: &Wanted,
) -> anyhow::Result<(u8, String)> {
    let Some(connection) = folder.reach(name)? else { bail!("the session `{name}` has ended") };
    let index = index.map_or(-1, i64::from).to_string();
    let program = wanted.argv.first().cloned().unwrap_or_default();
    let about = Wanted { argv: vec![index.into(), errno.to_string().into(), program], ..wanted.clone() };
    let memory = wire::written(&about)?;
    wire::send(&connection, Kind::Explain, &[memory.as_raw_fd()])?;
    let mut bytes = vec![0; LONGEST];
    let length = recv(connection.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
    match bytes.get(..length) {
        Some([TEXT, code, text @ ..]) => Ok((*code, String::from_utf8_lossy(text).into_owned())),
        _ => bail!("the command was not started, and the session `{name}` does not say why"),
    }
}

fn is_open(number: RawFd) -> bool {
    nix::fcntl::fcntl(crate::linux::session::standard(number), nix::fcntl::FcntlArg::F_GETFD).is_ok()
}
