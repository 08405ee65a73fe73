//! The grammar's errors as findings.

use fence_grammar::SyntaxErrorKind;

use super::findings::{Findings, place};
use super::graph::Graph;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Stray;

/// Tells every error in the shape of a text, and every statement that may not stand where it stands.
pub(super) fn report(graph: &Graph, findings: &mut Findings) {
    for unit in &graph.units {
        for error in &unit.errors {
            let mut found =
                Diagnostic::new(code(error.kind), error.message.clone()).at(place(unit.source, error.span));
            found.label = error.label.clone();
            found.help.extend(error.help.clone());
            if let Some((span, text)) = &error.repair {
                found = found.repair(place(unit.source, *span), text.clone());
            }
            findings.push(found);
        }
        for stray in &unit.document.strays {
            findings.push(match *stray {
                Stray::VersionNotFirst(span) => {
                    Diagnostic::new(Code::MisplacedStatement, "the version stands first in a policy")
                        .at(place(unit.source, span))
                        .help("move `fence 1` to the first line")
                }
                Stray::SecondPolicy { span, first } => Diagnostic::new(
                    Code::SecondPolicy,
                    "a policy has one name, and here is a second `policy`",
                )
                .at(place(unit.source, span))
                .related(place(unit.source, first), "the first one is here")
                .help("leave one of them out"),
            });
        }
        if let Some(version) = unit.document.fence.as_ref().filter(|version| version.node != 1) {
            findings.push(
                Diagnostic::new(
                    Code::UnknownVersion,
                    format!("this release knows version 1 of the language, not version {}", version.node),
                )
                .at(place(unit.source, version.span))
                .help("take a newer release of fence, or write `fence 1`"),
            );
        }
    }
}

/// The code of a kind of syntax error.
pub(super) fn code(kind: SyntaxErrorKind) -> Code {
    match kind {
        SyntaxErrorKind::ForbiddenCharacter => Code::ForbiddenCharacter,
        SyntaxErrorKind::UnclosedString => Code::UnclosedString,
        SyntaxErrorKind::BadEscape => Code::BadEscape,
        SyntaxErrorKind::MissingQuotes => Code::MissingQuotes,
        SyntaxErrorKind::UnknownStatement => Code::UnknownStatement,
        SyntaxErrorKind::UnknownAction => Code::UnknownAction,
        SyntaxErrorKind::CombinedActions => Code::CombinedActions,
        SyntaxErrorKind::UnknownClause => Code::UnknownClause,
        SyntaxErrorKind::MisplacedClause => Code::MisplacedClause,
        SyntaxErrorKind::RepeatedClause => Code::RepeatedClause,
        SyntaxErrorKind::MissingItem => Code::MissingItem,
        SyntaxErrorKind::MissingComma => Code::MissingComma,
        SyntaxErrorKind::ExtraComma => Code::ExtraComma,
        SyntaxErrorKind::MissingReason => Code::MissingReason,
        SyntaxErrorKind::InvalidName => Code::InvalidName,
        SyntaxErrorKind::UnknownWord => Code::UnknownWord,
        SyntaxErrorKind::IncompleteStatement => Code::IncompleteStatement,
        SyntaxErrorKind::UnexpectedText => Code::UnexpectedText,
        SyntaxErrorKind::UnbalancedBlock => Code::UnbalancedBlock,
        SyntaxErrorKind::MisplacedStatement => Code::MisplacedStatement,
        SyntaxErrorKind::UnknownVersion => Code::UnknownVersion,
        SyntaxErrorKind::TooManyErrors => Code::TooManyErrors,
        SyntaxErrorKind::NotData => Code::NotData,
        SyntaxErrorKind::ForeignFeature => Code::ForeignFeature,
        SyntaxErrorKind::DuplicateKey => Code::DuplicateKey,
        SyntaxErrorKind::UnknownKey => Code::UnknownKey,
        SyntaxErrorKind::WrongShape => Code::WrongShape,
        SyntaxErrorKind::QuotesNeeded => Code::QuotesNeeded,
    }
}
