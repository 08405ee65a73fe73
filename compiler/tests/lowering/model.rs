//! What a plan means: its mounts and Landlock rules, evaluated over a file tree.

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::{Entry, FileFacts, Files};
use fence_compiler::plan::{Executing, LinuxPlan, MaskKind, Mount, TreeKind, Writing};
use fence_compiler::policy::PathAction;

/// What stands at a path inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Missing,
    /// A directory of fence's own, on ground where things can be made by the plan.
    Own,
    /// Something masked.
    Masked,
    /// A file system of the kernel or of this run.
    Fixed,
    Link(Vec<u8>),
    Host {
        entry: Entry,
        writing: Writing,
        executing: Executing,
    },
}

pub struct Model<'a> {
    plan: &'a LinuxPlan,
    files: FileFacts,
    holder: Holder,
}

/// What holds files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Mounts and Landlock.
    Both,
    /// Mounts alone, as with bubblewrap.
    Mounts,
    /// Landlock alone.
    Landlock,
}

impl<'a> Model<'a> {
    /// Checks on the way that every step can be carried out.
    pub fn new(plan: &'a LinuxPlan, files: &FileFacts) -> Model<'a> {
        Model::held_by(Holder::Both, plan, files)
    }

    /// The same where only one of both holds.
    pub fn held_by(holder: Holder, plan: &'a LinuxPlan, files: &FileFacts) -> Model<'a> {
        let mut model = Model { plan, files: files.clone(), holder };
        assert_eq!(plan.mounts.is_empty(), holder == Holder::Landlock);
        assert!(holder != Holder::Mounts || plan.landlock.rules.is_empty());
        for (number, mount) in plan.mounts.iter().enumerate() {
            model.check(number, mount);
        }
        for rule in &plan.landlock.rules {
            if holder == Holder::Landlock && rule.device {
                continue;
            }
            let seen = model.seen(plan.mounts.len(), &rule.path);
            assert!(
                matches!(
                    seen,
                    Seen::Host { ref entry, .. } if !matches!(entry, Entry::Missing | Entry::Link(_))
                ) || seen == Seen::Fixed,
                "{rule:?} stands on {seen:?} in {plan:#?}"
            );
        }
        model
    }

    fn check(&mut self, number: usize, mount: &Mount) {
        let at = mount.at();
        let before = self.seen(number, at);
        let above = at.parent().map(|parent| self.seen(number, &parent));
        let can_be_made = at.is_root() || before == Seen::Missing && self.is_own(number, above.as_ref());
        let fits = match mount {
            Mount::Directory { .. } | Mount::Link { .. } => can_be_made,
            Mount::Tree { source, kind, .. } => {
                assert_eq!(source, at);
                let host = self.files.entry(source);
                assert_eq!(*kind == TreeKind::Directory, host == Entry::Directory, "{mount:?}");
                assert!(!matches!(host, Entry::Missing | Entry::Link(_)), "{mount:?} of {host:?}");
                can_be_made
                    || matches!(&before, Seen::Host { entry, .. } if *entry == host)
                    || before == Seen::Own
            }
            Mount::Mask { kind, .. } => {
                matches!(&before, Seen::Host { entry, .. }
                    if (*entry == Entry::Directory) == (*kind != MaskKind::File) && !matches!(entry, Entry::Link(_)))
            }
            Mount::Pin { .. } => {
                assert!(
                    !self.plan.mounts[..number].iter().any(|earlier| earlier.at().is_within(at)),
                    "{mount:?} covers an earlier step in {:#?}",
                    self.plan.mounts
                );
                matches!(&before, Seen::Host { entry: Entry::Directory, writing: Writing::Allowed, .. })
            }
            Mount::Layer { .. } | Mount::Overlaid { .. } | Mount::Copy { .. } => {
                panic!("{mount:?}: nothing was asked to be under a layer")
            }
            Mount::Names { .. } => {
                can_be_made
                    || matches!(before, Seen::Host { entry: Entry::File, .. })
                    || before == Seen::Missing
            }
            Mount::Proc { .. } | Mount::Dev { .. } | Mount::Private { .. } => {
                can_be_made || matches!(before, Seen::Host { entry: Entry::Directory, .. })
            }
        };
        assert!(fits, "{mount:?} at {before:?} below {above:?} in {:#?}", self.plan.mounts);
    }

    fn is_own(&self, _number: usize, above: Option<&Seen>) -> bool {
        matches!(above, Some(Seen::Own | Seen::Fixed))
    }

    /// What stands at a path after the first `number` steps; no component above is a link.
    fn seen(&mut self, number: usize, path: &AbsolutePath) -> Seen {
        if self.holder == Holder::Landlock {
            let (writing, executing) = (Writing::Allowed, Executing::Allowed);
            return match self.files.entry(path) {
                Entry::Missing => Seen::Missing,
                Entry::Link(text) => Seen::Link(text.bytes()),
                entry => Seen::Host { entry, writing, executing },
            };
        }
        let steps = &self.plan.mounts[..number];
        let ground = steps.iter().enumerate().rfind(|(_, mount)| {
            path.is_within(mount.at())
                && !matches!(mount, Mount::Directory { .. } | Mount::Link { .. } | Mount::Pin { .. })
        });
        match ground {
            Some((_, Mount::Tree { writing, executing, .. })) => match self.files.entry(path) {
                Entry::Missing => Seen::Missing,
                Entry::Link(text) => Seen::Link(text.bytes()),
                entry => Seen::Host { entry, writing: *writing, executing: *executing },
            },
            Some((_, Mount::Mask { at, kind, .. })) if *kind != MaskKind::Passage => {
                if at == path {
                    Seen::Masked
                } else {
                    Seen::Missing
                }
            }
            Some((_, Mount::Proc { .. } | Mount::Dev { .. })) => Seen::Fixed,
            Some((_, Mount::Private { at, .. } | Mount::Names { at, .. })) if at == path => Seen::Fixed,
            Some((_, Mount::Mask { at, .. })) if at == path => Seen::Own,
            ground => {
                let from = ground.map_or(0, |(number, _)| number);
                if path.is_root() {
                    return Seen::Own;
                }
                steps[from..]
                    .iter()
                    .find_map(|mount| match mount {
                        Mount::Directory { at, .. } if at == path => Some(Seen::Own),
                        Mount::Link { at, target } if at == path => Some(Seen::Link(target.bytes())),
                        _ => None,
                    })
                    .unwrap_or(Seen::Missing)
            }
        }
    }

    /// Follows a path inside, as a program would.
    pub fn resolve(&mut self, path: &AbsolutePath) -> Option<(AbsolutePath, Seen)> {
        let mut ahead: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = AbsolutePath::root();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or_else(AbsolutePath::root);
                    continue;
                }
                _ => {}
            }
            let next = at.join(&name);
            match self.seen(self.plan.mounts.len(), &next) {
                Seen::Missing => return None,
                Seen::Link(text) => {
                    links += 1;
                    if links > 40 {
                        return None;
                    }
                    if text.first() == Some(&b'/') {
                        at = AbsolutePath::root();
                    }
                    ahead.extend(text.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
        let seen = self.seen(self.plan.mounts.len(), &at);
        Some((at, seen))
    }

    /// Whether the kernel would let a program do this.
    pub fn allows(&mut self, action: PathAction, path: &AbsolutePath) -> bool {
        let Some((object, Seen::Host { writing, executing, .. })) = self.resolve(path) else { return false };
        let granted = |right: fn(&fence_compiler::plan::LandlockRule) -> bool| {
            self.holder == Holder::Mounts
                || self.plan.landlock.rules.iter().any(|rule| object.is_within(&rule.path) && right(rule))
        };
        let read = granted(|rule| rule.read);
        match action {
            PathAction::Read => read,
            PathAction::Write => writing == Writing::Allowed && granted(|rule| rule.write),
            PathAction::Exec => executing == Executing::Allowed && granted(|rule| rule.execute) && read,
            PathAction::Socket | PathAction::Device => panic!("{action:?} is not about the tree"),
        }
    }
}
