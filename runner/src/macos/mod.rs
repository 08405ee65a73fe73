//! The launch on macOS: a profile in a private file, applied by the system's own `sandbox-exec`.
//!
//! It is ordinary Unix code, so that it is built and tested on Linux too, against stand-ins for `sandbox-exec` and
//! `log`. There is no fallback: where the profile cannot be applied, nothing runs.

mod line;
mod log;
mod place;
mod process;
#[allow(unsafe_code)]
mod sys;

pub use line::{Denial, Tagged, denial};
pub use log::Watch;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::policy::Policy;
use fence_compiler::profile::{PROXY_PARAMETER, ProxyPlan, SeatbeltPlan};

use crate::audit::{Event, visible};
use crate::launch::{Command, Error, Launcher, Options, Outcome};
use place::Place;

/// Where the proxy of a run listens, and what it asks of who connects: any program of the machine could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its port on loopback.
    pub port: u16,
    /// The password that this run's programs show it.
    pub credential: String,
}

/// The launch of one run.
#[derive(Clone, Debug, Default)]
pub struct Seatbelt {
    /// The proxy, if there is one.
    pub proxy: Option<Proxy>,
}

impl Launcher for Seatbelt {
    type Plan = SeatbeltPlan;

    fn run(&self, plan: &SeatbeltPlan, command: &Command, _: &Options) -> Result<Outcome, Error> {
        let proxy = match (plan.proxy, &self.proxy) {
            (ProxyPlan::Loopback, None) => {
                return Err(Error::Plan(
                    "the policy allows connections, and no proxy serves them on macOS yet; nothing was run"
                        .to_owned(),
                ));
            }
            (ProxyPlan::Loopback, Some(proxy)) => Some(proxy),
            (ProxyPlan::None, _) => None,
        };
        let place = Place::make(plan)?;
        let mut program = sandbox_exec(plan, &place, proxy);
        program.arg("--").arg(path(command.program.as_bytes()));
        program.args(command.argv.iter().skip(1).map(|word| std::ffi::OsStr::from_bytes(word.as_bytes())));
        program.env_clear().envs(environment(plan, command, proxy)).current_dir(path(plan.cwd.as_bytes()));
        let outcome = process::run(&mut program, plan)?;
        match outcome {
            Outcome::Exited(code @ (PROFILE_REFUSED | NOT_APPLIED)) => not_applied(plan, &place, proxy, code),
            _ => Ok(outcome),
        }
    }
}

/// Runs a command under a profile, and tells what the system's log says was refused, where somebody listens.
///
/// # Errors
/// Nothing was started.
pub fn run_watched(
    plan: &SeatbeltPlan,
    policy: &Policy,
    command: &Command,
    options: &Options,
    events: Option<&mut dyn FnMut(&Event)>,
) -> Result<Outcome, Error> {
    let watch = events.is_some().then(|| Watch::start(plan)).transpose()?;
    let outcome = Seatbelt::default().run(plan, command, options);
    if let (Some(watch), Some(add)) = (watch, events) {
        watch.end().iter().for_each(|denial| add(&denial.event(policy)));
    }
    outcome
}

/// `EX_DATAERR` and `EX_OSERR`, with which `sandbox-exec` says that nothing was started.
const PROFILE_REFUSED: i32 = 65;
const NOT_APPLIED: i32 = 71;

/// The program that applies the profile, up to the command.
fn sandbox_exec(plan: &SeatbeltPlan, place: &Place, proxy: Option<&Proxy>) -> Program {
    let mut program = Program::new(path(plan.tools.sandbox_exec.as_bytes()));
    program.arg("-f").arg(place.profile());
    if let Some(proxy) = proxy {
        program.arg("-D").arg(format!("{PROXY_PARAMETER}=localhost:{}", proxy.port));
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
    if let Some(proxy) = proxy {
        let at = format!("fence:{}@localhost:{}", proxy.credential, proxy.port);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            environment.push((name.into(), format!("http://{at}").into()));
        }
        for name in ["ALL_PROXY", "all_proxy"] {
            environment.push((name.into(), format!("socks5h://{at}").into()));
        }
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
