//! What a program of one run shows to a proxy that every program of the machine could connect to.

use std::fmt;
use std::hint::black_box;
use std::io::{self, Read};
use std::net::SocketAddr;

use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};

use super::dial::basic;
use super::upstream::Login;

/// The user's name that stands beside every credential.
const USER: &str = "fence";

/// How many random bytes a credential has.
const RANDOM: usize = 32;

/// The password of one run.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(String);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

impl Credential {
    /// One that nobody can guess.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn fresh() -> io::Result<Credential> {
        let mut bytes = [0u8; RANDOM];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Credential(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Takes as many hexadecimal digits as a fresh one has; `None` for anything else.
    #[must_use]
    pub fn new(text: &str) -> Option<Credential> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (digits && text.len() == 2 * RANDOM).then(|| Credential(text.to_owned()))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of the proxy at an address, as its variables have it.
    #[must_use]
    pub fn url(&self, scheme: &str, at: SocketAddr) -> String {
        format!("{scheme}://{USER}:{}@{at}", self.0)
    }

    /// Whether a user and a password are those of this run.
    pub(super) fn is(&self, user: &[u8], password: &[u8]) -> bool {
        // Both are compared, whatever comes of the first.
        let (user, password) = (same(user, USER.as_bytes()), same(password, self.0.as_bytes()));
        user & password
    }

    /// Whether a `Proxy-Authorization` is that of this run.
    pub(super) fn is_in(&self, header: Option<&HeaderValue>) -> bool {
        let login = Login { user: USER.into(), password: self.0.clone().into_bytes() };
        let own = basic(&login);
        let shown = header.map_or(&[][..], HeaderValue::as_bytes);
        let (Some((scheme, shown)), Some((own_scheme, own))) = (in_two(shown), in_two(own.as_bytes())) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(own_scheme) && same(shown.trim_ascii(), own)
    }
}

/// What stands before and behind the first blank.
fn in_two(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = text.iter().position(|byte| *byte == b' ')?;
    Some((text.get(..blank)?, text.get(blank + 1..)?))
}

/// Whether two texts are the same. How long it takes says nothing of where they differ: their digests are compared,
/// all of them.
fn same(shown: &[u8], own: &[u8]) -> bool {
    let (shown, own) = (Sha256::digest(shown), Sha256::digest(own));
    let differs = shown.iter().zip(own.iter()).fold(0, |differs, (one, two)| differs | (one ^ two));
    black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_credential_of_the_run_is_taken() {
        let own = Credential::fresh().unwrap();
        assert_ne!(own, Credential::fresh().unwrap());
        assert_eq!(Credential::new(own.as_str()), Some(own.clone()));
        assert_eq!(Credential::new(""), None);
        assert_eq!(Credential::new(&"g".repeat(64)), None);
        assert!(!format!("{own:?}").contains(own.as_str()));
        let token = own.as_str();
        assert!(own.is(b"fence", token.as_bytes()));
        let short = &token[..63];
        let long = format!("{token}0");
        for (user, password) in [
            ("fence", ""),
            ("", token),
            ("Fence", token),
            ("fence", short),
            ("fence", &long),
            ("fence", &format!("{token}\0")),
        ] {
            assert!(!own.is(user.as_bytes(), password.as_bytes()), "{user} {password}");
        }
        let header =
            |user: &str, password: &str| basic(&Login { user: user.into(), password: password.into() });
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let right = header("fence", token);
        assert!(own.is_in(Some(&value(&right))));
        assert!(own.is_in(Some(&value(&right.replace("Basic", "basic")))));
        assert!(!own.is_in(None));
        for wrong in [
            String::new(),
            "Basic".into(),
            "Basic ".into(),
            right.replace("Basic", "Bearer"),
            right.replace("Basic ", ""),
            format!("Basic {token}"),
            header("fence", short),
            header("fence", &long),
            header("", token),
            header("fence", ""),
        ] {
            assert!(!own.is_in(Some(&value(&wrong))), "{wrong}");
        }
    }
}
