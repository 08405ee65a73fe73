//! The rulesets of Landlock: prepared by the parent, filled and entered inside.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use fence_compiler::plan::{LandlockPlan, LandlockRule};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreated, RulesetError, Scope,
};

use super::operation::{Operation, Step};
use super::tree::absolute;
use crate::host::landlock_abi;
use crate::launch::Error;

/// The two layers: the outer one holds every process inside to the files and scopes of the plan, the inner one keeps
/// the command's processes from the first.
pub(super) struct Layers {
    abi: ABI,
    files: OwnedFd,
    scopes: Option<OwnedFd>,
}

impl Layers {
    /// Makes the rulesets, still empty, with everything that this kernel can handle.
    pub(super) fn new() -> Result<Layers, Error> {
        Layers::with(BitFlags::empty())
    }

    /// The same where the network is the machine's: no process binds a port or connects TCP by itself.
    pub(super) fn alone() -> Result<Layers, Error> {
        Layers::with(AccessNet::from_all(supported()))
    }

    fn with(network: BitFlags<AccessNet>) -> Result<Layers, Error> {
        let abi = supported();
        if abi == ABI::Unsupported {
            return Err(Error::Plan(
                "this kernel has no Landlock, which the plan needs; switch it on (`lsm=landlock,…` on the kernel's command line), or see `fence doctor`"
                    .to_owned(),
            ));
        }
        let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let scopes = Scope::from_all(abi);
        let files = strict()
            .handle_access(AccessFs::from_all(abi))
            .and_then(|ruleset| if scopes.is_empty() { Ok(ruleset) } else { ruleset.scope(scopes) });
        let files = match network.is_empty() {
            true => files,
            false => files.and_then(|ruleset| ruleset.handle_access(network)),
        };
        let files = descriptor(files.and_then(Ruleset::create))?;
        let scopes = if scopes.is_empty() {
            None
        } else {
            // Every ruleset refuses to move between directories unless it handles that and a rule allows it.
            let inner = strict().handle_access(AccessFs::Refer).and_then(|ruleset| ruleset.scope(scopes));
            Some(descriptor(inner.and_then(Ruleset::create))?)
        };
        Ok(Layers { abi, files, scopes })
    }

    /// The descriptor of the inner ruleset, which outlives the closing of all others.
    pub(super) fn inner(&self) -> Option<RawFd> {
        self.scopes.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Fills the one ruleset there is with the plan's rules that still lead somewhere, and enters it.
    pub(super) fn alone_steps(
        &self,
        plan: &LandlockPlan,
        standard: &[(RawFd, BitFlags<AccessFs>)],
    ) -> Vec<Step> {
        let steps = self.outer_steps(plan, standard).into_iter();
        let inner = self.inner();
        steps
            .filter_map(|step| match step.operation {
                Operation::Allow { ruleset, .. } if Some(ruleset) == inner => None,
                Operation::Allow { ruleset, path, access, of_files } => {
                    Some(Operation::Offer { ruleset, path, access, of_files }.into())
                }
                _ => Some(step),
            })
            .collect()
    }

    /// Fills the outer ruleset with the plan's rules, and with what the standard descriptors already allow, lets the
    /// inner one refuse no move, and enters the outer one.
    pub(super) fn outer_steps(
        &self,
        plan: &LandlockPlan,
        standard: &[(RawFd, BitFlags<AccessFs>)],
    ) -> Vec<Step> {
        let ruleset = self.files.as_raw_fd();
        let of_files = AccessFs::from_file(self.abi).bits();
        let handled = AccessFs::from_all(self.abi);
        let rules = plan.rules.iter().map(|rule| Operation::Allow {
            ruleset,
            path: absolute(&rule.path),
            access: (rights(rule, self.abi) & handled).bits(),
            of_files,
        });
        let standard = standard.iter().map(|(descriptor, access)| Operation::AllowDescriptor {
            ruleset,
            descriptor: *descriptor,
            access: (*access & handled).bits(),
            of_files,
        });
        let moves = self.inner().map(|ruleset| Operation::Allow {
            ruleset,
            path: c"/".to_owned(),
            access: BitFlags::<AccessFs>::from(AccessFs::Refer).bits(),
            of_files,
        });
        rules.chain(standard).chain(moves).chain([Operation::Enter { ruleset }]).map(Step::from).collect()
    }
}

fn supported() -> ABI {
    ABI::from(i32::try_from(landlock_abi()).unwrap_or(0))
}

/// What a rule of the plan means. Device nodes are never made.
fn rights(rule: &LandlockRule, abi: ABI) -> BitFlags<AccessFs> {
    let mut rights = BitFlags::empty();
    if rule.read {
        rights |= AccessFs::ReadFile | AccessFs::ReadDir;
    }
    if rule.write {
        rights |=
            AccessFs::from_write(abi) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    }
    if rule.execute {
        rights |= AccessFs::Execute;
    }
    if rule.device {
        rights |= AccessFs::IoctlDev;
    }
    rights
}

fn descriptor(ruleset: Result<RulesetCreated, RulesetError>) -> Result<OwnedFd, Error> {
    let refused = |reason: String| Error::Step {
        attempt: "making a Landlock ruleset".to_owned(),
        reason,
        repair: "see `fence doctor` for what this kernel offers".to_owned(),
        rules: Vec::new(),
    };
    let created = ruleset.map_err(|error| refused(error.to_string()))?;
    Option::<OwnedFd>::from(created).ok_or_else(|| refused("the kernel made none".to_owned()))
}
