//! The characters that may not stand in a policy, because a reader cannot see them or sees them wrongly.

use std::borrow::Cow;
use std::ops::Range;

use crate::Span;
use crate::error::{SyntaxError, SyntaxErrorKind};

/// A text ready for the parser.
pub(crate) struct Cleaned<'t> {
    /// The text with each forbidden character replaced by as many bytes that do no further harm: blanks for
    /// white space, a word's character for the rest.
    pub text: Cow<'t, str>,
    /// Where forbidden characters stood, in order.
    pub places: Vec<Range<usize>>,
    /// The errors that tell of them.
    pub errors: Vec<SyntaxError>,
}

/// So many places are told one by one.
pub(crate) const MOST_PLACES: usize = 50;

/// Finds the forbidden characters of a text and replaces them.
pub(crate) fn clean(text: &str) -> Cleaned<'_> {
    if text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)) {
        return Cleaned { text: Cow::Borrowed(text), places: Vec::new(), errors: Vec::new() };
    }
    let mut places: Vec<Place> = Vec::new();
    let mut state = State::Between;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let next = characters.peek().map(|&(_, c)| c);
        let ends_line = c == '\n' || (c == '\r' && next == Some('\n'));
        let tab_in_string = c == '\t' && matches!(state, State::String | State::Escape);
        if !ends_line && (is_forbidden(c) || c == '\r' || tab_in_string) {
            match places.last_mut() {
                Some(last) if last.range.end == at && last.character == c => last.range.end += c.len_utf8(),
                _ => places.push(Place { range: at..at + c.len_utf8(), character: c, state }),
            }
        }
        state = if ends_line { State::Between } else { state.after(c) };
    }
    if places.is_empty() {
        return Cleaned { text: Cow::Borrowed(text), places: Vec::new(), errors: Vec::new() };
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut done = 0;
    for place in &places {
        cleaned.push_str(text.get(done..place.range.start).unwrap_or_default());
        cleaned.extend(std::iter::repeat_n(
            if is_blank(place.character) { ' ' } else { '_' },
            place.range.len(),
        ));
        done = place.range.end;
    }
    cleaned.push_str(text.get(done..).unwrap_or_default());
    let errors = errors(&places);
    let places = places.into_iter().map(|place| place.range).collect();
    Cleaned { text: Cow::Owned(cleaned), places, errors }
}

/// Whether a character may stand nowhere in a policy. A carriage return is judged by what follows it, a tab by
/// where it stands.
pub(crate) fn is_forbidden(c: char) -> bool {
    if matches!(c, ' ' | '\t' | '\n' | '\r') {
        return false;
    }
    c.is_control() || c.is_whitespace() || is_invisible(c)
}

/// Where the comments of a text stand, each from its `#` to the end of its line.
pub(crate) fn comment_places(text: &str) -> Vec<Span> {
    let mut places = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let mut state = State::Between;
        for (at, c) in line.char_indices() {
            let next = state.after(c);
            if next == State::Comment {
                let end = line.trim_end_matches(['\n', '\r']).len();
                places.push(Span::new(offset + at..offset + end.max(at + 1)));
                break;
            }
            state = next;
        }
        offset += line.len();
    }
    places
}

/// What a character is called that may stand nowhere in a policy, in whichever form it is written; `at` is its
/// offset in the text. `None`: it may stand there.
#[must_use]
pub fn forbidden(c: char, at: usize) -> Option<&'static str> {
    is_forbidden(c).then(|| description(c, at))
}

/// One run of one forbidden character.
struct Place {
    range: Range<usize>,
    character: char,
    state: State,
}

/// Where in a line a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Where a token may begin.
    Between,
    /// In a word.
    Word,
    /// In a string.
    String,
    /// Behind a backslash in a string.
    Escape,
    /// In a comment.
    Comment,
}

impl State {
    fn after(self, c: char) -> State {
        match (self, c) {
            (State::Comment, _) => State::Comment,
            (State::Escape, _) => State::String,
            (State::String, '\\') => State::Escape,
            (State::String, '"') => State::Between,
            (State::String, _) => State::String,
            (_, '"') => State::String,
            (State::Between, '#') => State::Comment,
            (_, ' ' | '\t' | ',' | '{' | '}') => State::Between,
            (state, c) if is_blank(c) => {
                if state == State::Word {
                    State::Between
                } else {
                    state
                }
            }
            _ => State::Word,
        }
    }
}

/// Whether a reader takes it for a blank.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{115f}' | '\u{1160}')
}

/// Characters without a shape of their own: Unicode's default-ignorable code points, its other invisible format
/// characters, and the blank Braille pattern.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn errors(places: &[Place]) -> Vec<SyntaxError> {
    let mut errors: Vec<SyntaxError> = places.iter().take(MOST_PLACES).map(error).collect();
    if let Some(first) = places.get(MOST_PLACES) {
        let more = places.len() - MOST_PLACES;
        let message = match more {
            1 => "one more place has a character that may not stand in a policy".to_owned(),
            more => format!("{more} more places have characters that may not stand in a policy"),
        };
        errors.push(SyntaxError::new(
            SyntaxErrorKind::ForbiddenCharacter,
            Span::new(first.range.clone()),
            message,
        ));
    }
    errors
}

fn error(place: &Place) -> SyntaxError {
    let span = Span::new(place.range.clone());
    let c = place.character;
    let code = format!("U+{:04X}", u32::from(c));
    let what = description(c, place.range.start);
    let error = SyntaxError::new(
        SyntaxErrorKind::ForbiddenCharacter,
        span,
        format!("{what} ({code}) may not stand in a policy"),
    );
    let times = place.range.len() / c.len_utf8();
    match place.state {
        State::String | State::Escape => {
            let escape = if c == '\t' { "\\t".to_owned() } else { format!("\\u{{{:x}}}", u32::from(c)) };
            error
                .help(format!("write `{escape}` if it is meant, so that a reader sees it"))
                .repair(span, escape.repeat(times))
        }
        _ if c == '\r' => error.help("end lines with a line feed, or with a carriage return and a line feed"),
        _ if is_blank(c) => error.help("write a blank").repair(span, " ".repeat(times)),
        _ => error.help("remove it; where it is meant, write it as an escape in a string").repair(span, ""),
    }
}

fn description(c: char, at: usize) -> &'static str {
    match c {
        '\u{feff}' if at == 0 => "a byte-order mark",
        '\r' => "a carriage return without a line feed",
        '\t' => "a tab in a string",
        '\u{a0}' => "a no-break space",
        '\u{ad}' => "a soft hyphen",
        '\u{200b}' => "a zero-width space",
        '\u{200c}' => "a zero-width non-joiner",
        '\u{200d}' => "a zero-width joiner",
        '\u{2028}' | '\u{2029}' | '\u{85}' => "a line end of another kind",
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            "a character that changes the direction of text"
        }
        c if c.is_whitespace() => "white space other than blank and tab",
        c if c.is_control() => "a control character",
        _ => "an invisible character",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_text_has_the_same_length_and_boundaries() {
        let text = "allow\u{a0}read \u{200b}/a \"\u{202e}x\u{1}\" # \u{feff}\r\nlet\rx";
        let cleaned = clean(text);
        assert_eq!(cleaned.text.len(), text.len());
        assert_eq!(cleaned.text, "allow  read ___/a \"___x_\" # ___\r\nlet x");
        assert_eq!(cleaned.errors.len(), 6);
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["", "allow read \"ä\" # → 漢字\r\n\tx\n", "a\\\"b", "\u{1f600}"] {
            assert!(clean(text).errors.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn many_places_are_told_in_one() {
        let text = "\u{1} ".repeat(70);
        let cleaned = clean(&text);
        assert_eq!(cleaned.errors.len(), MOST_PLACES + 1);
        assert_eq!(
            cleaned.errors.last().unwrap().message,
            "20 more places have characters that may not stand in a policy"
        );
    }
}
