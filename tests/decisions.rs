//! The table of decisions: a policy, a world, questions, and what each is answered by.
//!
//! The rows are data below `tests/decisions/`; `README.md` there says how they are written.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, reason = "the rows are files")]

#[path = "decisions/table.rs"]
mod table;

use fence_compiler::question::{Reason, Verdict};
use table::{By, Case, Row};

fn answer(case: &Case, row: &Row) -> Result<(), String> {
    let decision = fence_compiler::decide::decide(&case.policy, &case.world, &row.question);
    let by = match &decision.reason {
        Reason::Rules(rules) => {
            By::Lines(rules.iter().map(|id| case.policy.rules[id.0 as usize].written.line).collect())
        }
        Reason::NothingAllows => By::Nothing,
        Reason::AlwaysClosed(_) => By::Closed,
        Reason::AlwaysOpen(_) => By::Open,
    };
    let indexed = fence_compiler::index::Index::new(&case.policy).decide(&case.world, &row.question);
    if indexed != decision {
        return Err(format!("{}: {}: the index says {indexed:?}, not {decision:?}", case.name, row.text));
    }
    if let Some(assumes) = &case.assumes
        && *assumes != decision.assumptions
    {
        return Err(format!("{}: {}: assumes {:?}", case.name, row.text, decision.assumptions));
    }
    let verdict = decision.verdict == Verdict::Allowed;
    if verdict == row.allowed && by == row.by {
        Ok(())
    } else {
        Err(format!("{}: {}: {:?} by {by:?}", case.name, row.text, decision.verdict))
    }
}

#[test]
fn every_row_is_answered_as_written() {
    let cases = table::load();
    let wrong: Vec<String> = cases
        .iter()
        .flat_map(|case| case.rows.iter().filter_map(move |row| answer(case, row).err()))
        .collect();
    let rows: usize = cases.iter().map(|case| case.rows.len()).sum();
    assert!(wrong.is_empty(), "{} of {rows} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows >= 150, "only {rows} rows");
}

#[test]
fn every_action_has_rows_of_both_verdicts() {
    let cases = table::load();
    let rows: Vec<&Row> = cases.iter().flat_map(|case| &case.rows).collect();
    for action in fence_grammar::tree::Action::ALL {
        for allowed in [true, false] {
            assert!(
                rows.iter().any(|row| row.action == *action && row.allowed == allowed),
                "no row for {} {allowed}",
                action.word()
            );
        }
    }
}
