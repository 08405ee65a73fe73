//! Which rules cover the place that a walk through the file tree has come to.

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

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions(u8);

impl Actions {
    /// Adds one.
    pub(super) fn insert(&mut self, action: PathAction) {
        self.0 |= 1 << action as u8;
    }

    /// Whether an action is among them.
    pub(super) fn contains(self, action: PathAction) -> bool {
        self.0 & 1 << action as u8 != 0
    }

    /// Those that a file tree is made for.
    pub(super) fn in_tree(self) -> impl Iterator<Item = PathAction> {
        ACTIONS.into_iter().filter(move |action| self.contains(*action))
    }
}

impl FromIterator<PathAction> for Actions {
    fn from_iter<I: IntoIterator<Item = PathAction>>(actions: I) -> Actions {
        let mut all = Actions::default();
        actions.into_iter().for_each(|action| all.insert(action));
        all
    }
}

/// What a rule, or fence itself, does about files.
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// Whether it opens or closes.
    pub effect: Effect,
    /// What it is about.
    pub actions: Actions,
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
    opening: Covering,
    closing: Covering,
    /// What was changed on the way here.
    changed: Vec<Change>,
}

/// The parties of one kind that cover a place.
#[derive(Default)]
struct Covering {
    /// Sorted.
    parties: Vec<usize>,
    /// How many there are for each action.
    counts: [u32; ACTIONS.len()],
}

/// A party that began or ceased to cover a place.
struct Change {
    party: usize,
    before: Presence,
}

/// How to go back to the place above.
#[derive(Clone, Copy)]
pub(super) struct Undo(usize);

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
            opening: Covering::default(),
            closing: Covering::default(),
            changed: Vec::new(),
        }
    }

    /// Goes down to a place at which these claims begin.
    pub(super) fn enter(&mut self, claims: impl Iterator<Item = (usize, Side)> + Clone) -> Undo {
        let undo = Undo(self.changed.len());
        for (party, side) in claims.clone() {
            if let Some(count) = self.count(party, side) {
                *count += 1;
            }
        }
        for (party, _) in claims {
            let now = if self.covers(party) { Presence::In } else { Presence::Out };
            self.renew(party, now);
        }
        undo
    }

    /// Takes away what opens here: it is not about what lies below.
    pub(super) fn forget_openings(&mut self) {
        for party in self.opening.parties.clone() {
            self.renew(party, Presence::Out);
        }
    }

    /// Goes back up, with the claims that began here.
    pub(super) fn leave(&mut self, undo: Undo, claims: impl Iterator<Item = (usize, Side)>) {
        while self.changed.len() > undo.0
            && let Some(Change { party, before }) = self.changed.pop()
        {
            self.put(party, before);
        }
        for (party, side) in claims {
            if let Some(count) = self.count(party, side) {
                *count -= 1;
            }
        }
    }

    /// What is effective here.
    pub(super) fn rights(&self) -> Rights {
        let (open, closed) = (self.opening.rights(), self.closing.rights());
        Rights {
            read: open.read && !closed.read,
            write: open.write && !closed.write,
            exec: open.exec && !closed.exec,
            socket: open.socket && !closed.socket,
        }
    }

    /// What some rule allows here, closed or not.
    pub(super) fn open(&self) -> Rights {
        self.opening.rights()
    }

    /// What some rule closes here.
    pub(super) fn closed(&self) -> Rights {
        self.closing.rights()
    }

    /// The parties that open something here, sorted.
    pub(super) fn opening(&self) -> &[usize] {
        &self.opening.parties
    }

    /// The parties that close something here, sorted.
    pub(super) fn closing(&self) -> &[usize] {
        &self.closing.parties
    }

    fn count(&mut self, party: usize, side: Side) -> Option<&mut u32> {
        match side {
            Side::Item => self.items.get_mut(party),
            Side::Except => self.excepts.get_mut(party),
        }
    }

    /// Whether a party covers this place.
    fn covers(&self, party: usize) -> bool {
        self.items.get(party).is_some_and(|count| *count > 0)
            && self.excepts.get(party).is_some_and(|count| *count == 0)
    }

    fn renew(&mut self, party: usize, now: Presence) {
        if self.put(party, now) == Changed::Yes {
            let before = if now == Presence::In { Presence::Out } else { Presence::In };
            self.changed.push(Change { party, before });
        }
    }

    fn put(&mut self, party: usize, now: Presence) -> Changed {
        let Some(what) = self.parties.get(party) else { return Changed::No };
        let covering = match what.effect {
            Effect::Allow => &mut self.opening,
            Effect::Deny | Effect::Never => &mut self.closing,
        };
        covering.put(party, what.actions, now)
    }
}

#[derive(PartialEq, Eq)]
enum Changed {
    Yes,
    No,
}

impl Covering {
    fn rights(&self) -> Rights {
        let [read, write, exec, socket] = self.counts.map(|count| count > 0);
        Rights { read, write, exec, socket }
    }

    fn put(&mut self, party: usize, actions: Actions, now: Presence) -> Changed {
        let place = self.parties.binary_search(&party);
        match (place, now) {
            (Ok(at), Presence::Out) => {
                self.parties.remove(at);
            }
            (Err(at), Presence::In) if actions.in_tree().next().is_some() => self.parties.insert(at, party),
            _ => return Changed::No,
        }
        for (count, action) in self.counts.iter_mut().zip(ACTIONS) {
            match now {
                Presence::In if actions.contains(action) => *count += 1,
                Presence::Out if actions.contains(action) => *count -= 1,
                _ => {}
            }
        }
        Changed::Yes
    }
}
