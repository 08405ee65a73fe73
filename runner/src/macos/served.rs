//! Having the connections of a run served: by a process of its own, which outlives it by a moment at most.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use fence_compiler::host::Host;
use fence_compiler::policy::Policy;
use fence_compiler::profile::{PROXY_PARAMETER, SeatbeltPlan};

use super::follow::Happened;
use super::lines::Lines;
use super::place::Place;
use super::serving::{Order, PROFILE, PROGRAM_PARAMETER, SERVING, Said};
use super::{Proxy, path};
use crate::audit::visible;
use crate::launch::Error;
use crate::proxy::{Callers, Certificates, Credential, needs_certificates};

/// How long the process may take to begin.
const BEGINS: Duration = Duration::from_secs(30);

/// The most that is read of why it ended.
const LAST_WORDS: u64 = 2048;

/// The caller's variables that are about proxies.
const VARIABLES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// The process that serves a run.
#[derive(Debug)]
pub(super) struct Served {
    child: Child,
    channel: UnixStream,
    /// Kept, so that no other program gets the port while the run's programs know it.
    _listener: TcpListener,
    /// Where it listens, and what it asks for.
    pub(super) proxy: Proxy,
}

impl Served {
    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// Why it does not; nothing of it is left then.
    pub(super) fn start(
        plan: &SeatbeltPlan,
        place: &Place,
        fence: &PathBuf,
        policy: &Policy,
        host: &Host,
    ) -> Result<Served, Error> {
        let failed = |doing: &str, error: &std::io::Error| {
            let error = crate::cli::in_words(&error.to_string());
            Error::Serve(format!("cannot serve connections: {doing}: {error}; nothing was run"))
        };
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| failed("listening", &error))?;
        let port = listener.local_addr().map_err(|error| failed("listening", &error))?.port();
        let credential = Credential::fresh().map_err(|error| failed("making a credential", &error))?;
        let profile = place.add("serving.sb", PROFILE)?;
        let (channel, theirs) = UnixStream::pair().map_err(|error| failed("making a channel", &error))?;
        let handed = listener.try_clone().map_err(|error| failed("listening", &error))?;
        let mut parameter = std::ffi::OsString::from(format!("{PROGRAM_PARAMETER}="));
        parameter.push(fence);
        let mut program = Program::new(path(plan.tools.sandbox_exec.as_bytes()));
        program.arg("-f").arg(profile).arg("-D").arg(parameter);
        program.arg("-D").arg(format!("{PROXY_PARAMETER}=localhost:{port}"));
        program.arg("--").arg(fence).arg(SERVING);
        program.env_clear().current_dir("/");
        // Keys that end the command must not end what serves it.
        program.process_group(0);
        program.stdin(OwnedFd::from(theirs)).stdout(OwnedFd::from(handed)).stderr(Stdio::piped());
        let child =
            program.spawn().map_err(|error| super::failed("start", &plan.tools.sandbox_exec, &error))?;
        // Whoever holds the ends of the channel and the listener: from here on the process alone.
        drop(program);
        let proxy = Proxy { at: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), credential };
        let mut served = Served { child, channel, _listener: listener, proxy };
        let order = order(policy, host, port, &served.proxy.credential);
        match served.begin(&order) {
            Ok(()) => Ok(served),
            Err(error) => {
                let why = served.last_words();
                let said = if why.is_empty() { crate::cli::in_words(&error.to_string()) } else { why };
                Err(Error::Serve(format!(
                    "cannot serve connections: the process for that did not begin: {}; nothing was run",
                    visible(&said)
                )))
            }
        }
    }

    fn begin(&mut self, order: &Order) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.channel.set_read_timeout(Some(BEGINS))?;
        self.channel.set_write_timeout(Some(BEGINS))?;
        self.channel.write_all(&line)?;
        // It says nothing else before anybody connects.
        let mut said = Vec::new();
        let mut byte = [0];
        while said.last() != Some(&b'\n') && said.len() < 64 {
            self.channel.read_exact(&mut byte)?;
            said.extend(byte);
        }
        match serde_json::from_slice(&said) {
            Ok(Said::Ready) => self.channel.set_read_timeout(None),
            _ => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }

    /// Sends on what it says, and then that it has ended.
    ///
    /// # Errors
    /// The channel cannot be read.
    pub(super) fn listen(&self, happened: SyncSender<Happened>) -> std::io::Result<()> {
        let channel = self.channel.try_clone()?;
        thread::spawn(move || {
            for line in Lines::new(channel) {
                // Whatever it says only tells of something: a line that says nothing known is left out.
                let Ok(said) = serde_json::from_slice::<Said>(&line) else { continue };
                if happened.send(Happened::Served(said)).is_err() {
                    return;
                }
            }
            let _ = happened.send(Happened::ServedNoMore);
        });
        Ok(())
    }

    /// Tells it that the run is over: it passes on what was sent, and ends.
    pub(super) fn conclude(&self) {
        let _ = self.channel.shutdown(Shutdown::Write);
    }

    /// Why it ended, in its own words, or `sandbox-exec`'s.
    pub(super) fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let mut words = Vec::new();
        if let Some(error) = self.child.stderr.take() {
            let _ = error.take(LAST_WORDS).read_to_end(&mut words);
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn order(policy: &Policy, host: &Host, port: u16, credential: &Credential) -> Order {
    let known = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok()?));
    let variables: BTreeMap<String, String> = VARIABLES.iter().filter_map(known).collect();
    let callers = Callers::read(|name| variables.get(name).cloned());
    // The process itself reaches nothing that knows them.
    let trusted = match needs_certificates(policy, &callers) {
        true => Certificates::of_the_host(),
        false => Certificates::default(),
    };
    let (policy, host) = (policy.clone(), host.clone());
    Order { policy, host, port, credential: credential.as_str().to_owned(), variables, trusted }
}
