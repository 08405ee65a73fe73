//! The words of the language that stand for a value of the tree.

use crate::tree::{Action, Effect, LimitKind, PlatformName, TlsMode, Verdict};

macro_rules! words {
    ($type:ident, $what:literal: $($variant:ident = $word:literal,)*) => {
        impl $type {
            #[doc = concat!("Every ", $what, ", in the order of the manual.")]
            pub const ALL: &'static [$type] = &[$($type::$variant,)*];

            /// The word that stands for it in a policy.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($type::$variant => $word,)* }
            }

            /// The value that a word stands for, if it stands for one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<$type> {
                match word { $($word => Some($type::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! { Effect, "effect":
    Allow = "allow",
    Deny = "deny",
    Never = "never",
}

words! { Action, "action":
    Read = "read",
    Write = "write",
    Exec = "exec",
    Run = "run",
    Connect = "connect",
    Http = "http",
    Listen = "listen",
    Socket = "socket",
    Env = "env",
    Device = "device",
    Tty = "tty",
    Ssh = "ssh",
    Syscall = "syscall",
    MachLookup = "mach-lookup",
    MachRegister = "mach-register",
    IoKit = "iokit",
}

words! { LimitKind, "kind of limit":
    Time = "time",
    Cpu = "cpu",
    Memory = "memory",
    Processes = "processes",
    Files = "files",
    FileSize = "file-size",
    ConnectTime = "connect-time",
    IdleTime = "idle-time",
}

words! { PlatformName, "platform":
    Linux = "linux",
    MacOs = "macos",
}

words! { TlsMode, "mode of `tls`":
    Strict = "strict",
    Relaxed = "relaxed",
}

words! { Verdict, "verdict":
    Allow = "allow",
    Deny = "deny",
}

impl Action {
    /// Whether it can stand in one rule beside other actions: those on paths can.
    #[must_use]
    pub fn combines(self) -> bool {
        matches!(self, Action::Read | Action::Write | Action::Exec | Action::Socket | Action::Device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for &action in Action::ALL {
            assert_eq!(Action::from_word(action.word()), Some(action));
        }
        for &kind in LimitKind::ALL {
            assert_eq!(LimitKind::from_word(kind.word()), Some(kind));
        }
        for &effect in Effect::ALL {
            assert_eq!(Effect::from_word(effect.word()), Some(effect));
        }
        assert_eq!(Action::from_word("Read"), None);
        assert_eq!(Effect::from_word(""), None);
    }
}
