//! The operations of one release of macOS: which falls back to which, and what holds where nothing is said.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What holds for an operation that falls back to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    Allow,
    Deny,
}

/// A versioned table.
pub struct Table {
    rows: BTreeMap<&'static str, Row>,
}

struct Row {
    parent: Option<&'static str>,
    built_in: Option<BuiltIn>,
}

/// The operations of macOS 10.15.
pub fn catalina() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(read);
    &TABLE
}

fn read() -> Table {
    let mut rows = BTreeMap::new();
    for line in include_str!("operations-10.15.tsv").lines() {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let [operation, parent, built_in, _] = cells[..] else { continue };
        if operation == "operation" {
            continue;
        }
        let built_in = match built_in {
            "allow" => Some(BuiltIn::Allow),
            "deny" => Some(BuiltIn::Deny),
            _ => None,
        };
        rows.insert(operation, Row { parent: (parent != "-").then_some(parent), built_in });
    }
    Table { rows }
}

impl Table {
    /// The operation, what it falls back to, and so on.
    pub fn chain(&self, operation: &str) -> Vec<&'static str> {
        let mut chain = Vec::new();
        let mut next = self.rows.get_key_value(operation);
        while let Some((name, row)) = next {
            chain.push(*name);
            next = row.parent.and_then(|parent| self.rows.get_key_value(parent));
        }
        chain
    }

    /// What holds where no rule of the chain matches.
    pub fn built_in(&self, operation: &str) -> BuiltIn {
        let chain = self.chain(operation);
        let last = chain.last().and_then(|last| self.rows.get(last));
        last.and_then(|row| row.built_in).unwrap_or(BuiltIn::Deny)
    }

    /// An operation, if there is one of that name.
    pub fn name(&self, operation: &str) -> Option<&'static str> {
        self.rows.get_key_value(operation).map(|(name, _)| *name)
    }

    pub fn has(&self, operation: &str) -> bool {
        self.rows.contains_key(operation)
    }
}

#[test]
fn every_operation_leads_to_one_with_a_built_in_default() {
    let table = catalina();
    assert!(table.rows.len() > 130);
    for (operation, row) in &table.rows {
        assert_eq!(row.parent.is_none(), row.built_in.is_some(), "{operation}");
        assert!(row.parent.is_none_or(|parent| table.has(parent)), "{operation}");
    }
    assert_eq!(table.chain("file-read-data"), ["file-read-data", "file-read*", "file*", "default"]);
    assert_eq!(table.built_in("process-info-pidinfo"), BuiltIn::Allow);
}
