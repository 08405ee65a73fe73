//! Paths of the machine: bytes, which need not be text.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An absolute path, normalised: it begins with `/`, and holds no `//`, no `.`, no `..` and no slash at its end.
///
/// In JSON it is a string; bytes that are not UTF-8, and `\` itself, are written `\xHH` there.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbsolutePath(Vec<u8>);

impl AbsolutePath {
    /// The root directory.
    #[must_use]
    pub fn root() -> AbsolutePath {
        AbsolutePath(b"/".to_vec())
    }

    /// Normalises a path; `None` if it does not begin with `/`, holds `..`, or holds a NUL byte.
    #[must_use]
    pub fn new(path: &[u8]) -> Option<AbsolutePath> {
        if path.first() != Some(&b'/') || path.contains(&0) {
            return None;
        }
        let mut result = AbsolutePath(Vec::with_capacity(path.len()));
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return None,
                part => {
                    result.0.push(b'/');
                    result.0.extend_from_slice(part);
                }
            }
        }
        if result.0.is_empty() {
            result.0.push(b'/');
        }
        Some(result)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// The names between the slashes, from the root down; none for `/`.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The last name; `None` for `/`.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        self.0.get(slash + 1..).filter(|name| !name.is_empty())
    }

    /// The directory that holds it; `None` for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<AbsolutePath> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        Some(if slash == 0 { AbsolutePath::root() } else { AbsolutePath(self.0.get(..slash)?.to_vec()) })
    }

    /// Every directory above it, the nearest first, `/` last; empty for `/`.
    pub fn ancestors(&self) -> impl Iterator<Item = AbsolutePath> + use<> {
        std::iter::successors(self.parent(), AbsolutePath::parent)
    }

    /// The path with one name more. The name is taken as it is: it holds no slash.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> AbsolutePath {
        self.join_all(std::iter::once(name))
    }

    /// The path with these names more, each taken as it is.
    #[must_use]
    pub fn join_all<'n>(&self, names: impl Iterator<Item = &'n [u8]> + Clone) -> AbsolutePath {
        let above = if self.is_root() { [].as_slice() } else { &self.0 };
        let more: usize = names.clone().map(|name| name.len() + 1).sum();
        let mut bytes = Vec::with_capacity(above.len() + more.max(1));
        bytes.extend_from_slice(above);
        for name in names {
            bytes.push(b'/');
            bytes.extend_from_slice(name);
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        AbsolutePath(bytes)
    }

    /// Whether it is the other path or lies beneath it.
    #[must_use]
    pub fn is_within(&self, above: &AbsolutePath) -> bool {
        above.is_root() || self.is_at_or_below(&above.0)
    }

    /// The same for a place that the language names itself: a normalised path, but not `/`.
    pub(crate) fn is_at_or_below(&self, place: &[u8]) -> bool {
        self.0.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
    }

    /// As text for a person or a document: what is not UTF-8, control characters and `\` come as `\xHH`.
    #[must_use]
    pub fn escaped(&self) -> Cow<'_, str> {
        escape(&self.0)
    }

    fn unescape(text: &str) -> Option<AbsolutePath> {
        let bytes = unescape(text)?;
        let path = AbsolutePath::new(&bytes)?;
        (path.0 == bytes).then_some(path)
    }
}

/// Bytes as text for a person or a document: what is not UTF-8, control characters and `\` come as `\xHH`.
#[must_use]
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    let plain = |c: char| c != '\\' && !c.is_control();
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(plain) => Cow::Borrowed(text),
        _ => {
            let mut out = String::new();
            for chunk in bytes.utf8_chunks() {
                for c in chunk.valid().chars() {
                    if plain(c) {
                        out.push(c);
                    } else {
                        let mut buffer = [0; 4];
                        c.encode_utf8(&mut buffer).bytes().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
                    }
                }
                chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
            }
            Cow::Owned(out)
        }
    }
}

/// The bytes that [`escape`] wrote; `None` where a `\` begins no `\xHH`.
#[must_use]
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(rest.get(..at)?.as_bytes());
        let code = rest.get(at..)?.strip_prefix("\\x")?.get(..2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        rest = rest.get(at + 4..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.escaped())
    }
}

impl fmt::Debug for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.escaped())
    }
}

impl Serialize for AbsolutePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.escaped())
    }
}

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AbsolutePath, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        AbsolutePath::unescape(&text).ok_or_else(|| {
            de::Error::custom("expected a normalised absolute path, bytes that are not text as `\\xHH`")
        })
    }
}

impl JsonSchema for AbsolutePath {
    fn schema_name() -> Cow<'static, str> {
        "AbsolutePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^/",
            "description": "An absolute path, normalised; bytes that are not UTF-8, control characters and `\\` are written `\\xHH`."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::AbsolutePath;

    #[test]
    fn paths_are_normalised() {
        for (written, meant) in [("/", "/"), ("//a//b/./c/", "/a/b/c"), ("/a", "/a"), ("/.", "/")] {
            assert_eq!(AbsolutePath::new(written.as_bytes()).map(|p| p.to_string()).as_deref(), Some(meant));
        }
        for refused in ["", "a", "/a/../b", "/..", "/a\0b"] {
            assert_eq!(AbsolutePath::new(refused.as_bytes()), None, "{refused:?}");
        }
    }

    #[test]
    fn within_compares_whole_names() {
        let path = |text: &str| AbsolutePath::new(text.as_bytes()).unwrap();
        assert!(path("/a/b").is_within(&path("/a")));
        assert!(path("/a").is_within(&path("/a")));
        assert!(path("/a").is_within(&path("/")));
        assert!(!path("/ab").is_within(&path("/a")));
        assert!(!path("/").is_within(&path("/a")));
    }

    #[test]
    fn every_path_survives_json() {
        for bytes in [&b"/a b/\xff\xfe\\x"[..], b"/\n", "/ä/日本".as_bytes(), b"/"] {
            let path = AbsolutePath::new(bytes).unwrap();
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<AbsolutePath>(&json).unwrap(), path);
        }
    }
}
