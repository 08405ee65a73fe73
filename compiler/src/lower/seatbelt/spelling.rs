//! Regular expressions for names in every spelling that macOS takes for the same.
//!
//! What closes is compared after case folding and normalisation (see [`crate::fold`]); a profile has neither, so
//! each spelling is written out: `[xX]` for a letter, alternatives where another character folds to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use crate::fold;

/// Characters that fold to one ASCII character, beside the two cases of a letter.
const SINGLE: [(char, &str); 5] =
    [('i', "\u{131}"), ('k', "\u{212a}"), ('s', "\u{17f}"), (';', "\u{37e}"), ('`', "\u{1fef}")];

/// Characters that fold to several ASCII letters.
const LIGATURES: [(&str, &[&str]); 7] = [
    ("ss", &["\u{df}", "\u{1e9e}"]),
    ("ff", &["\u{fb00}"]),
    ("fi", &["\u{fb01}"]),
    ("fl", &["\u{fb02}"]),
    ("ffi", &["\u{fb03}"]),
    ("ffl", &["\u{fb04}"]),
    ("st", &["\u{fb05}", "\u{fb06}"]),
];

/// The most alternatives that are written out for one part of a name.
const MOST: usize = 48;

/// Writes text so that a regular expression matches it and nothing else.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '.' | '[' | ']' | '(' | ')' | '*' | '+' | '?' | '|' | '^' | '$' | '{' | '}') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The expression of all spellings of a text; `None` where there are too many to write out.
pub fn every_spelling(text: &str) -> Option<String> {
    let composed = String::from_utf8(fold::composed(text.as_bytes())).ok()?;
    let chars: Vec<char> = composed.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let marks = chars.iter().skip(at + 1).take_while(|c| canonical_combining_class(**c) != 0).count();
        if !c.is_ascii() || marks > 0 {
            let cluster: String = chars.iter().skip(at).take(marks + 1).collect();
            let before = at.checked_sub(1).and_then(|before| chars.get(before));
            let joined = fold::decomposed(cluster.as_bytes()).first().is_some_and(u8::is_ascii_alphabetic)
                && before.is_some_and(|before| matches!(before, 's' | 'f'));
            if joined {
                return None;
            }
            out.push_str(&alternatives(&cluster)?);
            at += marks + 1;
            continue;
        }
        let length = joined_length(&chars, at);
        if length > 1 {
            let part: Vec<char> = chars.iter().skip(at).take(length).copied().collect();
            let mut ways = Vec::new();
            segmented(&part, String::new(), &mut ways);
            if ways.len() > MOST / 3 {
                return None;
            }
            out.push_str(&format!("({})", ways.join("|")));
            at += length;
        } else {
            out.push_str(&letter(c));
            at += 1;
        }
    }
    Some(out)
}

/// One ASCII character in every spelling.
pub fn letter(c: char) -> String {
    let (low, high) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
    let plain =
        if c.is_ascii_alphabetic() { format!("[{low}{high}]") } else { escaped(c.encode_utf8(&mut [0; 4])) };
    match SINGLE.iter().find(|(known, _)| *known == low) {
        Some((_, other)) => format!("({plain}|{other})"),
        None => plain,
    }
}

/// Whether a ligature could hold the beginning of a text, its other half standing before it.
pub fn may_begin_inside_a_ligature(text: &str) -> bool {
    text.starts_with(|c: char| matches!(c.to_ascii_lowercase(), 's' | 'f' | 'i' | 'l' | 't'))
}

/// Whether a ligature could hold the end of a text.
pub fn may_end_inside_a_ligature(text: &str) -> bool {
    text.ends_with(|c: char| matches!(c.to_ascii_lowercase(), 's' | 'f'))
}

/// How many characters from here on are joined by ligatures that overlap; 1 where there is none.
fn joined_length(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    let mut from = at;
    while from < end {
        for (plain, _) in LIGATURES {
            if starts(chars, from, plain) {
                end = end.max(from + plain.len());
            }
        }
        from += 1;
    }
    end - at
}

fn starts(chars: &[char], at: usize, plain: &str) -> bool {
    plain.chars().enumerate().all(|(offset, c)| chars.get(at + offset) == Some(&c))
        && chars.get(at + plain.len()).is_none_or(|next| canonical_combining_class(*next) == 0)
}

/// Every way to write joined letters, with ligatures or without.
fn segmented(part: &[char], before: String, ways: &mut Vec<String>) {
    let Some(first) = part.first() else {
        ways.push(before);
        return;
    };
    if ways.len() > MOST {
        return;
    }
    segmented(part.get(1..).unwrap_or(&[]), format!("{before}{}", letter(*first)), ways);
    for (plain, others) in LIGATURES {
        if starts(part, 0, plain) {
            let others =
                if let [one] = others { (*one).to_owned() } else { format!("({})", others.join("|")) };
            segmented(part.get(plain.len()..).unwrap_or(&[]), format!("{before}{others}"), ways);
        }
    }
}

/// A character, and what it folds to.
type Folding = (char, Vec<char>);

/// For each character, those that fold to it or to several with it in them. Made when the first name with a
/// character outside ASCII is closed; most policies have none.
static FOLDING_TO: LazyLock<BTreeMap<char, Vec<Folding>>> = LazyLock::new(|| {
    let mut known: BTreeMap<char, Vec<Folding>> = BTreeMap::new();
    // Beyond the second plane only compatibility ideographs fold to anything but themselves.
    for c in ('\0'..'\u{20000}').chain('\u{2f800}'..'\u{2fa20}') {
        let folded = fold::decomposed(c.encode_utf8(&mut [0; 4]).as_bytes());
        let folded: Vec<char> = String::from_utf8_lossy(&folded).chars().collect();
        for to in folded.iter().copied().collect::<BTreeSet<char>>() {
            known.entry(to).or_default().push((c, folded.clone()));
        }
    }
    known
});

/// Every string that folds to a cluster with characters outside ASCII.
fn alternatives(cluster: &str) -> Option<String> {
    let target: Vec<char> = String::from_utf8(fold::decomposed(cluster.as_bytes())).ok()?.chars().collect();
    let near: BTreeSet<&Folding> = target.iter().filter_map(|c| FOLDING_TO.get(c)).flatten().collect();
    let parts: Vec<Folding> =
        near.into_iter().filter(|(_, folded)| folded.iter().all(|c| target.contains(c))).cloned().collect();
    let mut found = BTreeSet::new();
    spell(&target, &parts, (String::new(), Vec::new()), &mut found);
    if found.len() > MOST {
        return None;
    }
    let ways: Vec<String> = found.iter().map(|way| escaped(way)).collect();
    Some(format!("({})", ways.join("|")))
}

fn spell(
    target: &[char],
    parts: &[Folding],
    (text, folded): (String, Vec<char>),
    found: &mut BTreeSet<String>,
) {
    if found.len() > MOST || folded.len() > target.len() {
        return;
    }
    if folded.len() == target.len() {
        if folded.iter().collect::<String>().nfd().eq(target.iter().copied()) {
            found.insert(text);
        }
        return;
    }
    for (c, adds) in parts {
        let longer = (format!("{text}{c}"), folded.iter().chain(adds).copied().collect());
        spell(target, parts, longer, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character that folds to ASCII letters is in one of the tables.
    #[test]
    fn the_tables_hold_every_character_that_folds_to_ascii() {
        let mut single = BTreeSet::new();
        let mut several = BTreeSet::new();
        for c in ('\u{80}'..=char::MAX).filter(|c| *c != '\u{0}') {
            let folded = fold::composed(c.encode_utf8(&mut [0; 4]).as_bytes());
            if folded.is_ascii() {
                let folded = String::from_utf8(folded).unwrap();
                if folded.len() == 1 {
                    single.insert((folded, c))
                } else {
                    several.insert((folded, c))
                };
            }
        }
        let known: BTreeSet<(String, char)> =
            SINGLE.iter().map(|(to, from)| (to.to_string(), from.chars().next().unwrap())).collect();
        assert_eq!(single, known);
        let known: BTreeSet<(String, char)> = LIGATURES
            .iter()
            .flat_map(|(to, from)| from.iter().map(|c| (to.to_string(), c.chars().next().unwrap())))
            .collect();
        assert_eq!(several, known);
    }

    #[test]
    fn spellings_are_written_out() {
        assert_eq!(every_spelling(".env").unwrap(), "\\.[eE][nN][vV]");
        assert_eq!(every_spelling("kg").unwrap(), "([kK]|\u{212a})[gG]");
        assert_eq!(every_spelling("ß").unwrap(), "(([sS]|\u{17f})([sS]|\u{17f})|(\u{df}|\u{1e9e}))");
        let accented = every_spelling("é").unwrap();
        assert_eq!(accented, every_spelling("E\u{301}").unwrap());
        for spelling in ["é", "É", "e\u{301}", "E\u{301}"] {
            assert!(accented.contains(spelling), "{accented}");
        }
        assert_eq!(every_spelling(&"s".repeat(40)), None);
    }
}
