//! Domain names.

use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::shown;
use super::{ItemError, Scope, address};
use crate::diagnostic::Code;

/// A domain name in its one compared form: lower case, IDNA A-labels, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DomainName(String);

impl DomainName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a name in any spelling: upper case, Unicode, with a trailing dot.
    ///
    /// # Errors
    /// What makes it no domain name.
    pub fn parse(text: &str, _scope: &dyn Scope) -> Result<DomainName, ItemError> {
        DomainName::new(text)
    }

    /// The same where no variable can stand: a name that a program or a test asks for.
    ///
    /// # Errors
    /// What makes it no domain name.
    pub fn new(text: &str) -> Result<DomainName, ItemError> {
        let error = |why: &str| {
            ItemError::new(Code::BadHost, 0..text.len(), format!("`{}` is no host name: {why}", shown(text)))
        };
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| error("it holds a character that no name has"))?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        if name.is_empty() {
            return Err(error("it is empty"));
        }
        if name.len() > 253 {
            return Err(error("it is longer than 253 bytes"));
        }
        for label in name.split('.') {
            if label.is_empty() {
                return Err(error("two dots stand together, or one at its beginning"));
            }
            if label.len() > 63 {
                return Err(error("a part between dots is longer than 63 bytes"));
            }
            if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(error("it holds a character that no name has"));
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err(error("a part between dots begins or ends with `-`"));
            }
        }
        if address::ends_in_number(name) {
            return Err(error("its last part is a number, so programs read it as an address"));
        }
        Ok(DomainName(name.to_owned()))
    }

    /// Whether it is a subdomain of the other, at any depth, and not the same.
    #[must_use]
    pub fn is_below(&self, above: &DomainName) -> bool {
        self.0.strip_suffix(above.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_into_one_form() {
        for (written, meant) in [
            ("github.com", "github.com"),
            ("GitHub.COM.", "github.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("my_db", "my_db"),
            ("r3---sn.example", "r3---sn.example"),
            ("a。b", "a.b"),
        ] {
            assert_eq!(DomainName::new(written).unwrap().as_str(), meant);
        }
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "-a",
            "a-",
            "a b",
            "a/b",
            "a:b",
            "a@b",
            "1.2.3.4",
            "１.2.3.4",
            "0x7f",
            "a.1",
            "a\0",
            "*.a",
        ] {
            assert!(DomainName::new(text).is_err(), "{text:?}");
        }
        assert!(DomainName::new(&"a".repeat(63)).is_ok());
        assert!(DomainName::new(&"a".repeat(64)).is_err());
        assert!(DomainName::new(&"a.".repeat(126)).is_ok());
        assert!(DomainName::new(&"a.".repeat(127)).is_ok());
        assert!(DomainName::new(&"a.".repeat(128)).is_err());
    }

    #[test]
    fn below_is_at_any_depth_and_not_itself() {
        let name = |text: &str| DomainName::new(text).unwrap();
        assert!(name("a.b.c").is_below(&name("c")) && name("a.b.c").is_below(&name("b.c")));
        assert!(!name("b.c").is_below(&name("b.c")) && !name("ab.c").is_below(&name("b.c")));
    }
}
