//! What a program asks of a SOCKS proxy: versions 4, 4a and 5, `CONNECT` only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::credential::Credential;
use super::destination::{Host, NoTarget, Target};

/// Which version a program speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// 4 and 4a.
    Four,
    /// 5.
    Five,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) version: Version,
    /// What the greeting is answered with, where that has not been sent yet.
    pub(super) owed: &'static [u8],
    /// What to connect to, or why that is nothing: the text as it was sent, and the reason.
    pub(super) target: Result<Target, (String, Problem)>,
}

/// Why a request cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// The host or the port is none.
    #[error("{0}")]
    Target(#[from] NoTarget),
    /// `BIND` and `UDP ASSOCIATE`.
    #[error("only outgoing connections can be asked for")]
    Command,
    /// A kind of address that the protocol does not have.
    #[error("it is no kind of address that SOCKS has")]
    Kind,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The connection stands.
    Connected,
    /// The policy refuses it.
    Refused,
    /// The name has no address.
    NoHost,
    /// Nobody listens there.
    NotAccepted,
    /// It took too long.
    TimedOut,
    /// Anything else.
    Failed,
    /// What is asked for does not exist here.
    NoCommand,
    /// The kind of address does not exist.
    NoKind,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAsked {
    /// The connection broke, or what was sent is not SOCKS.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// Who asks does not show the credential; that has been answered.
    #[error("it shows no credential of this run")]
    Unknown,
}

/// Reads a request; where there is a credential, only one from somebody who shows it.
///
/// # Errors
/// There is none that may be answered.
pub(super) async fn read(
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    credential: Option<&Credential>,
) -> Result<Asked, NotAsked> {
    match (stream.read_u8().await?, credential) {
        (4, None) => Ok(four(stream).await?),
        // Version 4 has no password.
        (4, Some(_)) => {
            stream.write_all(&answer(Version::Four, &[], Answer::Refused)).await?;
            Err(NotAsked::Unknown)
        }
        (5, None) => Ok(five(stream, &OPEN).await?),
        (5, Some(own)) => {
            let asked = five(stream, &Method { number: 2, own: Some(own) }).await;
            asked.map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => NotAsked::Unknown,
                _ => NotAsked::Broken(error),
            })
        }
        _ => Err(NotAsked::Broken(io::ErrorKind::InvalidData.into())),
    }
}

async fn four(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Asked> {
    let command = stream.read_u8().await?;
    let port = stream.read_u16().await?;
    let address = Ipv4Addr::from(stream.read_u32().await?);
    text(stream).await?;
    let asked = |target| Ok(Asked { version: Version::Four, owed: &[], target });
    // An address `0.0.0.x` says that a name follows.
    let [a, b, c, d] = address.octets();
    let host = if [a, b, c] == [0; 3] && d != 0 {
        let name = text(stream).await?;
        let shown = shown(&name, port);
        match name_of(&name) {
            Ok(host) => Ok(host),
            Err(error) => return asked(Err((shown, error.into()))),
        }
    } else {
        Ok::<Host, NoTarget>(Host::address(IpAddr::V4(address)))
    };
    match host {
        Ok(host) => asked(target(host, port, command)),
        Err(error) => asked(Err((String::new(), error.into()))),
    }
}

/// How who asks shows who that is.
struct Method<'a> {
    number: u8,
    own: Option<&'a Credential>,
}

/// No name and no password are wanted.
const OPEN: Method<'_> = Method { number: 0, own: None };
const METHOD: &[u8] = &[5, 0];

async fn five(
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    method: &Method<'_>,
) -> io::Result<Asked> {
    let count = stream.read_u8().await?;
    let mut methods = vec![0; usize::from(count)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&method.number) {
        stream.write_all(&[5, 0xff]).await?;
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let owed: &[u8] = match method.own {
        Some(own) => {
            stream.write_all(&[5, method.number]).await?;
            log_in(stream, own).await?;
            &[]
        }
        None if stream.buffer().is_empty() => {
            stream.write_all(METHOD).await?;
            &[]
        }
        // A program that has not waited for this gets it with the answer.
        None => METHOD,
    };
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    if version != 5 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let asked = |target| Ok(Asked { version: Version::Five, owed, target });
    let host = match kind {
        1 => Host::address(IpAddr::V4(Ipv4Addr::from(stream.read_u32().await?))),
        4 => Host::address(IpAddr::V6(Ipv6Addr::from(stream.read_u128().await?))),
        3 => {
            let length = stream.read_u8().await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            match name_of(&name) {
                Ok(host) => host,
                Err(error) => {
                    let port = stream.read_u16().await?;
                    return asked(Err((shown(&name, port), error.into())));
                }
            }
        }
        _ => return asked(Err(("an address of an unknown kind".to_owned(), Problem::Kind))),
    };
    let port = stream.read_u16().await?;
    asked(target(host, port, command))
}

/// Reads a user and a password (RFC 1929), and lets only this run's pass.
async fn log_in(
    stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
    own: &Credential,
) -> io::Result<()> {
    if stream.read_u8().await? != 1 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut shown = [Vec::new(), Vec::new()];
    for text in &mut shown {
        text.resize(usize::from(stream.read_u8().await?), 0);
        stream.read_exact(text).await?;
    }
    let [user, password] = shown;
    let is_own = own.is(&user, &password);
    stream.write_all(&[1, u8::from(!is_own)]).await?;
    if is_own { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

fn target(host: Host, port: u16, command: u8) -> Result<Target, (String, Problem)> {
    let target = Target { host, port };
    match (command, port) {
        (1, 1..) => Ok(target),
        (1, 0) => Err((target.to_string(), NoTarget("a port is a number from 1 to 65535").into())),
        _ => Err((target.to_string(), Problem::Command)),
    }
}

fn name_of(bytes: &[u8]) -> Result<Host, NoTarget> {
    Host::read(std::str::from_utf8(bytes).map_err(|_| NoTarget("the name is no text"))?)
}

fn shown(name: &[u8], port: u16) -> String {
    format!("{}:{port}", String::from_utf8_lossy(name))
}

/// A text that ends with a NUL; more than 255 bytes before that are none.
async fn text(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        match stream.read_u8().await? {
            0 => return Ok(text),
            _ if text.len() == 255 => return Err(io::ErrorKind::InvalidData.into()),
            byte => text.push(byte),
        }
    }
}

/// The bytes of an answer, behind those that are owed. The address in it is never that of the outside.
pub(super) fn answer(version: Version, owed: &[u8], answer: Answer) -> Vec<u8> {
    match version {
        Version::Four => {
            let code = if answer == Answer::Connected { 90 } else { 91 };
            [owed, &[0, code, 0, 0, 0, 0, 0, 0]].concat()
        }
        Version::Five => {
            let code = match answer {
                Answer::Connected => 0,
                Answer::Failed => 1,
                Answer::Refused => 2,
                Answer::NoHost => 4,
                Answer::NotAccepted => 5,
                Answer::TimedOut => 6,
                Answer::NoCommand => 7,
                Answer::NoKind => 8,
            };
            [owed, &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]].concat()
        }
    }
}

impl Problem {
    /// What a program is told.
    pub(super) fn answer(&self) -> Answer {
        match self {
            Problem::Target(_) => Answer::Refused,
            Problem::Command => Answer::NoCommand,
            Problem::Kind => Answer::NoKind,
        }
    }
}
