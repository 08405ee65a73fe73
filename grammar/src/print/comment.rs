//! Comments: where they stand in a text, and which part of it each is about.

use std::collections::BTreeMap;

use super::Spacing;
use crate::Span;
use crate::characters::comment_places;

/// A comment of a text, in whichever form the text is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// What stands behind the `#`, without the blanks at its end.
    pub text: String,
    /// Where it stands, the `#` included.
    pub span: Span,
    /// What stands before it in its line.
    pub stands: Stands,
}

/// What stands before a comment in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing: it is about what follows.
    Alone,
    /// Something, which it is about.
    Behind,
}

impl Comment {
    /// The comment at a place of a text.
    #[must_use]
    pub fn at(text: &str, span: Span) -> Comment {
        let written = text.get(span.range()).unwrap_or_default();
        let line = text.get(..span.start as usize).unwrap_or_default();
        let before = line.rsplit('\n').next().unwrap_or_default();
        let stands = if before.trim().is_empty() { Stands::Alone } else { Stands::Behind };
        let text = written.strip_prefix('#').unwrap_or(written).trim_end().to_owned();
        Comment { text, span, stands }
    }
}

/// The comments of a `.fence` text that has no error, in their order.
#[must_use]
pub fn comments(text: &str) -> Vec<Comment> {
    comment_places(text).into_iter().map(|span| Comment::at(text, span)).collect()
}

/// Comments by the part of the text that each is about.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// Those that stand before a part.
    before: BTreeMap<Span, Vec<String>>,
    /// Those that stand behind it in its line.
    behind: BTreeMap<Span, Vec<String>>,
    /// Those behind every part.
    pub last: Vec<(Span, String)>,
    /// The place of each part's first comment, to see where the lines were apart.
    first: BTreeMap<Span, Span>,
}

impl Attached {
    /// Finds for each comment the part that it is about: of those that begin behind it at one place the largest, and
    /// of those that end before it the largest where braces end blocks, else the smallest.
    #[must_use]
    pub fn to(text: &str, comments: Vec<Comment>, mut parts: Vec<Span>, form: Spacing) -> Attached {
        let mut attached = Attached::default();
        parts.retain(|part| *part != Span::NONE);
        parts.sort_by_key(|part| (part.start, std::cmp::Reverse(part.end)));
        parts.dedup();
        let mut by_end = parts.clone();
        match form {
            Spacing::Kept => by_end.sort_by_key(|part| (part.end, std::cmp::Reverse(part.start))),
            Spacing::Added => by_end.sort_by_key(|part| (part.end, part.start)),
        }
        for comment in comments {
            let before = by_end.partition_point(|part| part.end <= comment.span.start);
            let behind = before.checked_sub(1).and_then(|at| by_end.get(at)).filter(|part| {
                let between = text.get(part.end as usize..comment.span.start as usize);
                comment.stands == Stands::Behind && between.is_some_and(|between| !between.contains('\n'))
            });
            if let Some(part) = behind {
                attached.behind.entry(*part).or_default().push(comment.text);
                continue;
            }
            let next = parts.partition_point(|part| part.start < comment.span.end);
            match parts.get(next) {
                Some(part) => {
                    attached.first.entry(*part).or_insert(comment.span);
                    attached.before.entry(*part).or_default().push(comment.text);
                }
                None => attached.last.push((comment.span, comment.text)),
            }
        }
        attached
    }

    /// Takes those that stand before a part.
    pub fn take_before(&mut self, part: Span) -> Vec<String> {
        self.before.remove(&part).unwrap_or_default()
    }

    /// Takes those that stand behind a part.
    pub fn take_behind(&mut self, part: Span) -> Vec<String> {
        self.behind.remove(&part).unwrap_or_default()
    }

    /// Puts comments behind a part, in front of those that stand there.
    pub fn add_behind(&mut self, part: Span, mut comments: Vec<String>) {
        if !comments.is_empty() {
            let there = self.behind.entry(part).or_default();
            comments.append(there);
            *there = comments;
        }
    }

    /// Where a part begins with the comments before it.
    #[must_use]
    pub fn start(&self, part: Span) -> u32 {
        self.first.get(&part).map_or(part.start, |first| first.start)
    }
}

/// Whether the line before the one that holds a place is empty.
#[must_use]
pub fn stands_apart(text: &str, at: u32) -> bool {
    let before = text.get(..at as usize).unwrap_or_default();
    let Some((above, _)) = before.rsplit_once('\n') else { return false };
    above.rsplit('\n').next().is_some_and(|line| line.trim().is_empty()) && !above.trim().is_empty()
}
