//! Everything that serves one sandbox.

use std::cell::{Cell, RefCell};
use std::io;
#[cfg(target_os = "linux")]
use std::net::UdpSocket as StdSocket;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use fence_compiler::grant::bounding;
#[cfg(target_os = "linux")]
use fence_compiler::pattern::{DomainName, PortRange};
use fence_compiler::plan::POOL;
use fence_compiler::question::{Decision, Verdict};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
#[cfg(target_os = "linux")]
use tokio::net::UdpSocket;
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{sleep, timeout};

use super::asker::Asker;
use super::destination::{Host, Target};
use super::dial::{Certificates, Dialer, Failure, NotOpened, Opened, Purpose, Trust};
use super::judge::Judge;
use super::limits::Limits;
use super::names::Names;
#[cfg(target_os = "linux")]
use super::origin::Kernel;
use super::origin::{Listener, Origins};
use super::refusal::Refusal;
use super::relay::{Ending, Pipes};
use super::report::Report;
use super::resolve::{Resolver, Source};
use super::watched::{is_ready, watched};
use super::{Credential, Rights, ServeError, Setting, Summary, Trusted, Watch, door, narrowing, upstream};
#[cfg(target_os = "linux")]
use super::{Inside, packets, responder};
use crate::asking::Answer;
use crate::audit::{EventSource, Told};

/// How long what was sent before the sandbox ended may take to be passed on.
const LAST: Duration = Duration::from_secs(2);
/// How long what has not even begun then is still waited for.
pub(super) const GRACE: Duration = Duration::from_millis(300);
/// Threads that ask the system's resolver, which blocks.
const RESOLVING: usize = 8;
/// Descriptors that one connection may take: two sockets, and its share of pipes.
const OF_EACH: u64 = 4;
/// Descriptors for everything else.
const OTHERS: u64 = 128;

/// What all connections of a sandbox share.
pub(super) struct Server {
    /// Who decides: another one from when the policy was narrowed.
    judge: RefCell<Rc<Judge>>,
    pub(super) names: RefCell<Names>,
    pub(super) dialer: Dialer,
    pub(super) limits: Limits,
    pub(super) proxy: SocketAddrV4,
    /// What a program must show to be served by the proxy.
    pub(super) credential: Option<Credential>,
    pub(super) pipes: Pipes,
    pub(super) ending: Ending,
    pub(super) report: Report,
    /// Who is asked before a connection is refused.
    asking: Option<Asking>,
    open: Cell<u64>,
    closed: Notify,
}

/// Asking the person before something is refused.
struct Asking {
    asker: Asker,
    /// Decides what may be asked at all.
    bounds: Judge,
}

/// A decision about a target that is not refused, and who took it.
pub(super) struct Judged {
    pub(super) judge: Rc<Judge>,
    decision: Decision,
    by: By,
}

impl Judged {
    /// The decision of somebody who lets a target that the person has allowed.
    pub(super) fn by_person(judge: Rc<Judge>, target: &Target) -> Judged {
        let decision = judge.connect(target);
        Judged { judge, decision, by: By::Person }
    }

    /// Who decides, if the person has allowed it.
    pub(super) fn granted(&self) -> Option<Rc<Judge>> {
        (self.by == By::Person).then(|| self.judge.clone())
    }
}

/// By what something is allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Policy,
    Person,
}

/// Why a connection is not there; its event has been told.
#[derive(Debug)]
pub(super) enum NotAllowed {
    /// The policy refuses it.
    Refused(Box<Refusal>),
    /// It cannot be made.
    Failed(Failure),
}

/// Serves what was made inside until the watch ends.
#[cfg(target_os = "linux")]
pub(super) fn serve(
    setting: Setting,
    inside: Inside,
    events: &mut dyn FnMut(&Told),
    watch: &mut dyn Watch,
) -> Result<Summary, ServeError> {
    run(setting, events, watch, |server, most| {
        let backlog = inside.listener.try_clone().map_err(error("accept connections"))?;
        let listener = listener(inside.listener).map_err(error("accept connections"))?;
        let udp = socket(inside.resolver_udp).map_err(error("answer questions for names"))?;
        let tcp = self::listener(inside.resolver_tcp).map_err(error("answer questions for names"))?;
        give_up()?;
        let packets = inside.log.map(|log| {
            let server = server.clone();
            tokio::task::spawn_local(async move {
                // A log that cannot be read any more tells nothing more.
                let _ = packets::told(server, log).await;
            })
        });
        let mut tasks = vec![
            tokio::task::spawn_local(accept(server.clone(), listener, most, Rc::new(Kernel))),
            tokio::task::spawn_local(responder::by_udp(server.clone(), Rc::new(udp))),
            tokio::task::spawn_local(responder::by_tcp(server.clone(), tcp)),
        ];
        tasks.extend(packets);
        Ok(Begun { backlog, tasks })
    })
}

/// Gives up what serving does not need.
#[cfg(target_os = "linux")]
fn give_up() -> Result<(), ServeError> {
    crate::linux::serving::confine()
        .map_err(|refused| error("give up rights")(io::Error::other(refused.to_string())))
}

/// Serves a listener that everything takes for its proxy, until the watch ends.
pub(super) fn serve_as_proxy(
    setting: Setting,
    listener: OwnedFd,
    rights: Rights,
    events: &mut dyn FnMut(&Told),
    watch: &mut dyn Watch,
) -> Result<Summary, ServeError> {
    run(setting, events, watch, |server, most| {
        let backlog = listener.try_clone().map_err(error("accept connections"))?;
        let listener = self::listener(listener).map_err(error("accept connections"))?;
        match rights {
            Rights::GivenUp => {}
            #[cfg(target_os = "linux")]
            Rights::ToGiveUp => give_up()?,
        }
        let origins = Rc::new(Listener(SocketAddr::V4(server.proxy)));
        let tasks = vec![tokio::task::spawn_local(accept(server.clone(), listener, most, origins))];
        Ok(Begun { backlog, tasks })
    })
}

/// What serves.
struct Begun {
    /// The listener, to see whether anybody waits at it.
    backlog: OwnedFd,
    tasks: Vec<JoinHandle<()>>,
}

fn error(doing: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError { doing, error }
}

/// Serves by what is begun, until the watch ends.
fn run(
    setting: Setting,
    events: &mut dyn FnMut(&Told),
    watch: &mut dyn Watch,
    begin: impl FnOnce(&Rc<Server>, u64) -> Result<Begun, ServeError>,
) -> Result<Summary, ServeError> {
    let most = raise_files() / OF_EACH;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(RESOLVING)
        .build()
        .map_err(error("start serving"))?;
    let server = {
        // A socket is known to the runtime from its beginning.
        let _entered = runtime.enter();
        Rc::new(Server::new(setting, Source::System).map_err(error("ask at the terminal"))?)
    };
    let local = LocalSet::new();
    let orders = watch.orders();
    let served = local.block_on(&runtime, async {
        let Begun { backlog, mut tasks } = begin(&server, most)?;
        if let Some(orders) = orders {
            let orders = UnixStream::from_std(orders).map_err(error("take orders"))?;
            tasks.push(tokio::task::spawn_local(narrowing::taken(server.clone(), orders)));
        }
        if server.asking.is_some() {
            let server = server.clone();
            tasks.push(tokio::task::spawn_local(async move { server.hear().await }));
        }
        let watched = watched(watch);
        let mut watched = std::pin::pin!(watched);
        loop {
            tokio::select! {
                ended = &mut watched => {
                    ended.map_err(error("watch the sandbox"))?;
                    break;
                }
                () = server.report.waits() => server.report.take().iter().for_each(&mut *events),
            }
        }
        let rest = async {
            // What waits to be accepted was sent before the end.
            while is_ready([&backlog].into_iter()).unwrap_or(false) {
                sleep(Duration::from_micros(100)).await;
            }
            server.ending.begin();
            server.all_closed().await;
        };
        let _ = timeout(LAST, rest).await;
        tasks.iter().for_each(JoinHandle::abort);
        Ok(())
    });
    drop(local);
    runtime.shutdown_background();
    served?;
    server.report.take().iter().for_each(events);
    Ok(server.report.summary())
}

/// Accepts connections, never more at once than there are descriptors for.
pub(super) async fn accept(
    server: Rc<Server>,
    listener: TcpListener,
    most: u64,
    origins: Rc<impl Origins + 'static>,
) {
    loop {
        if server.open.get() >= most {
            server.closed.notified().await;
            continue;
        }
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            // Out of descriptors or memory, or the client is gone: others may still be served.
            Err(_) => {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let Ok(meant) = origins.of(&client) else { continue };
        let open = Open::of(&server);
        tokio::task::spawn_local(async move {
            door::admit(&open.0, client, meant).await;
            drop(open);
        });
    }
}

/// A connection that is counted.
struct Open(Rc<Server>);

impl Open {
    fn of(server: &Rc<Server>) -> Open {
        server.open.set(server.open.get() + 1);
        Open(server.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.closed.notify_one();
    }
}

impl Server {
    pub(super) fn new(setting: Setting, source: Source) -> io::Result<Server> {
        let Setting { policy, world, network, callers, trusted, credential, asks } = setting;
        let asking = match asks {
            Some(socket) => {
                let bounds = Judge { policy: bounding(&policy), world: world.clone() };
                Some(Asking { asker: Asker::new(socket.try_clone()?)?, bounds })
            }
            None => None,
        };
        let limits = Limits::of(&policy, world.platform);
        let trust = match trusted {
            _ if !upstream::any_secure(&policy, &callers) => None,
            Trusted::OfTheHost => Trust::of(&Certificates::of_the_host()),
            Trusted::These(certificates) => Trust::of(&certificates),
        };
        let resolver = Resolver::new(source);
        Ok(Server {
            judge: RefCell::new(Rc::new(Judge { policy, world })),
            names: RefCell::new(Names::new(network.names)),
            dialer: Dialer { resolver, callers, trust, limit: limits.connect },
            limits,
            proxy: network.proxy,
            credential,
            pipes: Pipes::default(),
            ending: Ending::default(),
            report: Report::default(),
            asking,
            open: Cell::new(0),
            closed: Notify::new(),
        })
    }

    /// Who decides now.
    pub(super) fn judge(&self) -> Rc<Judge> {
        self.judge.borrow().clone()
    }

    /// From here on another one decides; connections that stand are left alone.
    pub(super) fn narrow(&self, judge: Judge) {
        self.judge.replace(Rc::new(judge));
    }

    /// Decides about a connection, and makes it. What was decided is told.
    pub(super) async fn open(
        &self,
        target: Target,
        purpose: Purpose,
    ) -> Result<(Target, Opened), (String, NotAllowed)> {
        let item = target.to_string();
        let refused = |refusal| self.not_allowed(item.clone(), refusal);
        let target = self.translated(target).map_err(refused)?;
        let judged = self.judged(&target).await.map_err(refused)?;
        self.open_by(&judged, target, purpose).await
    }

    /// Tells that a connection is refused.
    fn not_allowed(&self, item: String, refusal: Box<Refusal>) -> (String, NotAllowed) {
        self.refused(EventSource::Proxy, &refusal);
        (item, NotAllowed::Refused(refusal))
    }

    /// Decides about a connection; where it would be refused, by asking the person, if that is wanted.
    pub(super) async fn judged(&self, target: &Target) -> Result<Judged, Box<Refusal>> {
        let judge = self.judge();
        let decision = judge.connect(target);
        if decision.verdict == Verdict::Allowed {
            return Ok(Judged { judge, decision, by: By::Policy });
        }
        let refusal = Refusal::connect(target, decision);
        match self.granted(&judge, target, &refusal).await {
            Some(judge) => Ok(Judged::by_person(Rc::new(judge), target)),
            None => Err(refusal),
        }
    }

    /// Who decides about a target, if the person allows it.
    async fn granted(&self, judge: &Judge, target: &Target, refusal: &Refusal) -> Option<Judge> {
        let asking = self.asking.as_ref()?;
        let granting = judge.granting(target)?;
        let answer = tokio::select! {
            answer = asking.asker.ask(&judge.policy, refusal) => answer,
            () = self.ending.begun_for(GRACE) => Answer::Refused,
        };
        (answer == Answer::Allowed).then_some(granting)
    }

    /// Hands on what the person says.
    pub(super) async fn hear(&self) {
        if let Some(asking) = &self.asking {
            asking.asker.hear().await;
        }
    }

    /// The ports that a name may be asked about, where the person is asked.
    #[cfg(target_os = "linux")]
    pub(super) fn askable(&self, name: &DomainName) -> Option<Vec<PortRange>> {
        let ports = self.asking.as_ref()?.bounds.ports(name);
        (!ports.is_empty()).then_some(ports)
    }

    /// Makes a connection that was decided about.
    pub(super) async fn open_by(
        &self,
        judged: &Judged,
        target: Target,
        purpose: Purpose,
    ) -> Result<(Target, Opened), (String, NotAllowed)> {
        let opened = tokio::select! {
            opened = self.dialer.open(&judged.judge, &target, purpose) => opened,
            // Nobody is there any more who would wait for it.
            () = self.ending.begun_for(GRACE) => Err(NotOpened::Failed(Failure::TimedOut)),
        };
        match opened {
            Ok(opened) => {
                self.connected(&target, judged, opened.address);
                Ok((target, Opened { granted: judged.granted(), ..opened }))
            }
            Err(NotOpened::Refused { decision, found }) => {
                let refusal = Refusal::addresses(&target, &found, decision);
                Err(self.not_allowed(target.to_string(), refusal))
            }
            Err(NotOpened::Failed(failure)) => Err((target.to_string(), NotAllowed::Failed(failure))),
        }
    }

    /// The name in the place of an address that stands for one.
    pub(super) fn translated(&self, target: Target) -> Result<Target, Box<Refusal>> {
        let Host::Address(IpAddr::V4(address)) = target.host else { return Ok(target) };
        let names = self.names.borrow();
        match names.name(address) {
            Some(name) => Ok(Target { host: Host::Name(name.clone()), port: target.port }),
            None if POOL.contains(&address) => {
                let why = "no name stands for this address: the program did not ask for it in this run";
                Err(Refusal::closed("connect", target.to_string(), why))
            }
            None => Ok(target),
        }
    }

    /// Somebody took this for a proxy and did not show the credential of the run.
    pub(super) fn unknown(&self) {
        let why = "whoever asked did not show the credential of this run";
        let refusal = Refusal::closed("connect", "the proxy of this run".to_owned(), why);
        self.refused(EventSource::Proxy, &refusal);
    }

    pub(super) fn refused(&self, source: EventSource, refusal: &Refusal) {
        self.report.refused(&self.judge().policy, source, refusal);
    }

    fn connected(&self, target: &Target, judged: &Judged, address: Option<IpAddr>) {
        let item = target.to_string();
        match judged.by {
            By::Policy => self.report.connected(&self.judge().policy, item, &judged.decision, address),
            By::Person => self.report.granted(item, address),
        }
    }

    /// Who answers for the names of the outside.
    #[cfg(target_os = "linux")]
    pub(super) fn nameservers(&self) -> Vec<std::net::SocketAddr> {
        match &self.dialer.resolver.source {
            Source::System => responder::nameservers(),
            #[cfg(any(test, fuzzing))]
            Source::Table(_, nameservers) => nameservers.clone(),
        }
    }

    async fn all_closed(&self) {
        while self.open.get() > 0 {
            self.closed.notified().await;
        }
    }
}

fn listener(descriptor: OwnedFd) -> io::Result<TcpListener> {
    let listener = StdListener::from(descriptor);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[cfg(target_os = "linux")]
fn socket(descriptor: OwnedFd) -> io::Result<UdpSocket> {
    let socket = StdSocket::from(descriptor);
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Lets this process open as many files as it may, and tells how many that is for connections.
pub(crate) fn raise_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return OTHERS };
    let most = hard.min(1 << 20);
    let raised = soft >= most || setrlimit(Resource::RLIMIT_NOFILE, most, hard).is_ok();
    (if raised { most.max(soft) } else { soft }).saturating_sub(OTHERS).max(OF_EACH)
}
