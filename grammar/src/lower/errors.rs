//! The errors of one text, told once each.

use std::ops::Range;

use crate::Span;
use crate::characters::Cleaned;
use crate::error::{SyntaxError, SyntaxErrorKind};

/// So many errors are told one by one.
const MOST_ERRORS: usize = 1_000;

/// Collects errors in the order of the text.
pub(super) struct Errors<'t> {
    told: Vec<SyntaxError>,
    /// Every mistake seen, also those that are not told.
    flaws: usize,
    /// The first error beyond the limit, and how many there are.
    more: Option<(Span, usize)>,
    text: &'t str,
    forbidden: &'t [Range<usize>],
}

impl<'t> Errors<'t> {
    pub(super) fn new(cleaned: &'t Cleaned<'_>) -> Errors<'t> {
        Errors { told: Vec::new(), flaws: 0, more: None, text: &cleaned.text, forbidden: &cleaned.places }
    }

    /// How many mistakes were seen so far.
    pub(super) fn flaws(&self) -> usize {
        self.flaws
    }

    /// Adds an error. One that a forbidden character brought about is not told beside that character's own.
    pub(super) fn push(&mut self, error: SyntaxError) {
        self.flaws += 1;
        if self.touches_forbidden(error.span) {
            return;
        }
        if self.told.len() < MOST_ERRORS {
            self.told.push(error);
            return;
        }
        let (_, count) = self.more.get_or_insert((error.span, 0));
        *count += 1;
    }

    /// The errors to tell.
    pub(super) fn told(self) -> Vec<SyntaxError> {
        let mut told = self.told;
        if let Some((first, count)) = self.more {
            let message = match count {
                1 => "one more mistake follows".to_owned(),
                count => format!("{count} more mistakes follow"),
            };
            told.push(SyntaxError::new(SyntaxErrorKind::TooManyErrors, first, message));
        }
        told
    }

    /// Whether a forbidden character stands in a place, or next to it with blanks between.
    fn touches_forbidden(&self, place: Span) -> bool {
        if self.forbidden.is_empty() {
            return false;
        }
        let Range { start, end } = place.range();
        let blank = |c: char| c == ' ' || c == '\t';
        let before = self.text.get(..start).map_or(start, |text| text.trim_end_matches(blank).len());
        let after = self.text.get(end..).map_or(0, |text| text.len() - text.trim_start_matches(blank).len());
        let first = self.forbidden.partition_point(|range| range.end < before);
        self.forbidden.get(first).is_some_and(|range| range.start <= end + after)
    }
}
