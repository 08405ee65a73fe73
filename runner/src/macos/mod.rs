//! The launch on macOS: a profile in a private file, applied by the system's own `sandbox-exec`.
//!
//! It is ordinary Unix code, so that it is built and tested on Linux too, against stand-ins for `sandbox-exec` and
//! `log`. There is no fallback: where the profile cannot be applied, nothing runs.

mod follow;
mod line;
mod lines;
mod log;
mod offered;
mod place;
mod process;
mod refusals;
mod served;
mod serving;
#[allow(unsafe_code)]
mod sys;

pub use follow::{Ended, Heard};
pub use line::{Denial, Tagged, denial};
pub use offered::{NotOffered, offered};
pub use serving::{SERVING, serve};

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::mpsc::sync_channel;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Host;
use fence_compiler::lower::environment::proxy as proxy_variables;
use fence_compiler::policy::Policy;
use fence_compiler::profile::{PROXY_PARAMETER, ProxyPlan, SeatbeltPlan};

use crate::audit::visible;
use crate::launch::{Command, Error, Outcome};
use crate::proxy::Credential;
use follow::Followed;
use log::Watch;
use place::Place;
use served::Served;

/// How much may wait to be heard: whoever has more to say waits.
const WAITING: usize = 1024;

/// Where the proxy of a run listens, and what it asks of who connects: any program of the machine could.
#[derive(Clone, Debug)]
struct Proxy {
    at: SocketAddr,
    credential: Credential,
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// What is applied.
    pub plan: &'a SeatbeltPlan,
    /// The policy, by which connections are judged and refusals are told.
    pub policy: &'a Policy,
    /// The machine.
    pub host: &'a Host,
    /// What is started.
    pub command: &'a Command,
    /// Fence's own program, which serves connections when it is started with [`SERVING`].
    pub fence: &'a PathBuf,
    /// Whether the system's log is watched.
    pub refusals: Refusals,
}

/// Whether somebody wants to hear what the system refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    /// Each, as the system's log tells it.
    Told,
    /// No log is read.
    Untold,
}

/// Runs a command under a profile, and tells what happens while it lasts.
///
/// # Errors
///
/// Whatever the plan asks for and the machine refuses; nothing is left out quietly.
pub fn run(run: Run<'_>, heard: &mut dyn FnMut(Heard)) -> Result<Ended, Error> {
    let Run { plan, policy, host, command, fence, refusals } = run;
    let place = Place::make(plan)?;
    let served = match plan.proxy {
        ProxyPlan::Loopback => Some(Served::start(plan, &place, fence, policy, host)?),
        ProxyPlan::None => None,
    };
    let proxy = served.as_ref().map(|served| served.proxy.clone());
    let (sender, happened) = sync_channel(WAITING);
    if let Some(served) = &served {
        served.listen(sender.clone()).map_err(|error| {
            Error::Serve(format!(
                "cannot serve connections: {}; nothing was run",
                crate::cli::in_words(&error.to_string())
            ))
        })?;
    }
    let watch = match refusals {
        Refusals::Told => Some(Watch::start(plan, sender.clone())?),
        Refusals::Untold => None,
    };
    let mut program = sandbox_exec(plan, &place, proxy.as_ref());
    program.arg("--").arg(path(command.program.as_bytes()));
    program.args(command.argv.iter().skip(1).map(|word| std::ffi::OsStr::from_bytes(word.as_bytes())));
    program
        .env_clear()
        .envs(environment(plan, command, proxy.as_ref()))
        .current_dir(path(plan.cwd.as_bytes()));
    let running = process::start(&mut program, plan, sender)?;
    let followed = Followed { plan, policy, running, served, watch, happened };
    let ended = followed.until_the_end(heard)?;
    match ended.outcome {
        Outcome::Exited(code @ (PROFILE_REFUSED | NOT_APPLIED)) => {
            let outcome = not_applied(plan, &place, proxy.as_ref(), code)?;
            Ok(Ended { outcome, ..ended })
        }
        _ => Ok(ended),
    }
}

/// `EX_DATAERR` and `EX_OSERR`, with which `sandbox-exec` says that nothing was started.
const PROFILE_REFUSED: i32 = 65;
const NOT_APPLIED: i32 = 71;

/// The program that applies the profile, up to the command.
fn sandbox_exec(plan: &SeatbeltPlan, place: &Place, proxy: Option<&Proxy>) -> Program {
    let mut program = Program::new(path(plan.tools.sandbox_exec.as_bytes()));
    program.arg("-f").arg(place.profile());
    if let Some(proxy) = proxy {
        program.arg("-D").arg(format!("{PROXY_PARAMETER}=localhost:{}", proxy.at.port()));
    }
    program
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// The whole environment: the command's own, and what only the run knows.
fn environment(
    plan: &SeatbeltPlan,
    command: &Command,
    proxy: Option<&Proxy>,
) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let text = |bytes: &[u8]| std::ffi::OsStr::from_bytes(bytes).to_owned();
    let mut environment: Vec<_> = command
        .environment
        .iter()
        .filter_map(|variable| {
            let bytes = variable.as_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=')?;
            Some((text(bytes.get(..at)?), text(bytes.get(at + 1..)?)))
        })
        .collect();
    environment.push(("TMPDIR".into(), text(plan.tmp.as_bytes())));
    if let Some(Proxy { at, credential }) = proxy {
        let variables = proxy_variables(&credential.url("http", *at), &credential.url("socks5h", *at));
        environment.extend(variables.map(|(name, value)| (name.into(), value.into())));
    }
    environment
}

/// Tells whether `sandbox-exec` refused, or the command itself ended with that code: the same profile is applied to
/// `true`, which does nothing, and what is said then is read.
fn not_applied(
    plan: &SeatbeltPlan,
    place: &Place,
    proxy: Option<&Proxy>,
    code: i32,
) -> Result<Outcome, Error> {
    let asked = sandbox_exec(plan, place, proxy)
        .args(["--", "/usr/bin/true"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output();
    let Ok(asked) = asked else { return Ok(Outcome::Exited(code)) };
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    match asked.status.code() {
        Some(NOT_APPLIED) if said.contains("sandbox_apply") => Err(Error::Step {
            attempt: "cannot apply the profile".to_owned(),
            reason: "a sandbox is around fence already, and macOS knows none within another".to_owned(),
            repair: "run fence outside of it; nothing was run without a sandbox".to_owned(),
            rules: Vec::new(),
        }),
        Some(PROFILE_REFUSED) => Err(Error::Step {
            attempt: "cannot apply the profile".to_owned(),
            reason: format!("sandbox-exec says `{}`", visible(said.trim())),
            repair: "nothing was run; report it with what `fence compile --target seatbelt` prints"
                .to_owned(),
            rules: Vec::new(),
        }),
        _ => Ok(Outcome::Exited(code)),
    }
}

/// A fresh name for a run: 16 hexadecimal digits that nobody can guess.
///
/// # Errors
/// The system gives no random bytes.
pub fn fresh_run() -> Result<fence_compiler::lower::seatbelt::RunId, Error> {
    use std::io::Read;
    let mut bytes = [0u8; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| Error::Plan(format!("cannot read `/dev/urandom`: {error}")))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    fence_compiler::lower::seatbelt::RunId::new(&digits).map_err(|error| Error::Plan(error.to_string()))
}

/// An error about a path of the run.
fn failed(attempt: &str, at: &AbsolutePath, error: &std::io::Error) -> Error {
    Error::Step {
        attempt: format!("cannot {attempt} `{at}`"),
        reason: crate::cli::in_words(&error.to_string()),
        repair: "nothing was run".to_owned(),
        rules: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
