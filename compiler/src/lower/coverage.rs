//! Which rules cover the place that a walk through the file tree has come to.

use std::collections::BTreeSet;

use crate::plan::{Executing, Writing};
use crate::policy::{Effect, PathAction};

/// What is effective at a place: allowed by a rule, and closed by none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    /// `read`
    pub read: bool,
    /// `write`
    pub write: bool,
    /// `exec`
    pub exec: bool,
    /// `socket`
    pub socket: bool,
}

impl Rights {
    /// Whether an action is among them.
    pub(super) fn has(self, action: PathAction) -> bool {
        match action {
            PathAction::Read => self.read,
            PathAction::Write => self.write,
            PathAction::Exec => self.exec,
            PathAction::Socket => self.socket,
            PathAction::Device => false,
        }
    }

    /// How a mount has to be.
    pub(super) fn writing(self) -> Writing {
        if self.write { Writing::Allowed } else { Writing::Refused }
    }

    /// How a mount has to be.
    pub(super) fn executing(self) -> Executing {
        if self.exec { Executing::Allowed } else { Executing::Refused }
    }
}

/// The actions that a file tree is made for.
pub(super) const ACTIONS: [PathAction; 4] =
    [PathAction::Read, PathAction::Write, PathAction::Exec, PathAction::Socket];

/// What a rule, or fence itself, does about files.
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// Whether it opens or closes.
    pub effect: Effect,
    /// What it is about.
    pub actions: BTreeSet<PathAction>,
}

/// Whether an item makes a rule cover something, or keeps it from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// An item.
    Item,
    /// An item behind `except`.
    Except,
}

/// The rules that cover one place.
pub(super) struct Coverage<'a> {
    parties: &'a [Party],
    items: Vec<u32>,
    excepts: Vec<u32>,
    opening: [BTreeSet<usize>; 4],
    closing: [BTreeSet<usize>; 4],
}

/// How to go back to the place above.
pub(super) struct Undo {
    claims: Vec<(usize, Side)>,
    changed: Vec<(Effect, usize, usize, Presence)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    In,
    Out,
}

impl<'a> Coverage<'a> {
    /// Stands above everything: nothing is covered.
    pub(super) fn new(parties: &'a [Party]) -> Coverage<'a> {
        Coverage {
            parties,
            items: vec![0; parties.len()],
            excepts: vec![0; parties.len()],
            opening: Default::default(),
            closing: Default::default(),
        }
    }

    /// Goes down to a place at which these claims begin.
    pub(super) fn enter(&mut self, claims: impl Iterator<Item = (usize, Side)>) -> Undo {
        let mut undo = Undo { claims: claims.collect(), changed: Vec::new() };
        for (party, side) in &undo.claims {
            let counts = if *side == Side::Item { &mut self.items } else { &mut self.excepts };
            if let Some(count) = counts.get_mut(*party) {
                *count += 1;
            }
        }
        let touched: BTreeSet<usize> = undo.claims.iter().map(|(party, _)| *party).collect();
        for party in touched {
            self.renew(party, &mut undo);
        }
        undo
    }

    /// Takes away what opens here: it is not about what lies below.
    pub(super) fn forget_openings(&mut self, undo: &mut Undo) {
        for (index, set) in self.opening.iter_mut().enumerate() {
            for party in std::mem::take(set) {
                undo.changed.push((Effect::Allow, index, party, Presence::In));
            }
        }
    }

    /// Goes back up.
    pub(super) fn leave(&mut self, undo: Undo) {
        for (effect, index, party, before) in undo.changed.into_iter().rev() {
            let sets = if effect == Effect::Allow { &mut self.opening } else { &mut self.closing };
            if let Some(set) = sets.get_mut(index) {
                match before {
                    Presence::In => set.insert(party),
                    Presence::Out => set.remove(&party),
                };
            }
        }
        for (party, side) in undo.claims {
            let counts = if side == Side::Item { &mut self.items } else { &mut self.excepts };
            if let Some(count) = counts.get_mut(party) {
                *count -= 1;
            }
        }
    }

    /// What is effective here.
    pub(super) fn rights(&self) -> Rights {
        let has = |action| self.is_open(action) && !self.is_closed(action);
        Rights {
            read: has(PathAction::Read),
            write: has(PathAction::Write),
            exec: has(PathAction::Exec),
            socket: has(PathAction::Socket),
        }
    }

    /// Whether some rule allows the action here, closed or not.
    pub(super) fn is_open(&self, action: PathAction) -> bool {
        slot(action).and_then(|index| self.opening.get(index)).is_some_and(|set| !set.is_empty())
    }

    /// Whether some rule closes the action here.
    pub(super) fn is_closed(&self, action: PathAction) -> bool {
        !self.closing_by(action).is_empty()
    }

    /// What closes the action here.
    fn closing_by(&self, action: PathAction) -> &BTreeSet<usize> {
        const NONE: &BTreeSet<usize> = &BTreeSet::new();
        slot(action).and_then(|index| self.closing.get(index)).unwrap_or(NONE)
    }

    /// All parties that cover this place.
    pub(super) fn parties(&self) -> BTreeSet<usize> {
        self.opening.iter().chain(&self.closing).flatten().copied().collect()
    }

    /// Those of them that close.
    pub(super) fn closing_parties(&self) -> BTreeSet<usize> {
        self.closing.iter().flatten().copied().collect()
    }

    /// Whether a party covers this place.
    pub(super) fn covers(&self, party: usize) -> bool {
        self.items.get(party).is_some_and(|count| *count > 0)
            && self.excepts.get(party).is_some_and(|count| *count == 0)
    }

    fn renew(&mut self, party: usize, undo: &mut Undo) {
        let Some(what) = self.parties.get(party) else { return };
        let covers = self.covers(party);
        let (effect, sets) = match what.effect {
            Effect::Allow => (Effect::Allow, &mut self.opening),
            Effect::Deny | Effect::Never => (Effect::Deny, &mut self.closing),
        };
        for (index, action) in ACTIONS.iter().enumerate() {
            if !what.actions.contains(action) {
                continue;
            }
            let Some(set) = sets.get_mut(index) else { continue };
            let was = set.contains(&party);
            if was != covers {
                let before = if was { Presence::In } else { Presence::Out };
                if covers {
                    set.insert(party)
                } else {
                    set.remove(&party)
                };
                undo.changed.push((effect, index, party, before));
            }
        }
    }
}

fn slot(action: PathAction) -> Option<usize> {
    ACTIONS.iter().position(|known| *known == action)
}
