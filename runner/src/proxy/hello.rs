//! The name that a TLS client asks for.

use fence_compiler::pattern::DomainName;
use fence_compiler::policy::Tls;
use rustls::server::Acceptor;

/// The most bytes of records that a ClientHello may take.
pub(super) const LONGEST: usize = 64 * 1024;

/// What the first records of a client say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// It asks for this name.
    Shows(String),
    /// It asks for none.
    ShowsNone,
    /// It goes on.
    Incomplete,
    /// It is none.
    Broken,
}

/// Reads the name, with the reader of rustls.
pub(super) fn read(bytes: &[u8]) -> Hello {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    loop {
        let read = match acceptor.read_tls(&mut rest) {
            Ok(read) => read,
            Err(_) => return Hello::Broken,
        };
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return match accepted.client_hello().server_name() {
                    Some(name) => Hello::Shows(name.to_owned()),
                    None => Hello::ShowsNone,
                };
            }
            Ok(None) if read == 0 && bytes.len() >= LONGEST => return Hello::Broken,
            Ok(None) if read == 0 => return Hello::Incomplete,
            Ok(None) => {}
            Err(_) => return Hello::Broken,
        }
    }
}

/// A TLS connection does not show the name that was connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Disagrees {
    /// It shows another one.
    #[error("the TLS connection asks for `{}`", crate::audit::visible(.0))]
    Another(String),
    /// It shows none.
    #[error("the TLS connection shows no name, which `tls strict` asks for")]
    None,
    /// Nobody can tell.
    #[error("what begins like TLS is no ClientHello")]
    Broken,
}

/// Whether a ClientHello agrees with the name that was connected to.
pub(super) fn agrees(hello: &Hello, name: &DomainName, tls: Tls) -> Result<(), Disagrees> {
    match hello {
        Hello::Shows(shown) if DomainName::new(shown).as_ref() == Ok(name) => Ok(()),
        Hello::Shows(shown) => Err(Disagrees::Another(shown.clone())),
        Hello::ShowsNone if tls == Tls::Relaxed => Ok(()),
        Hello::ShowsNone => Err(Disagrees::None),
        Hello::Incomplete | Hello::Broken => Err(Disagrees::Broken),
    }
}
