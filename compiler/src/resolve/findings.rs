//! Findings, collected in any order and given out in one.

use fence_grammar::Span;

use crate::diagnostic::Diagnostic;
use crate::policy::Written;
use crate::source::{Place, SourceId, Sources};

/// Findings on their way out.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Diagnostic>,
}

impl Findings {
    /// Adds one.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// All of them, by text and place, each once.
    pub(super) fn sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list;
        list.sort_by(|a, b| {
            (a.place.is_none(), a.place, a.code, &a.message, &a.help).cmp(&(
                b.place.is_none(),
                b.place,
                b.code,
                &b.message,
                &b.help,
            ))
        });
        list.dedup_by(|a, b| (a.place, a.code, &a.message) == (b.place, b.code, &b.message));
        list
    }
}

/// A place in a text.
pub(super) fn place(source: SourceId, span: Span) -> Place {
    Place { source, span }
}

/// A place as the policy keeps it.
pub(super) fn written(sources: &Sources, source: SourceId, span: Span) -> Written {
    let line = sources.line_column(Place { source, span }).map_or(0, |(line, _)| line);
    Written { source, start: span.start, end: span.end, line }
}
