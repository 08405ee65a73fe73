//! Names in the forms that a file system which ignores case and normalisation compares.
//!
//! Lower, upper and lower case again of each character stand in for the full case folding table: they fold at least
//! what that table folds, so a comparison of what closes never misses a spelling.

use unicode_normalization::UnicodeNormalization;

use crate::bytes::AbsolutePath;
use crate::pattern::{Component, Glob, GlobPiece, Grounded};

/// Folds case, then composes (NFC). Bytes that are not UTF-8 stay as they are.
pub(crate) fn composed(name: &[u8]) -> Vec<u8> {
    folded(name, |text| text.nfc().collect())
}

/// Folds case, then decomposes (NFD).
pub(crate) fn decomposed(name: &[u8]) -> Vec<u8> {
    folded(name, |text| text.nfd().collect())
}

fn folded(name: &[u8], form: impl Fn(&str) -> String) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut out = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let lower: String = chunk
            .valid()
            .nfd()
            .flat_map(char::to_lowercase)
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect();
        out.extend_from_slice(form(&lower).as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// A way to bring a name into one form.
pub(crate) type Form = fn(&[u8]) -> Vec<u8>;

/// The two forms in which a folded comparison is made.
pub(crate) const FORMS: [Form; 2] = [composed, decomposed];

/// A path in a form.
pub(crate) fn path(path: &AbsolutePath, form: Form) -> AbsolutePath {
    path.components().fold(AbsolutePath::root(), |folded, name| folded.join(&form(name)))
}

/// A grounded pattern in a form.
pub(crate) fn pattern(pattern: &Grounded, form: Form) -> Grounded {
    let rest = pattern.rest.iter().map(|component| match component {
        Component::Literal(name) => Component::Literal(text(name, form)),
        Component::AnyDepth => Component::AnyDepth,
        Component::Glob(pattern) => Component::Glob(glob(pattern, form)),
    });
    Grounded { prefix: path(&pattern.prefix, form), rest: rest.collect() }
}

/// A pattern of a name in a form; its classes are compared in either case.
pub(crate) fn glob(pattern: &Glob, form: Form) -> Glob {
    Glob(
        pattern
            .0
            .iter()
            .map(|piece| match piece {
                GlobPiece::Literal(name) => GlobPiece::Literal(text(name, form)),
                other => other.clone(),
            })
            .collect(),
    )
}

fn text(name: &str, form: Form) -> String {
    String::from_utf8_lossy(&form(name.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_folds_to_lower_case() {
        for c in '\0'..='\x7f' {
            let text: String = ["é", c.encode_utf8(&mut [0; 4])].concat();
            for form in FORMS {
                let folded = form(text.as_bytes());
                assert_eq!(folded.last(), Some(&(c.to_ascii_lowercase() as u8)), "{c:?}");
                assert_eq!(form(&[c as u8]), [c.to_ascii_lowercase() as u8], "{c:?}");
            }
        }
    }

    #[test]
    fn spellings_of_one_name_fold_to_one() {
        for (one, other) in [
            ("README", "readme"),
            ("É", "e\u{301}"),
            ("STRASSE", "straße"),
            ("\u{1e9e}", "ß"),
            ("Σ", "ς"),
            ("\u{212a}", "k"),
        ] {
            assert_eq!(composed(one.as_bytes()), composed(other.as_bytes()), "{one} {other}");
            assert_eq!(decomposed(one.as_bytes()), decomposed(other.as_bytes()), "{one} {other}");
        }
        assert_ne!(composed(b"a"), composed(b"b"));
        assert_eq!(composed(b"A\xff"), b"a\xff");
    }
}
