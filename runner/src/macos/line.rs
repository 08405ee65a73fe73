//! Lines of the system's log about what a profile refused.

use fence_compiler::policy::{Policy, RuleId};
use fence_compiler::question::{Decision, Reason, Verdict};

use crate::audit::{Event, EventSource, Told};
use crate::cli::remedy::remedy;

/// A refusal, as the system's log tells it. All of it but the rule is what the sandboxed program says of itself: it
/// is shown and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The program.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// The operation, as Seatbelt calls it.
    pub operation: String,
    /// What it was about.
    pub target: String,
    /// What refused it.
    pub by: Tagged,
}

/// What a refusal leads back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagged {
    /// A rule of the policy.
    Rule(RuleId),
    /// Nothing allows it.
    Nothing,
    /// What fence closes itself.
    Own,
    /// A directory on the way to something closed.
    Way,
    /// A port of loopback that is left out.
    Port,
}

/// Reads a message of the log; `None` if it is not about this run.
///
/// `Sandbox: NAME(PID) deny(N) OPERATION TARGET`, and on its last line the mark of the run. Names and targets may hold
/// blanks, brackets and line ends.
#[must_use]
pub fn denial(message: &str, run: &str) -> Option<Denial> {
    let (told, mark) = message.trim_end().rsplit_once('\n')?;
    let by = match mark.strip_prefix("fence:")?.strip_prefix(run)?.strip_prefix(':')? {
        "default" => Tagged::Nothing,
        "own" => Tagged::Own,
        "way" => Tagged::Way,
        "port" => Tagged::Port,
        number => Tagged::Rule(RuleId(number.parse().ok()?)),
    };
    let told = match told.split_once(" duplicate report") {
        Some((count, rest)) if count.bytes().all(|byte| byte.is_ascii_digit()) => {
            rest.split_once("Sandbox: ").map(|(_, rest)| rest)?
        }
        _ => told.strip_prefix("Sandbox: ")?,
    };
    let (program, rest) = split_name(told)?;
    let (pid, rest) = rest.split_once(')')?;
    let rest = rest.strip_prefix(" deny(")?;
    let (_, rest) = rest.split_once(") ")?;
    let (operation, target) = rest.split_once(' ').unwrap_or((rest, ""));
    Some(Denial {
        program: short(program),
        pid: pid.parse().ok()?,
        operation: short(operation),
        target: short(target),
        by,
    })
}

/// More characters than any path of macOS has.
const LONGEST: usize = 1100;

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// The name ends at the first bracket that a number and ` deny(` follow.
fn split_name(told: &str) -> Option<(&str, &str)> {
    told.match_indices('(').find_map(|(at, _)| {
        let rest = told.get(at + 1..)?;
        let (number, after) = rest.split_once(')')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && after.starts_with(" deny(")).then_some((told.get(..at)?, rest))
    })
}

/// The actions that a line of a policy can allow by what the log says: an address there is none of a name.
const ACTIONS: [&str; 7] = ["read", "write", "exec", "socket", "mach-lookup", "mach-register", "iokit"];

impl Denial {
    /// The event, with the rule that refused and what would change the answer.
    #[must_use]
    pub fn told(&self, policy: &Policy) -> Told {
        let reason = match self.by {
            Tagged::Rule(rule) => Reason::Rules(vec![rule]),
            Tagged::Nothing => Reason::NothingAllows,
            Tagged::Own => Reason::AlwaysClosed("a policy, or a file of fence's own".to_owned()),
            Tagged::Way => {
                Reason::AlwaysClosed("a directory above something closed stays where it is".to_owned())
            }
            Tagged::Port => Reason::AlwaysClosed("a port of loopback that no rule opens".to_owned()),
        };
        let action = self.action();
        let item = self.target.clone();
        let event = Event::decided(EventSource::Kernel, action, item, Verdict::Denied, &reason, policy);
        let event = Event { pid: Some(self.pid), program: Some(self.program.clone()), ..event };
        let decision = Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() };
        let remedy = if ACTIONS.contains(&action) {
            remedy(policy, action, Some(&event.item), &decision)
        } else {
            None
        };
        Told { event, remedy }
    }

    /// The action's word, or the operation where no action is about it.
    fn action(&self) -> &str {
        let about_path = self.target.starts_with('/');
        match self.operation.as_str() {
            operation if operation.starts_with("file-read") => "read",
            operation if operation.starts_with("file-write") => "write",
            "file-link" | "file-clone" => "write",
            "file-test-existence" => "read",
            "file-map-executable" => "exec",
            operation if operation.starts_with("process-exec") => "exec",
            "network-outbound" if about_path => "socket",
            "network-outbound" => "connect",
            "network-bind" if about_path => "write",
            "network-bind" | "network-inbound" => "listen",
            "mach-lookup" => "mach-lookup",
            "mach-register" => "mach-register",
            operation if operation.starts_with("iokit-open") => "iokit",
            operation => operation,
        }
    }
}
