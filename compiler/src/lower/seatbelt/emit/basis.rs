//! What every profile begins with, whatever the policy.

use super::Emitter;
use super::devices::{TERMINALS, own_terminal};
use crate::lower::seatbelt::sexpr::{Form, Quoted};
use crate::plan::TerminalPlan;

/// How a profile is read.
const LEGEND: [&str; 5] = [
    "Before each part stands the rule of the policy that it is for: its label, its file and its line.",
    "A path stands as `literal` and as `subpath`, since it is not certain that `subpath` matches the path itself.",
    "What is denied stands in every spelling too that a volume may take for the same name, and what is allowed in its own.",
    "What is denied comes after what is allowed, and names each operation that anything allows.",
    "The message of a denial leads a line of the system's log back to its rule: `fence:RUN:RULE`.",
];

/// Operations that are allowed where no rule names them, whatever the default says.
const OPEN_BY_DEFAULT: [&str; 12] = [
    "darwin-notification-post",
    "dynamic-code-generation",
    "file-clone",
    "file-link",
    "file-map-executable",
    "file-test-existence",
    "iokit-get-properties",
    "mach-cross-domain-lookup",
    "nvram*",
    "process-info*",
    "socket-ioctl",
    "system-privilege",
];

/// What programs ask about the machine when they start. None of them is about another process.
const SYSCTLS: [&str; 33] = [
    "hw.activecpu",
    "hw.byteorder",
    "hw.cachelinesize",
    "hw.cpufamily",
    "hw.cpusubtype",
    "hw.cputype",
    "hw.l1dcachesize",
    "hw.l1icachesize",
    "hw.l2cachesize",
    "hw.l3cachesize",
    "hw.logicalcpu",
    "hw.logicalcpu_max",
    "hw.machine",
    "hw.memsize",
    "hw.model",
    "hw.ncpu",
    "hw.pagesize",
    "hw.pagesize_compat",
    "hw.physicalcpu",
    "hw.physicalcpu_max",
    "hw.tbfrequency",
    "kern.argmax",
    "kern.hostname",
    "kern.iossupportversion",
    "kern.maxfilesperproc",
    "kern.ngroups",
    "kern.osproductversion",
    "kern.osrelease",
    "kern.ostype",
    "kern.osversion",
    "kern.usrstack64",
    "kern.version",
    "sysctl.proc_cputype",
];

/// The same, by how they begin.
const SYSCTL_PREFIXES: [&str; 4] = ["hw.nperflevels", "hw.optional.", "hw.perflevel", "machdep.cpu."];

impl Emitter<'_, '_> {
    /// What every profile begins with.
    pub fn start(&mut self, terminal: TerminalPlan) {
        for line in LEGEND {
            self.remark(line);
        }
        self.heading("Nothing is allowed but what is allowed below.");
        let message = self.message("default");
        self.own("deny", &["default"], vec![message]);
        self.remark("These are allowed where no rule names them.");
        self.own("deny", &OPEN_BY_DEFAULT, Vec::new());
        self.heading("Processes of this sandbox, among themselves.");
        let same = || vec![Form::List(vec![Form::Word("target"), Form::Word("same-sandbox")])];
        self.own("allow", &["process-fork"], Vec::new());
        self.own("allow", &["process-info*", "process-info-codesignature", "signal"], same());
        self.remark("What makes code while it runs, as Node and Java do.");
        self.own("allow", &["dynamic-code-generation"], Vec::new());
        self.heading("What programs ask about the machine.");
        let quoted = |word, names: &[&str]| -> Vec<Form> {
            let form = |name: &&str| Some(Form::filter(word, Quoted::new(name.as_bytes()).ok()?));
            names.iter().filter_map(form).collect()
        };
        let mut sysctls = quoted("sysctl-name", &SYSCTLS);
        sysctls.extend(quoted("sysctl-name-prefix", &SYSCTL_PREFIXES));
        self.own("allow", &["sysctl-read"], sysctls);
        let notifications = quoted("ipc-posix-name", &["apple.shm.notification_center"]);
        self.own("allow", &["ipc-posix-shm-read-data"], notifications);
        self.heading("Terminals that this sandbox makes itself.");
        self.own("allow", &["pseudo-tty"], Vec::new());
        let mut ioctl = quoted("literal", &["/dev/ptmx"]);
        ioctl.extend(own_terminal());
        self.own("allow", &["file-ioctl"], ioctl);
        if terminal == TerminalPlan::Kept {
            self.remark("The caller's terminal, which the command holds open already.");
            let mut theirs = quoted("literal", &["/dev/tty"]);
            theirs.extend(quoted("regex", &[TERMINALS]));
            self.own("allow", &["file-ioctl"], theirs);
        }
    }
}
