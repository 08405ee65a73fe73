//! The profile, statement by statement.

use std::collections::{BTreeMap, BTreeSet};

use super::super::claims::Findings;
use super::filters::{self, Filters, Fit};
use super::network::{Network, Ports};
use super::pins::{self, Pins};
use super::places::{FileRule, Gathered, Kind, Place};
use super::services::{Service, less};
use super::sexpr::{Form, Quoted, Statement, Unquotable, remark};
use super::spelling::every_spelling;
use super::tag::RunId;
use crate::bytes::AbsolutePath;
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::Mechanism;
use crate::host::Host;
use crate::lower::atlas::Atlas;
use crate::plan::{self, TerminalPlan};
use crate::policy::{Effect, PathAction, Policy, RuleId};
use crate::profile::{PROXY_PARAMETER, ProxyPlan};

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

/// The devices that are always there.
const DEVICES: &str = "^/dev/(null|zero|full|random|urandom|tty|ptmx|pts|shm|fd|stdin|stdout|stderr)(/|$)";

/// Terminals; those that the sandbox itself makes carry a mark of the system's.
const TERMINALS: &str = "^/dev/ttys[0-9]+$";
const OWN_TERMINAL: &str = "com.apple.sandbox.pty";

/// A kind of access to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Read,
    Write,
    Exec,
    Socket,
}

const GROUPS: [Group; 4] = [Group::Read, Group::Write, Group::Exec, Group::Socket];

impl Group {
    /// What allows it. What denies it names the same, and whatever else is named anywhere below it.
    fn opening(self) -> &'static [&'static str] {
        match self {
            Group::Read => &["file-read*", "file-test-existence"],
            Group::Write => &["file-write*", "file-link", "file-clone", "network-bind"],
            Group::Exec => &["process-exec*", "file-map-executable"],
            Group::Socket => &["network-outbound"],
        }
    }

    fn closing(self) -> &'static [&'static str] {
        match self {
            Group::Read => &["file-read*", "file-read-metadata", "file-test-existence"],
            _ => self.opening(),
        }
    }

    fn of(action: PathAction) -> &'static [Group] {
        match action {
            PathAction::Read => &[Group::Read],
            PathAction::Write => &[Group::Write],
            PathAction::Exec => &[Group::Exec],
            PathAction::Socket => &[Group::Socket],
            PathAction::Device => &[Group::Read, Group::Write],
        }
    }
}

/// What keeps a thing from getting another name: moving, replacing and linking it.
const RENAMING: [&str; 4] = ["file-write-unlink", "file-write-create", "file-link", "file-clone"];

const UNMOVED: &str =
    "it cannot be made, moved, linked or removed either, because a profile knows paths only: {}";
const NARROWER: &str = "a `?` or a class stands for characters of ASCII only: {}";
const WIDER: &str = "names with characters outside ASCII are closed there too: {}";
const DEVICE_ONLY: &str = "opens nothing, because below `/dev` only `device` opens: {}";

/// Makes the statements.
pub struct Emitter<'a, 'f> {
    policy: &'a Policy,
    host: &'a Host,
    run: &'a RunId,
    findings: &'a mut Findings,
    atlas: &'a mut Atlas<'f>,
    statements: Vec<Statement>,
}

impl<'a, 'f> Emitter<'a, 'f> {
    /// Begins a profile.
    pub fn new(
        policy: &'a Policy,
        host: &'a Host,
        run: &'a RunId,
        findings: &'a mut Findings,
        atlas: &'a mut Atlas<'f>,
    ) -> Emitter<'a, 'f> {
        Emitter { policy, host, run, findings, atlas, statements: Vec::new() }
    }

    /// The statements.
    pub fn finish(self) -> Vec<Statement> {
        self.statements
    }

    fn heading(&mut self, text: &'static str) {
        self.statements.push(Statement::Heading(text));
    }

    fn remark(&mut self, text: &str) {
        self.statements.push(Statement::Remark(remark(text)));
    }

    fn rule(&mut self, owner: &str, action: &'static str, operations: &[&'static str], filters: Vec<Form>) {
        let head = std::iter::once(&action).chain(operations).map(|word| Form::Word(word)).collect();
        self.statements.push(Statement::Rule { owner: owner.to_owned(), head, filters });
    }

    fn own(&mut self, action: &'static str, operations: &[&'static str], filters: Vec<Form>) {
        self.rule("fence's own part", action, operations, filters);
    }

    /// The mark by which a line of the log leads back to a rule.
    fn message(&self, rule: &str) -> Form {
        let text = Quoted::new(self.run.tag(rule).as_bytes());
        let text = text.map_or(Form::Number(0), Form::Text);
        Form::List(vec![Form::Word("with"), Form::Word("message"), text])
    }

    /// What a rule is called in remarks: its place, its label, and what it says.
    fn named(&self, number: usize) -> String {
        let id = RuleId(u32::try_from(number).unwrap_or(u32::MAX));
        plan::name(id, self.policy).unwrap_or_else(|| format!("rule {number}"))
    }

    /// What every profile begins with.
    pub fn start(&mut self, terminal: TerminalPlan) {
        self.heading("Nothing is allowed but what is allowed below.");
        let message = self.message("default");
        self.own("deny", &["default"], vec![message]);
        self.remark("These are allowed where no rule names them.");
        self.own("deny", &OPEN_BY_DEFAULT, Vec::new());
        self.heading("Processes of this sandbox, among themselves.");
        let same = || vec![Form::List(vec![Form::Word("target"), Form::Word("same-sandbox")])];
        self.own("allow", &["process-fork"], Vec::new());
        self.own("allow", &["process-info*", "process-info-codesignature", "signal"], same());
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

    /// Services.
    pub fn services(&mut self, services: &[Service]) {
        if !services.is_empty() {
            self.heading("Services.");
        }
        for service in services {
            let owner = service.rule.map(|number| self.named(number));
            let action = if service.effect == Effect::Allow { "allow" } else { "deny" };
            let mut filters = service.filters.clone();
            match (&owner, service.rule, service.effect) {
                (Some(owner), Some(number), effect) => {
                    self.remark(owner);
                    if effect != Effect::Allow {
                        filters.push(self.message(&number.to_string()));
                    }
                }
                _ => self.remark("Never through a wildcard."),
            }
            let owner = owner.unwrap_or_else(|| "fence's own part".to_owned());
            self.rule(&owner, action, &[service.operation], filters);
        }
    }

    /// Files: what is allowed, then what is not.
    pub fn files(&mut self, gathered: &Gathered, run: &RunId) {
        let open = self.open(gathered);
        self.heading("Files: what is allowed.");
        // Every program needs the names in `/` to start.
        let root = Form::filter("literal", literal("/"));
        self.allowed(gathered, Group::Read, vec![remark("Programs do not start without."), root]);
        self.allowed(gathered, Group::Write, Vec::new());
        self.allowed(gathered, Group::Exec, Vec::new());
        self.allowed(gathered, Group::Socket, Vec::new());
        self.devices(gathered);
        self.links(&gathered.links);
        self.heading("Files: what is not, whatever is allowed above.");
        let mut pins = Pins::default();
        for rule in &gathered.rules {
            if rule.effect == Effect::Allow {
                self.excepted(rule, &open, &mut pins);
            } else {
                self.closed(rule, &open, &mut pins);
            }
        }
        self.protected(gathered, &open, &mut pins);
        self.pinned(pins, &open);
        self.ways(&open, run);
    }

    /// What is open, by kind.
    fn open(&self, gathered: &Gathered) -> BTreeMap<Group, Vec<Place>> {
        let mut open: BTreeMap<Group, Vec<Place>> = BTreeMap::new();
        let dev = Place::at(AbsolutePath::root().join(b"dev"));
        for group in [Group::Read, Group::Write] {
            open.entry(group).or_default().push(dev.clone());
        }
        for rule in gathered.rules.iter().filter(|rule| rule.effect == Effect::Allow) {
            for group in rule.actions.iter().flat_map(|action| Group::of(*action)) {
                let places = rule.items.places.iter().map(|(place, _)| place.clone());
                open.entry(*group).or_default().extend(places);
            }
        }
        open
    }

    /// Everything that is allowed of one kind, in one rule.
    fn allowed(&mut self, gathered: &Gathered, group: Group, mut filters: Vec<Form>) {
        let mut said = BTreeSet::new();
        for rule in gathered.rules.iter().filter(|rule| rule.effect == Effect::Allow) {
            let plain =
                |action: &PathAction| *action != PathAction::Device && Group::of(*action).contains(&group);
            if !rule.actions.iter().any(plain) {
                continue;
            }
            if let Some(report) = self.findings.report(rule.number) {
                report.by(Mechanism::Seatbelt);
            }
            let forms = self.opened(rule, group);
            if !forms.is_empty() && said.insert(format!("{forms:?}")) {
                filters.push(remark(&self.named(rule.number)));
                filters.extend(forms);
            }
        }
        if filters.iter().any(|form| !matches!(form, Form::Remark(_))) {
            self.rule("what is allowed", "allow", group.opening(), filters);
        }
    }

    /// The filters of what one rule allows, less its exceptions.
    fn opened(&mut self, rule: &FileRule, group: Group) -> Vec<Form> {
        let mut forms = Vec::new();
        for (place, text) in &rule.items.places {
            if group != Group::Exec
                && group != Group::Socket
                && is_below_dev(place)
                && !rule.is_about_devices()
            {
                self.note(rule.number, DEVICE_ONLY, text);
                continue;
            }
            let found = filters::opening(place);
            let filters = self.told(rule.number, text, found, NARROWER);
            forms.extend(filters);
        }
        let around: Vec<&Place> = rule.items.places.iter().map(|(place, _)| place).collect();
        let mut out = Vec::new();
        for (place, text) in &rule.except.places {
            if around.iter().any(|open| open.may_meet(place)) {
                let found = filters::closing(place, &around);
                out.extend(self.told(rule.number, text, found, WIDER));
            }
        }
        less(forms, out)
    }

    /// Takes filters, or tells why there are none, and that they fit less than well.
    fn told(
        &mut self,
        number: usize,
        text: &str,
        found: Result<Filters, Unquotable>,
        misfit: &'static str,
    ) -> Vec<Form> {
        match found {
            Ok(filters) => {
                if filters.fit == Fit::Stricter
                    && let Some(report) = self.findings.report(number)
                {
                    report.stricter(misfit, text);
                }
                filters.forms
            }
            Err(why) => {
                self.refuse(number, text, why);
                Vec::new()
            }
        }
    }

    fn refuse(&mut self, number: usize, text: &str, why: Unquotable) {
        let found = Diagnostic::new(
            Code::NotInAProfile,
            format!("`{text}` cannot stand in a profile of Seatbelt: {why}"),
        )
        .help("give the file, or the directory that holds it, a name that can");
        let place = self.policy.rules.get(number).map(|rule| rule.written.place());
        self.findings.diagnostics.push(match place {
            Some(place) => found.at(place),
            None => found,
        });
    }

    fn note(&mut self, rule: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(rule) {
            report.note(sentence, text);
        }
    }

    /// Below `/dev` only `device` opens, beside what is always there.
    fn devices(&mut self, gathered: &Gathered) {
        const BOTH: [&str; 3] = ["file-read*", "file-test-existence", "file-write*"];
        self.remark("Devices: those that are always there, and those that a rule names.");
        self.own("deny", &BOTH, vec![Form::filter("regex", literal("^/dev/"))]);
        self.own(
            "allow",
            &["file-read*", "file-test-existence"],
            vec![Form::filter("literal", literal("/dev"))],
        );
        let mut filters = vec![Form::filter("regex", literal(DEVICES))];
        filters.extend(own_terminal());
        for rule in
            gathered.rules.iter().filter(|rule| rule.effect == Effect::Allow && rule.is_about_devices())
        {
            let forms = self.opened(rule, Group::Read);
            if !forms.is_empty() {
                filters.push(remark(&self.named(rule.number)));
                filters.extend(forms);
            }
            if let Some(report) = self.findings.report(rule.number) {
                report.by(Mechanism::Seatbelt);
            }
        }
        self.own("allow", &BOTH, filters);
    }

    /// Links on the way to what is allowed can be followed.
    fn links(&mut self, links: &BTreeSet<AbsolutePath>) {
        let forms: Vec<Form> = links.iter().filter_map(path_literal).collect();
        if !forms.is_empty() {
            self.remark("Links on the way to what is allowed.");
            self.own("allow", &["file-read-metadata", "file-test-existence"], forms);
        }
    }

    /// What a rule closes, in one rule.
    fn closed(&mut self, rule: &FileRule, open: &BTreeMap<Group, Vec<Place>>, pins: &mut Pins) {
        let groups: BTreeSet<Group> =
            rule.actions.iter().flat_map(|action| Group::of(*action)).copied().collect();
        let around: Vec<&Place> = groups.iter().filter_map(|group| open.get(group)).flatten().collect();
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let mut operations: BTreeSet<&'static str> = BTreeSet::new();
        let mut forms = Vec::new();
        let mut reached = BTreeSet::new();
        let mut programs = Vec::new();
        for told in &rule.items.places {
            let (place, text) = told;
            let meets =
                |group: &Group| open.get(group).is_some_and(|open| open.iter().any(|o| o.may_meet(place)));
            let met: Vec<Group> = groups.iter().copied().filter(meets).collect();
            if met.is_empty() {
                continue;
            }
            reached.insert(text);
            operations.extend(met.iter().flat_map(|group| group.closing()));
            match rule.kind {
                Kind::Programs => programs.push(told),
                Kind::Paths => {
                    let found = filters::closing(place, &around);
                    forms.extend(self.told(rule.number, text, found, WIDER));
                }
            }
            if writable.iter().any(|open| open.may_meet(place)) && !is_below_dev(place) {
                if !met.contains(&Group::Write) {
                    operations.extend(RENAMING);
                    self.stricter(rule.number, UNMOVED, text);
                }
                self.pin(rule, place, text, &writable, pins);
            }
        }
        match filters::programs(&programs, &around) {
            Ok(found) => {
                forms.extend(found.forms);
                found.wider.iter().for_each(|text| self.stricter(rule.number, WIDER, text));
            }
            Err((text, why)) => self.refuse(rule.number, &text, why),
        }
        if let Some(report) = self.findings.report(rule.number) {
            let by = if reached.is_empty() { Mechanism::Absence } else { Mechanism::Seatbelt };
            report.by(by);
        }
        if forms.is_empty() {
            return;
        }
        let mut out = Vec::new();
        for (place, text) in &rule.except.places {
            if rule.items.places.iter().any(|(item, _)| item.may_meet(place)) {
                let found = filters::opening(place);
                out.extend(self.told(rule.number, text, found, WIDER));
            }
        }
        let mut filters = less(unique(forms), out);
        filters.push(self.message(&rule.number.to_string()));
        let named = self.named(rule.number);
        self.remark(&named);
        let operations: Vec<&'static str> = operations.into_iter().collect();
        self.rule(&named, "deny", &operations, filters);
    }

    fn stricter(&mut self, rule: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(rule) {
            report.stricter(sentence, text);
        }
    }

    fn pin(&mut self, rule: &FileRule, place: &Place, text: &str, writable: &[&Place], pins: &mut Pins) {
        let acceptance = self.policy.rules.get(rule.number).map(|rule| rule.acceptance);
        let Some(report) = self.findings.reports.get_mut(rule.number) else { return };
        let about = pins::About { place, text, acceptance, writable };
        pins::pin(&about, self.host, self.run, self.atlas, report, pins);
    }

    /// What an `allow` leaves out must not be moved to where it is allowed.
    fn excepted(&mut self, rule: &FileRule, open: &BTreeMap<Group, Vec<Place>>, pins: &mut Pins) {
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let mut forms = Vec::new();
        for (place, text) in &rule.except.places {
            let inside = rule.items.places.iter().any(|(item, _)| item.may_meet(place));
            if !inside || is_below_dev(place) || !writable.iter().any(|open| open.may_meet(place)) {
                continue;
            }
            let found = filters::closing(place, &writable);
            forms.extend(self.told(rule.number, text, found, WIDER));
            self.stricter(rule.number, UNMOVED, text);
            self.pin(rule, place, text, &writable, pins);
        }
        if !forms.is_empty() {
            let named = self.named(rule.number);
            self.remark(&format!("{named}: what it leaves out stays where it is"));
            let mut filters = unique(forms);
            filters.push(self.message(&rule.number.to_string()));
            self.rule(&named, "deny", &RENAMING, filters);
        }
    }

    /// The texts of the policy, fence's own state, and every policy that could be found are never writable.
    fn protected(&mut self, gathered: &Gathered, open: &BTreeMap<Group, Vec<Place>>, pins: &mut Pins) {
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let mut forms = Vec::new();
        let spelled = |name: &str| every_spelling(name).unwrap_or_else(|| name.to_owned());
        let text = format!("/{}({}|{})?$", spelled("policy.fence"), spelled(".yaml"), spelled(".json"));
        forms.push(Form::filter("regex", literal(&text)));
        for place in
            gathered.protected.iter().filter(|place| writable.iter().any(|open| open.may_meet(place)))
        {
            match filters::closing(place, &writable) {
                Ok(found) => forms.extend(found.forms),
                Err(why) => self.refuse(usize::MAX, &place.0.prefix.to_string(), why),
            }
            pins.hold(place, &writable);
        }
        forms.push(self.message("own"));
        self.remark("Policies, and what belongs to fence.");
        self.own("deny", Group::Write.closing(), forms);
    }

    /// Directories on the way to what is closed stay where they are.
    fn pinned(&mut self, pins: Pins, open: &BTreeMap<Group, Vec<Place>>) {
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let Pins { held, kept, patterns } = pins;
        let kept: BTreeSet<AbsolutePath> = kept.difference(&held).cloned().collect();
        let ways: [(&'static str, &[&'static str], BTreeSet<AbsolutePath>); 2] = [
            (
                "Directories above those are not moved, removed or replaced.",
                &["file-write-unlink", "file-write-create"],
                held,
            ),
            ("These may be made, but not moved or removed.", &["file-write-unlink"], kept),
        ];
        for (title, operations, paths) in ways {
            let mut forms = Vec::new();
            for path in &paths {
                match filters::on_the_way(path, &writable) {
                    Ok(found) => forms.extend(found),
                    Err(why) => self.refuse(usize::MAX, &path.to_string(), why),
                }
            }
            if operations.len() > 1 {
                for pattern in &patterns {
                    match filters::pattern_on_the_way(pattern, &writable) {
                        Ok(found) => forms.extend(found),
                        Err(why) => self.refuse(usize::MAX, &pattern.prefix.to_string(), why),
                    }
                }
            }
            if !forms.is_empty() {
                self.remark(title);
                let mut filters = unique(forms);
                filters.push(self.message("way"));
                self.rule("the directories above what is closed", "deny", operations, filters);
            }
        }
    }

    /// Metadata of the directories above what is allowed can be seen, even where a rule closes them.
    fn ways(&mut self, open: &BTreeMap<Group, Vec<Place>>, run: &RunId) {
        let mut ways: BTreeSet<AbsolutePath> = BTreeSet::from([AbsolutePath::root()]);
        ways.extend(run.tmp().ancestors());
        ways.extend(self.host.cwd.ancestors());
        for group in GROUPS {
            for place in open.get(&group).into_iter().flatten() {
                ways.extend(place.0.prefix.ancestors());
                if !place.0.rest.is_empty() {
                    ways.insert(place.0.prefix.clone());
                }
            }
        }
        let forms: Vec<Form> = ways.iter().filter_map(path_literal).collect();
        self.heading("Ways to what is allowed: that they exist, not what they hold.");
        self.rule("what is allowed", "allow", &["file-read-metadata", "file-test-existence"], forms);
    }

    /// The network.
    pub fn network(&mut self, network: &Network) {
        let closed = Ports::Only(Vec::new());
        if network.proxy == ProxyPlan::None && network.loopback == closed && network.listen == closed {
            return;
        }
        self.heading("Network.");
        for number in &network.opening {
            let named = self.named(*number);
            self.remark(&named);
        }
        self.ports(&["network-outbound"], "remote", &network.loopback);
        self.ports(&["network-bind", "network-inbound"], "local", &network.listen);
        if network.proxy == ProxyPlan::Loopback {
            self.remark("Everything else goes through the proxy of this run.");
            let name = literal(PROXY_PARAMETER);
            let parameter = Form::List(vec![Form::Word("param"), Form::Text(name)]);
            let filter = Form::List(vec![Form::Word("remote"), Form::Word("tcp"), parameter]);
            self.own("allow", &["network-outbound"], vec![filter]);
        }
    }

    fn ports(&mut self, operations: &[&'static str], side: &'static str, ports: &Ports) {
        let filter = |port: &str| {
            let text = literal(&format!("localhost:{port}"));
            Form::List(vec![Form::Word(side), Form::Word("tcp"), Form::Text(text)])
        };
        let each = |ports: &[u16]| ports.iter().map(|port| filter(&port.to_string())).collect::<Vec<Form>>();
        match ports {
            Ports::Only(open) if open.is_empty() => {}
            Ports::Only(open) => self.rule("ports of loopback", "allow", operations, each(open)),
            Ports::AllBut(closed) => {
                self.rule("ports of loopback", "allow", operations, vec![filter("*")]);
                if !closed.is_empty() {
                    let mut filters = each(closed);
                    filters.push(self.message("port"));
                    self.rule("ports of loopback", "deny", operations, filters);
                }
            }
        }
    }
}

impl FileRule {
    fn is_about_devices(&self) -> bool {
        self.actions.contains(&PathAction::Device)
    }
}

/// A text of fence's own, which holds nothing that could not be quoted.
fn literal(text: &str) -> Quoted {
    // INVARIANT: fence's own texts are printable; an unprintable one would come out as an empty filter, which
    // matches nothing.
    Quoted::new(text.as_bytes()).unwrap_or_else(|_| Quoted::empty())
}

fn path_literal(path: &AbsolutePath) -> Option<Form> {
    Some(Form::filter("literal", Quoted::path(path.as_bytes()).ok()?))
}

/// A terminal that the sandbox made itself.
fn own_terminal() -> Vec<Form> {
    vec![Form::List(vec![
        Form::Word("require-all"),
        Form::filter("regex", literal(TERMINALS)),
        Form::filter("extension", literal(OWN_TERMINAL)),
    ])]
}

/// Each filter once, in the order they first stand in.
fn unique(forms: Vec<Form>) -> Vec<Form> {
    let mut said = BTreeSet::new();
    forms.into_iter().filter(|form| said.insert(format!("{form:?}"))).collect()
}

fn is_below_dev(place: &Place) -> bool {
    place.0.prefix.components().next() == Some(b"dev") && place.0.prefix.components().count() > 1
}
