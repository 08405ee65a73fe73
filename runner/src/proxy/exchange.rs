//! Requests of HTTP, each judged by itself, and passed on.

mod outside;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use fence_compiler::question::Verdict;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION, UPGRADE};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::destination::Target;
use super::dial::{Form, Opened, Purpose};
use super::door::UNKNOWN;
use super::gate::{Gate, Shared};
use super::head::Fault;
use super::judge::Judge;
use super::limits::Silence;
use super::link::Link;
use super::page;
use super::refusal::Refusal;
use super::relay::{self, relay};
use super::server::{GRACE, Judged, NotAllowed, Server};
use super::tunnel::tunnel;
use crate::audit::EventSource;
use outside::Outside;

/// What the library may hold of one connection.
const BUFFER: usize = 64 * 1024;

type Body = Either<Incoming, Full<Bytes>>;
/// What is answered in the place of a server.
type Instead = Box<Response<Body>>;

/// Where requests go.
pub(super) enum Route {
    /// Where each says: the client takes fence for its proxy.
    Asked,
    /// To what was connected to, whatever they say.
    Fixed(Target, Opened),
}

/// Serves the requests of a client of which some bytes were read already.
pub(super) async fn serve(place: &Rc<Server>, stream: TcpStream, read: &[u8], route: Route) {
    let silence = Rc::new(Silence::new(place.limits.idle));
    let shared = Rc::new(Shared::default());
    let (fixed, first) = match route {
        Route::Asked => (None, None),
        Route::Fixed(target, opened) => (Some(target.clone()), Some((target, opened))),
    };
    let granted = first
        .as_ref()
        .and_then(|(target, opened): &(Target, Opened)| Some((target.clone(), opened.granted.clone()?)));
    let known = fixed.is_some() || place.credential.is_none();
    let exchange = Rc::new(Exchange {
        place: place.clone(),
        shared: shared.clone(),
        silence: silence.clone(),
        fixed,
        first: RefCell::new(first),
        granted: RefCell::new(granted),
        sender: RefCell::new(None),
        number: Cell::new(0),
        known: Cell::new(known),
        then: RefCell::new(None),
    });
    let gate = Gate::new(stream, read, shared, silence.clone());
    let asked = exchange.clone();
    let service = service_fn(move |request| {
        let exchange = asked.clone();
        Box::pin(async move { Ok::<_, Infallible>(exchange.answer(request).await) })
    });
    let mut connection = server::Builder::new()
        .half_close(true)
        .preserve_header_case(true)
        .auto_date_header(false)
        .max_buf_size(BUFFER)
        .max_headers(128)
        .serve_connection(gate, service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended.is_ok(),
        () = silence.too_long() => false,
        () = place.ending.begun_for(GRACE) => false,
        () = exchange.unknown_for_long() => false,
    };
    let parts = connection.into_parts();
    let (stream, held) = parts.io.into_parts();
    let then = exchange.then.borrow_mut().take();
    drop(exchange);
    match then {
        Some(then) if ended => then.go(place, stream, &[&parts.read_buf, &held[..]].concat()).await,
        _ if ended => {}
        _ => relay::reset(stream),
    }
}

/// What a connection becomes behind its last request.
enum Then {
    /// A tunnel to what `CONNECT` asked for.
    Tunnel(Target, Opened),
    /// Whatever the server and the client agreed on.
    Upgraded(oneshot::Receiver<(Link, Bytes)>),
}

impl Then {
    async fn go(self, place: &Rc<Server>, stream: TcpStream, read: &[u8]) {
        match self {
            Then::Tunnel(target, opened) => tunnel(place, stream, read.to_vec(), target, opened).await,
            Then::Upgraded(link) => {
                let Ok((mut link, early)) = link.await else { return relay::reset(stream) };
                let silence = Silence::new(place.limits.idle);
                let passed = async {
                    relay::write_all(&stream, &early).await?;
                    tokio::io::AsyncWriteExt::write_all(&mut link, read).await?;
                    tokio::io::AsyncWriteExt::flush(&mut link).await
                };
                if passed.await.is_err() {
                    return relay::reset(stream);
                }
                // A broken connection has been reset on the other side, which is all that can be told.
                let _ = relay(stream, link, &place.pipes, &silence, &place.ending).await;
            }
        }
    }
}

/// One client's requests.
struct Exchange {
    place: Rc<Server>,
    shared: Rc<Shared>,
    silence: Rc<Silence>,
    fixed: Option<Target>,
    first: RefCell<Option<(Target, Opened)>>,
    /// What the person has allowed for the request at hand, and who decides about it.
    granted: RefCell<Option<(Target, Rc<Judge>)>>,
    /// The connection that the last request was passed on by.
    sender: RefCell<Option<Sender>>,
    number: Cell<u64>,
    /// Whether who asks has shown the credential of the run, or need not.
    known: Cell<bool>,
    then: RefCell<Option<Then>>,
}

struct Sender {
    target: Target,
    form: Form,
    send: SendRequest<Incoming>,
    /// The connection itself, once it is no longer one of requests.
    left: oneshot::Receiver<(Link, Bytes)>,
}

impl Exchange {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.number.set(self.number.get() + 1);
        if let Some(fault) = self.shared.fault(self.number.get()) {
            return self.broken(fault);
        }
        let waits = *request.method() == Method::CONNECT || is_upgrade(request.headers());
        let response = match (&self.fixed, request.method()) {
            (None, _) if !self.is_known(&request) => {
                self.place.unknown();
                page::unknown().map(Either::Right)
            }
            (None, &Method::CONNECT) => self.connect(&request).await,
            _ => match self.judge(&request).await {
                Ok(target) => self.pass_on(request, target).await,
                Err(instead) => *instead,
            },
        };
        // What the person has allowed is one request.
        self.granted.replace(None);
        if waits && self.then.borrow().is_none() {
            self.shared.stay();
        }
        response
    }

    /// Whether a request to the proxy is from the run that it serves.
    fn is_known(&self, request: &Request<Incoming>) -> bool {
        let credential = self.place.credential.as_ref();
        let is_known = credential.is_none_or(|own| own.is_in(request.headers().get(PROXY_AUTHORIZATION)));
        self.known.set(self.known.get() || is_known);
        is_known
    }

    /// Waits until somebody unknown has kept the connection for too long.
    async fn unknown_for_long(&self) {
        if !self.known.get() {
            sleep(UNKNOWN).await;
        }
        if self.known.get() {
            std::future::pending().await
        }
    }

    /// What a request is to, if it may be made.
    async fn judge(&self, request: &Request<Incoming>) -> Result<Target, Instead> {
        let target = match &self.fixed {
            Some(target) => {
                self.agrees(request, target)?;
                target.clone()
            }
            None => self.asked(request.uri()).map_err(|fault| Box::new(self.broken(fault)))?,
        };
        let target = self.place.translated(target).map_err(|refusal| Box::new(self.refused(&refusal)))?;
        let judge = match self.granted_to(&target) {
            Some(judge) => judge,
            None => {
                let judged = self.place.judged(&target).await;
                let judged = judged.map_err(|refusal| Box::new(self.refused(&refusal)))?;
                self.granted.replace(judged.granted().map(|judge| (target.clone(), judge)));
                judged.judge
            }
        };
        let (method, path) = (request.method().as_str(), request.uri().path());
        let decision = judge.request(&target, method, path);
        if decision.verdict == Verdict::Denied {
            return Err(Box::new(self.refused(&Refusal::request(method, &target, path, decision))));
        }
        Ok(target)
    }

    /// Who decides about a target that the person has allowed to this client.
    fn granted_to(&self, target: &Target) -> Option<Rc<Judge>> {
        let granted = self.granted.borrow();
        granted.as_ref().filter(|(allowed, _)| allowed == target).map(|(_, judge)| judge.clone())
    }

    /// The target of a request to a proxy.
    fn asked(&self, uri: &Uri) -> Result<Target, Fault> {
        match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP => {
                Target::read(authority.as_str(), Some(80)).map_err(|_| Fault("its URL has no host"))
            }
            (Some(_), _) => Err(Fault("a proxy is asked for `http` URLs, and for others by CONNECT")),
            _ => Err(Fault("a proxy is asked with the whole URL, or by CONNECT")),
        }
    }

    /// Whether a request names the host that was connected to.
    fn agrees(&self, request: &Request<Incoming>, target: &Target) -> Result<(), Instead> {
        if *request.method() == Method::CONNECT {
            let item = format!("CONNECT {} by {target}", request.uri());
            let why = "a proxy is asked for another host there; `upstream` names a proxy of the host side";
            return Err(Box::new(self.refused(&Refusal::closed("http", item, why))));
        }
        let Some(name) = target.name() else { return Ok(()) };
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let named = [request.uri().authority().map(|authority| authority.as_str()), host];
        for named in named.into_iter().flatten().filter(|named| !named.is_empty()) {
            let asked = Target::read(named, Some(target.port)).map(|asked| asked.host);
            if asked.as_ref() != Ok(&target.host) {
                let why = format!("the request names `{named}` on a connection to `{name}`");
                let item = format!("{} {target}{}", request.method(), request.uri().path());
                return Err(Box::new(self.refused(&Refusal::closed("http", item, &why))));
            }
        }
        Ok(())
    }

    async fn connect(&self, request: &Request<Incoming>) -> Response<Body> {
        let authority = request.uri().authority().map_or("", |authority| authority.as_str());
        let target = match Target::read(authority, None) {
            Ok(target) => target,
            Err(_) => return self.broken(Fault("CONNECT names no host with a port")),
        };
        match self.place.open(target, Purpose::Bytes).await {
            Ok((target, opened)) => {
                *self.then.borrow_mut() = Some(Then::Tunnel(target, opened));
                Response::new(Either::Right(Full::default()))
            }
            Err((item, not_opened)) => self.not_opened(&item, not_opened),
        }
    }

    /// Passes a request on, by the connection of the last one if it leads to the same.
    async fn pass_on(&self, request: Request<Incoming>, target: Target) -> Response<Body> {
        let mut request = request;
        for _ in 0..2 {
            let mut sender = match self.sender(&target).await {
                Ok(sender) => sender,
                Err(instead) => return *instead,
            };
            let upgrade = is_upgrade(request.headers());
            let prepared = prepare(request, &target, &sender.form, self.fixed.is_none());
            match sender.send.try_send_request(prepared).await {
                Ok(response) => return self.answered(response, sender, upgrade),
                Err(mut error) => match error.take_message() {
                    // It was closed meanwhile, and nothing of the request was sent.
                    Some(unsent) => request = unsent,
                    None => return self.broken_off(&target, &error.into_error()),
                },
            }
        }
        self.broken_off(&target, &"the connection was closed twice")
    }

    fn answered(&self, response: Response<Incoming>, sender: Sender, upgrade: bool) -> Response<Body> {
        let mut response = response.map(Either::Left);
        if upgrade && response.status() == StatusCode::SWITCHING_PROTOCOLS {
            *self.then.borrow_mut() = Some(Then::Upgraded(sender.left));
            return response;
        }
        let headers = response.headers_mut();
        headers.remove(CONNECTION);
        for name in ["keep-alive", "proxy-connection", "upgrade"] {
            headers.remove(name);
        }
        *response.version_mut() = Version::HTTP_11;
        *self.sender.borrow_mut() = Some(sender);
        response
    }

    /// The connection to pass a request on by.
    async fn sender(&self, target: &Target) -> Result<Sender, Instead> {
        let kept = self.sender.borrow_mut().take();
        if let Some(mut kept) = kept.filter(|kept| kept.target == *target)
            && kept.send.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let first = self.first.borrow_mut().take();
        let (target, opened) = match first {
            Some(first) => first,
            None => {
                let opened = match self.granted_to(target) {
                    Some(judge) => {
                        let judged = Judged::by_person(judge, target);
                        self.place.open_by(&judged, target.clone(), Purpose::Requests).await
                    }
                    None => self.place.open(target.clone(), Purpose::Requests).await,
                };
                match opened {
                    Ok(opened) => opened,
                    Err((item, not_opened)) => return Err(Box::new(self.not_opened(&item, not_opened))),
                }
            }
        };
        let io = Outside { link: opened.link, silence: self.silence.clone() };
        let made = client::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(BUFFER)
            .max_headers(256)
            .handshake(io)
            .await;
        let (send, connection) = made.map_err(|error| Box::new(self.broken_off(&target, &error)))?;
        let (hand_over, left) = oneshot::channel();
        tokio::task::spawn_local(async move {
            if let Ok(parts) = connection.without_shutdown().await {
                // Nobody waits for it where the connection has just ended.
                let _ = hand_over.send((parts.io.link, parts.read_buf));
            }
        });
        Ok(Sender { target, form: opened.form, send, left })
    }

    fn not_opened(&self, item: &str, not_opened: NotAllowed) -> Response<Body> {
        match not_opened {
            NotAllowed::Refused(refusal) => {
                page::refused(&self.place.judge().policy, &refusal).map(Either::Right)
            }
            NotAllowed::Failed(failure) => page::failed(item, &failure).map(Either::Right),
        }
    }

    fn refused(&self, refusal: &Refusal) -> Response<Body> {
        self.place.refused(EventSource::Proxy, refusal);
        page::refused(&self.place.judge().policy, refusal).map(Either::Right)
    }

    fn broken(&self, fault: Fault) -> Response<Body> {
        let item = self.fixed.as_ref().map_or_else(|| "the proxy".to_owned(), ToString::to_string);
        self.place.refused(EventSource::Proxy, &Refusal::closed("http", item, fault.0));
        page::broken(fault).map(Either::Right)
    }

    fn broken_off(&self, target: &Target, error: &dyn std::fmt::Display) -> Response<Body> {
        let error = io::Error::other(error.to_string());
        page::failed(&target.to_string(), &super::dial::Failure::Unreachable(error)).map(Either::Right)
    }
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let asked = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|text| text.split(',').any(|word| word.trim().eq_ignore_ascii_case("upgrade")))
    };
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(asked)
}

/// A request as it is passed on: in the form that the other side takes, without what was meant for a proxy.
fn prepare(request: Request<Incoming>, target: &Target, form: &Form, asked: bool) -> Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
    let host = authority.unwrap_or_else(|| match target.port {
        80 => target.to_string().trim_end_matches(":80").to_owned(),
        _ => target.to_string(),
    });
    let value = HeaderValue::from_str(&host);
    if let Ok(value) = value
        && (asked || parts.uri.authority().is_some() || !parts.headers.contains_key(HOST))
    {
        parts.headers.insert(HOST, value);
    }
    if !is_upgrade(&parts.headers) {
        let nominated: Vec<HeaderName> = parts
            .headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|word| word.trim().parse().ok())
            .filter(|name: &HeaderName| {
                !matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "te")
            })
            .collect();
        nominated.iter().for_each(|name| drop(parts.headers.remove(name)));
        parts.headers.remove(CONNECTION);
        parts.headers.remove(UPGRADE);
    }
    for name in ["proxy-connection", "keep-alive"] {
        parts.headers.remove(name);
    }
    parts.headers.remove(PROXY_AUTHORIZATION);
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut uri = hyper::http::uri::Parts::default();
    uri.path_and_query = Some(path);
    if let Form::Whole { login } = form {
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = host.parse().ok();
        if let Some(login) = login.as_ref().and_then(|login| HeaderValue::from_str(login).ok()) {
            parts.headers.insert(PROXY_AUTHORIZATION, login);
        }
    }
    if let Ok(uri) = Uri::from_parts(uri) {
        parts.uri = uri;
    }
    parts.version = Version::HTTP_11;
    Request::from_parts(parts, body)
}
