//! The closed sets of words, with their serde names.

use fence_grammar::tree;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Defines a set of words that mirrors one of the grammar's, with conversions both ways.
macro_rules! mirror {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every word of the set.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl From<tree::$name> for $name {
            fn from(word: tree::$name) -> $name {
                match word { $(tree::$name::$variant => $name::$variant,)* }
            }
        }

        impl From<$name> for tree::$name {
            fn from(word: $name) -> tree::$name {
                match word { $($name::$variant => tree::$name::$variant,)* }
            }
        }
    };
}

mirror! {
    /// What a rule does.
    Effect {
        /// Opens.
        Allow = "allow",
        /// Closes.
        Deny = "deny",
        /// Closes, and nothing can drop it.
        Never = "never",
    }
}

mirror! {
    /// What a rule is about. Only `read`, `write`, `exec`, `socket` and `device` can be combined.
    Action {
        /// Reading contents, listing directories, reading metadata. Items: paths.
        Read = "read",
        /// Creating, changing, deleting, renaming, linking, changing metadata; not `read`. Items: paths.
        Write = "write",
        /// Being executed, or loaded as code. Items: paths.
        Exec = "exec",
        /// Starting a command, by program and arguments. Items: commands.
        Run = "run",
        /// An outgoing TCP connection. Items: `HOST`, `HOST:PORT`, `HOST:LOW-HIGH`.
        Connect = "connect",
        /// A request, where `connect` allows the host. Items: `METHOD HOST/PATH`.
        Http = "http",
        /// A port that may be offered to the host. Items: `PORT`, `LOW-HIGH`.
        Listen = "listen",
        /// Connecting to a Unix socket of the host. Items: paths.
        Socket = "socket",
        /// Passing on the caller's variable. Items: names, `*` anywhere.
        Env = "env",
        /// Opening a device. Items: paths below `/dev`.
        Device = "device",
        /// The controlling terminal. No items.
        Tty = "tty",
        /// What an `ssh` started inside may be asked to do. Items: `HOST`, `HOST COMMAND`.
        Ssh = "ssh",
        /// A system call that the default filter refuses. Items: names from a fixed table.
        Syscall = "syscall",
        /// Looking up a macOS service. Items: names, a trailing `*`.
        MachLookup = "mach-lookup",
        /// Registering a macOS service. Items: names, a trailing `*`.
        MachRegister = "mach-register",
        /// Opening an IOKit user client (macOS). Items: names, a trailing `*`.
        IoKit = "iokit",
    }
}

mirror! {
    /// What can be limited. Times: `s`, `m`, `h`. Sizes: `KiB`, `MiB`, `GiB`.
    LimitKind {
        /// Wall-clock time of the whole sandbox.
        Time = "time",
        /// Processor time of the whole sandbox.
        Cpu = "cpu",
        /// Memory of the whole sandbox.
        Memory = "memory",
        /// Number of processes of the whole sandbox.
        Processes = "processes",
        /// Open files of each process.
        Files = "files",
        /// Size of a file that a process writes.
        FileSize = "file-size",
        /// Time until a connection stands.
        ConnectTime = "connect-time",
        /// Time a connection may be silent.
        IdleTime = "idle-time",
    }
}

mirror! {
    /// Whether a TLS connection to a name must show that name.
    TlsMode {
        /// It must.
        Strict = "strict",
        /// One that shows none passes.
        Relaxed = "relaxed",
    }
}

mirror! {
    /// A platform.
    PlatformName {
        /// Linux.
        Linux = "linux",
        /// macOS.
        MacOs = "macos",
    }
}

mirror! {
    /// The answer that a test expects.
    Verdict {
        /// It must be allowed.
        Allow = "allow",
        /// It must be denied.
        Deny = "deny",
    }
}
