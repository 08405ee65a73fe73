//! `fence run`

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::diagnostic::{Diagnostic, Severity, render};
use fence_compiler::fidelity::{Enforced, Enforcement};
use fence_compiler::grant::{bounding, can_be_asked};
use fence_compiler::host::{Files, Host};
use fence_compiler::plan::EnvironmentPlan;
use fence_compiler::policy::{LimitKind, Policy};
use fence_compiler::question::{Question, Verdict};
use fence_compiler::source::Sources;

use super::arguments::{BackendName, Chosen as ChosenPolicy, Run};
use super::backend::{self, Backend, Chosen};
use super::fidelity::Accepted;
use super::overlaid::Overlay;
use super::policy::{How, enter, has_errors, load, refuse_home_in_tmp, refuse_wide_workspace};
use super::record::{Live, Record};
use super::remedy;
use super::screen::{Screen, Verbosity};
#[cfg(target_os = "linux")]
use super::serving::Serving;
#[cfg(target_os = "linux")]
use super::starts::Starts;
use super::{artifact, distrust, fidelity, observed, own, refused, words};
use crate::asking::Asker;
use crate::audit::{Event, Log, Told, visible};
use crate::host::Surroundings;
#[cfg(target_os = "linux")]
use crate::launch::Arbiter;
use crate::launch::{self, Ended, Options, Outcome, Standard, Timings};
#[cfg(target_os = "macos")]
use crate::macos::Heard;
use crate::preflight::{Judge, Lookup, NotFound, Program, Refusal, invocations, look_up};
use crate::publish::{Anywhere, Published};

/// What fence's own failures exit with.
pub(super) const FAILED: u8 = 125;
const REFUSED: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs a command under a policy, and exits as it does.
pub(super) fn run(arguments: &Run, screen: Screen) -> anyhow::Result<u8> {
    #[cfg(target_os = "linux")]
    if arguments.ask {
        return asking();
    }
    #[cfg(target_os = "linux")]
    if arguments.pty && !arguments.dry_run {
        return in_own_terminal();
    }
    let asks = Asks::of(arguments)?;
    let offered = own::offered(&arguments.publish)?;
    let overlay = Overlay::asked(arguments)?;
    let mut files = overlay.files();
    let prepared = match &arguments.artifact {
        Some(file) => {
            if let Some(directory) = &arguments.chosen.changes.directory {
                enter(directory)?;
            }
            artifact::prepare(file, protected_log(arguments.written_log())?, &offered, files.seen(), screen)?
        }
        None => prepare(
            &arguments.chosen,
            overlay.backend(arguments.backend)?,
            arguments.written_log(),
            &offered,
            files.seen(),
            asks.as_ref(),
            screen,
        )?,
    };
    let Some(prepared) = prepared else { return Ok(FAILED) };
    // The end of the process frees it sooner than it could be taken apart.
    let mut prepared = ManuallyDrop::new(prepared);
    overlay.put_under(&mut prepared.plan)?;
    tell_before(&prepared, screen);
    overlay.tell(screen);
    let record = Record::new(&prepared, arguments, screen)?;
    let started = Started { prepared: &prepared, arguments, overlay, screen, record, published: None, asks };
    let code = started.run();
    // What it has made in the file system does not end with the process.
    prepared.backend = Backend::Native;
    code
}

/// Runs the same without `--pty`, with a terminal that is relayed to the caller's.
#[cfg(target_os = "linux")]
fn in_own_terminal() -> anyhow::Result<u8> {
    let status = crate::linux::relay::run(again("--pty", None)?)
        .context("cannot give the command a terminal of its own")?;
    Ok(code_of(status))
}

/// Runs the same, which asks this process in the place of the person.
#[cfg(target_os = "linux")]
fn asking() -> anyhow::Result<u8> {
    const ASKERS: usize = 2;
    let status = crate::linux::relay::run_asking(ASKERS, |numbers| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        again("--ask", Some(format!("--asked-through={}", numbers.join(",")).into()))
    })?;
    Ok(code_of(status))
}

/// The same command line with another option in the place of one, or none; and without `--pty`.
#[cfg(target_os = "linux")]
fn again(option: &str, instead: Option<OsString>) -> anyhow::Result<std::process::Command> {
    let fence = std::env::current_exe().context("cannot find fence")?;
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Options stand before the command, so that the first is the one that was meant.
    let Some(at) = words.iter().position(|word| word == option) else { bail!("`{option}` was not given") };
    words.splice(at..=at, instead);
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let terminal = words.iter().take(end).position(|word| word == "--pty");
    if let Some(terminal) = terminal.filter(|terminal| *terminal < at) {
        words.remove(terminal);
    }
    let mut again = std::process::Command::new(fence);
    again.args(words);
    Ok(again)
}

#[cfg(target_os = "linux")]
fn code_of(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(FAILED.into());
    u8::try_from(code).unwrap_or(FAILED)
}

/// Who is asked before something is refused.
#[derive(Debug)]
pub(super) struct Asks {
    /// About starts.
    pub(super) starts: Asker,
    /// About connections.
    pub(super) connections: Arc<OwnedFd>,
}

impl Asks {
    #[cfg(target_os = "linux")]
    fn of(arguments: &Run) -> anyhow::Result<Option<Asks>> {
        let Some(ends) = arguments.asked_through else { return Ok(None) };
        let take = |number| crate::linux::inherited(number).context("there is nobody to ask");
        let (starts, connections) = (Asker::new(take(ends.starts)?), Arc::new(take(ends.connections)?));
        Ok(Some(Asks { starts, connections }))
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_: &Run) -> anyhow::Result<Option<Asks>> {
        Ok(None)
    }
}

/// Everything that is known before the command is looked at.
pub(super) struct Prepared {
    /// What the policy is called, and how it was chosen, for `-v`.
    pub told: String,
    /// What tells more of how the policy is enforced.
    pub more: String,
    /// The policy.
    pub policy: Policy,
    /// The machine.
    pub host: Host,
    /// What is applied.
    pub plan: own::Plan,
    /// How faithfully.
    pub fidelity: Vec<Enforcement>,
    /// What applies it.
    pub backend: Backend,
}

/// Finds, resolves and lowers the policy; `None` if what is wrong with it has been told.
pub(super) fn prepare(
    chosen: &ChosenPolicy,
    backend: BackendName,
    log: Option<&Path>,
    offered: &BTreeSet<u16>,
    files: &mut dyn Files,
    asks: Option<&Asks>,
    screen: Screen,
) -> anyhow::Result<Option<Prepared>> {
    let loaded = load(&chosen.policy, &chosen.changes)?;
    let sources = &loaded.resolved.sources;
    if !tell_findings(&loaded.resolved.diagnostics, sources, screen) {
        return Ok(None);
    }
    let policy = &loaded.resolved.policy;
    if let How::Found { found, closure } = &loaded.how
        && distrust::refused(&loaded, found, closure, screen)?
    {
        return Ok(None);
    }
    refuse_wide_workspace(&loaded.place, policy)?;
    let host = loaded.host(protected_log(log)?);
    // What the person may allow has to be within what the kernel lets through.
    let bounds = asks.map(|_| bounding(policy));
    let lowered = bounds.as_ref().unwrap_or(policy);
    let Chosen { backend, mut lowered } = backend::choose(backend, lowered, &host, offered, files, screen)?;
    if asks.is_some() {
        #[cfg(target_os = "linux")]
        if let Backend::Landlock(_) = backend {
            bail!("with Landlock alone nobody can be asked; leave `--ask` out, or choose another backend");
        }
        let written = policy.rules.len();
        lowered.fidelity.retain(|held| !matches!(held.what, Enforced::Rule(id) if id.0 as usize >= written));
    }
    refuse_home_in_tmp(&loaded.place, policy, &lowered.diagnostics)?;
    if !tell_findings(&lowered.diagnostics, sources, screen) {
        return Ok(None);
    }
    let name = policy.sources.first().map_or("?", |source| source.name.as_str());
    Ok(Some(Prepared {
        told: format!("policy {} ({})", visible(name), loaded.how.told()),
        more: match chosen.policy.as_slice() {
            [] => "fence check".to_owned(),
            [one] => format!("fence check {}", visible(&one.to_string_lossy())),
            // `check` looks at each by itself, and this is their union.
            _ => "fence run -v …".to_owned(),
        },
        policy: loaded.resolved.policy,
        host,
        plan: lowered.plan,
        fidelity: lowered.fidelity,
        backend,
    }))
}

/// The log's file, which the command must not rewrite.
fn protected_log(log: Option<&Path>) -> anyhow::Result<Vec<AbsolutePath>> {
    let Some(log) = log else { return Ok(Vec::new()) };
    // Made before the plan, so that there is something to hold.
    Log::open(log)?;
    let real = log.canonicalize().with_context(|| format!("cannot use the log `{}`", log.display()))?;
    Ok(AbsolutePath::new(real.as_os_str().as_bytes())
        .into_iter()
        .filter(|path| !path.is_within(&dev()))
        .collect())
}

fn dev() -> AbsolutePath {
    AbsolutePath::root().join(b"dev")
}

/// Tells the errors among findings (with `-v`, all of them); whether there was none.
pub(super) fn tell_findings(diagnostics: &[Diagnostic], sources: &Sources, screen: Screen) -> bool {
    let told: Vec<Diagnostic> = diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error || screen.verbosity == Verbosity::Verbose)
        .cloned()
        .collect();
    if !told.is_empty() {
        screen.tell(&render::text(&told, sources, screen.err));
    }
    !has_errors(diagnostics)
}

/// What a person should know before the command starts.
pub(super) fn tell_before(prepared: &Prepared, screen: Screen) {
    if screen.verbosity == Verbosity::Verbose {
        screen.say(&format!("{}, by {}", prepared.told, prepared.backend));
        for enforcement in &prepared.fidelity {
            screen.tell(&format!("  {}", fidelity::line(&prepared.policy, enforcement)));
        }
    }
    let accepted = if prepared.backend.is_by_choice() { Accepted::ByChoice } else { Accepted::ByThePolicy };
    let more = if accepted == Accepted::ByChoice { "fence run -v …" } else { &prepared.more };
    if let Some(summary) = fidelity::summary(&prepared.fidelity, more, accepted) {
        screen.note(&summary);
    }
    for line in prepared.backend.limits() {
        screen.note(line);
    }
    let under_sudo = std::env::var_os("SUDO_UID").is_some_and(|uid| uid != "0");
    if prepared.host.person.uid == 0 && under_sudo {
        screen.note(&format!(
            "under sudo the home (`{}`), the policy and fence's state are root's",
            prepared.host.person.home
        ));
    }
    let cwd = Path::new(OsStr::from_bytes(prepared.host.cwd.as_bytes()));
    if let Some(owner) = launch::unreachable_owner(cwd) {
        let reach = match owner.reach {
            launch::Reach::Read => "cannot be written",
            launch::Reach::Nothing => "cannot be read or written",
        };
        screen.note(&format!(
            "`{}` belongs to user {}, and root has no special rights inside: it {reach} there; run fence as that user (sudo -u '#{}' fence …)",
            prepared.host.cwd, owner.uid, owner.uid
        ));
    }
}

/// A run that is about to start.
struct Started<'a> {
    prepared: &'a Prepared,
    arguments: &'a Run,
    overlay: Overlay,
    screen: Screen,
    record: Record<'a>,
    /// The ports that are offered.
    published: Option<Published>,
    /// Who is asked.
    asks: Option<Asks>,
}

impl Started<'_> {
    fn run(mut self) -> anyhow::Result<u8> {
        let environment = environment(self.prepared);
        let path = environment.iter().find_map(|(name, value)| (name == "PATH").then_some(value.as_os_str()));
        let argv = self.argv()?;
        let asked = argv.first().cloned().unwrap_or_default();
        let judge = judge(self.prepared);
        let lookup = Lookup { program: &asked, path, cwd: &self.prepared.host.cwd };
        let hidden = |program: &Program| self.prepared.backend.has_own_tmp() && hidden(program);
        let program = match look_up(lookup, |program| !hidden(program) && judge.program(program).is_ok()) {
            Ok(program) => program,
            Err(problem) => return self.not_started(&asked, problem),
        };
        if let Err(refusal) = self.judged(&judge, &asked, &program, &argv, path) {
            return self.refused(&refusal);
        }
        if let Some(code) = self.judge_publish()? {
            return Ok(code);
        }
        if self.arguments.dry_run {
            return self.would_run(&program, &argv);
        }
        if let Some(code) = self.publish() {
            return Ok(code);
        }
        let command = launch::Command {
            program: c_string(program.path.as_bytes())?,
            argv: argv.iter().map(|word| c_string(word.as_bytes())).collect::<anyhow::Result<_>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
                .collect::<anyhow::Result<_>>()?,
        };
        self.launch(&command)
    }

    /// The words of the command: those given, or the shell's with the text.
    fn argv(&self) -> anyhow::Result<Vec<OsString>> {
        let Some(text) = &self.arguments.text else {
            if self.arguments.command.first().is_some_and(|word| word.is_empty()) {
                bail!("the command is empty");
            }
            return Ok(self.arguments.command.clone());
        };
        let mut argv = vec![self.arguments.shell.clone().into_os_string(), "-c".into(), text.clone()];
        argv.extend(self.arguments.command.iter().cloned());
        Ok(argv)
    }

    /// Tells what would be run and what would hold for it. Whether this machine lets a sandbox be made is not tried.
    fn would_run(&self, program: &Program, argv: &[OsString]) -> anyhow::Result<u8> {
        let Prepared { told, policy, host, plan, fidelity, backend, .. } = self.prepared;
        let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut text = format!("would run {}\n", visible(&crate::preflight::told(&words)));
        text.push_str(&format!("program {}\ndirectory {}\n{told}, by {backend}\n", program.path, host.cwd));
        for request in &self.arguments.publish {
            text.push_str(&format!("port {} offered\n", request.inside));
        }
        text.push_str("\nrules\n");
        for enforcement in fidelity {
            text.push_str(&format!("  {}\n", fidelity::line(policy, enforcement).replace('\n', "\n  ")));
        }
        text.push('\n');
        text.push_str(&own::text(plan, policy));
        self.screen.print(&text)?;
        Ok(0)
    }

    /// Judges the command, and what its wrappers and its shell text start.
    fn judged(
        &self,
        judge: &Judge<'_>,
        asked: &OsStr,
        program: &Program,
        argv: &[OsString],
        path: Option<&OsStr>,
    ) -> Result<(), Refusal> {
        let text: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        // Where starts are judged as they are made, the person is asked then.
        let asks_later = self.asks.is_some() && own::judges_starts(&self.prepared.plan);
        match judge.start(&asked.to_string_lossy(), Some(program), &text) {
            Err(refusal) if asks_later && can_be_asked(judge.policy, &refusal.decision.reason) => {}
            judged => judged?,
        }
        let words = text.iter().cloned().map(crate::preflight::Word::Known).collect();
        if let Some(line) = &self.arguments.text
            && let Err(error) = invocations(&line.to_string_lossy())
        {
            self.screen.note(&format!("{error}; its commands are not judged before they start"));
        }
        if asks_later {
            return Ok(());
        }
        judge.within(crate::preflight::Invocation { words }, path)
    }

    /// Whether the ports that are to be offered may be; an exit code if one may not.
    fn judge_publish(&mut self) -> anyhow::Result<Option<u8>> {
        let Prepared { policy, host, .. } = self.prepared;
        if self.arguments.publish.is_empty() {
            return Ok(None);
        }
        let world = crate::preflight::world(host, policy, &[], crate::preflight::Ways::Programs);
        for request in &self.arguments.publish {
            let decision = decide(policy, &world, &Question::Listen(request.inside));
            if decision.verdict == Verdict::Denied {
                let item = request.inside.to_string();
                return self.refused(&Refusal { action: "listen", item, decision }).map(Some);
            }
        }
        Ok(None)
    }

    /// Listens at the ports that are to be offered; an exit code if it cannot.
    fn publish(&mut self) -> Option<u8> {
        let Run { publish, publish_anywhere, .. } = self.arguments;
        // On macOS the command listens by itself, and its profile lets it.
        if publish.is_empty() || cfg!(target_os = "macos") {
            return None;
        }
        let anywhere = if *publish_anywhere { Anywhere::Allowed } else { Anywhere::Refused };
        match Published::new(publish, anywhere) {
            Ok(published) => {
                self.published = Some(published);
                None
            }
            Err(error) => {
                self.screen.say(&visible(&error.to_string()));
                Some(FAILED)
            }
        }
    }

    /// Says why there is no program.
    fn not_started(&mut self, asked: &OsStr, problem: NotFound) -> anyhow::Result<u8> {
        let shown = visible(&asked.to_string_lossy());
        match problem {
            NotFound::Missing => {
                let near = words::near(&asked.to_string_lossy())
                    .map(|near| format!("; did you mean `fence {near}`"))
                    .unwrap_or_default();
                self.screen.say(&format!("`{shown}` was not found{near}"));
                Ok(NOT_FOUND)
            }
            NotFound::NotExecutable(path) => {
                self.screen.say(&format!("`{path}` cannot be executed: it is no executable file"));
                Ok(REFUSED)
            }
            NotFound::Refused(program) if self.prepared.backend.has_own_tmp() && hidden(&program) => {
                self.screen.say(&format!(
                    "`{}` is not there inside: `/tmp` is private to each run; copy the program to the workspace",
                    program.path
                ));
                Ok(NOT_FOUND)
            }
            NotFound::Refused(program) => {
                let judge = judge(self.prepared);
                match judge.program(&program) {
                    Err(refusal) => self.refused(&refusal),
                    Ok(()) => bail!("`{}` was refused and then allowed", program.path),
                }
            }
        }
    }

    /// Tells and logs a refusal before the start.
    fn refused(&mut self, refusal: &Refusal) -> anyhow::Result<u8> {
        let (text, told) = remedy::refused(&self.prepared.policy, refusal);
        self.screen.say(&text);
        self.conclude(told)?;
        Ok(REFUSED)
    }

    /// Writes the last event down, which was told already.
    fn conclude(&mut self, told: Told) -> anyhow::Result<()> {
        self.record.get_ready();
        self.record.add_told(&told);
        Ok(self.record.conclude()?)
    }

    fn launch(mut self, command: &launch::Command) -> anyhow::Result<u8> {
        self.overlay.make(&self.prepared.plan)?;
        let timings = if self.arguments.timings { Timings::On } else { Timings::Off };
        let asked = observed::asked(self.record.live(), self.arguments.log.as_deref());
        let observed = observed::wanted(self.prepared, asked, self.screen);
        let options = Options { timings, standard: Standard::Released, observed };
        let started = self.start(command, &options)?;
        if let Err(error) = self.overlay.record(&self.prepared.plan) {
            self.screen.say(&visible(&super::in_words(&format!(
                "{error}; what the host changes from now on is told as a conflict"
            ))));
        }
        let Ended { outcome, timings: measured, refused } = match started {
            Ok(ended) => ended,
            Err(error) => {
                if let Some(next) = self.fall_back(&error) {
                    tell_before(&next, self.screen);
                    let Started { arguments, overlay, screen, .. } = self;
                    let record = Record::new(&next, arguments, screen)?;
                    let (published, asks) = (None, None);
                    return Started { prepared: &next, arguments, overlay, screen, record, published, asks }
                        .run();
                }
                self.screen.say(&visible(&error.to_string()));
                return Ok(u8::try_from(error.exit_code()).unwrap_or(FAILED));
            }
        };
        if self.arguments.timings {
            for timing in measured {
                self.screen.tell(&format!(
                    "{:>10.3} ms  {}",
                    timing.took.as_secs_f64() * 1e3,
                    timing.phase.name()
                ));
            }
        }
        if refused > 0 {
            let processes = if refused == 1 { "process" } else { "processes" };
            self.limited(LimitKind::Processes, &format!("{refused} {processes} refused by"), command)?;
        }
        let ended_by = match outcome {
            Outcome::TimedOut => Some(LimitKind::Time),
            Outcome::UsedUp(resource) => Some(resource.limit()),
            Outcome::Exited(_) | Outcome::Signalled(_) => None,
        };
        if let Some(kind) = ended_by {
            self.limited(kind, "ended by", command)?;
        }
        Ok(u8::try_from(outcome.exit_code() & 0xff).unwrap_or(FAILED))
    }

    /// What another backend would apply, where the native one could not make its namespaces and the choice is fence's.
    fn fall_back(&self, error: &launch::Error) -> Option<Prepared> {
        let Prepared { backend: Backend::Native, policy, host, .. } = self.prepared else { return None };
        if self.arguments.backend != BackendName::Auto
            || self.arguments.artifact.is_some()
            || self.arguments.overlay.is_some()
            || self.asks.is_some()
            || !matches!(error, launch::Error::Namespaces { .. })
        {
            return None;
        }
        let chosen = backend::fall_back(&error.to_string(), policy, host, self.screen)?;
        Some(Prepared {
            told: self.prepared.told.clone(),
            more: self.prepared.more.clone(),
            policy: policy.clone(),
            host: host.clone(),
            plan: chosen.lowered.plan,
            fidelity: chosen.lowered.fidelity,
            backend: chosen.backend,
        })
    }

    /// Starts the command, and serves its connections until it has ended.
    #[cfg(target_os = "linux")]
    fn start(&mut self, command: &launch::Command, options: &Options) -> anyhow::Result<Launched> {
        let prepared = self.prepared;
        let published = self.published.take();
        let record = || Record::new(prepared, self.arguments, self.screen);
        let (asker, connections) = match self.asks.take() {
            Some(Asks { starts, connections }) => (Some(starts), Some(connections)),
            None => (None, None),
        };
        let mut starts = Starts::new(prepared, options.observed, record)?.map(|starts| starts.asking(asker));
        let arbiter = starts.as_mut().map(|starts| starts as &mut dyn Arbiter);
        let launched = |attendant: Option<&mut dyn launch::Attendant>| match &prepared.backend {
            Backend::Native => {
                crate::linux::run_attended(&prepared.plan, command, options, attendant, arbiter)
            }
            Backend::Bwrap(program) => {
                crate::linux::bwrap::run(program, &prepared.plan, command, options, attendant)
            }
            Backend::Landlock(_) => {
                crate::linux::alone::run(&prepared.plan, command, options, attendant, arbiter)
            }
        };
        let Some(mut serving) = Serving::new(prepared, &mut self.record, published, connections) else {
            return Ok(launched(None));
        };
        let ended = launched(Some(&mut serving));
        let summary = serving.summary;
        if self.record.live() == Live::Summed {
            refused::tell(&summary, self.screen);
        }
        self.record.conclude()?;
        Ok(ended)
    }

    /// Starts the command under its profile.
    #[cfg(target_os = "macos")]
    fn start(&mut self, command: &launch::Command, _: &Options) -> anyhow::Result<Launched> {
        let Prepared { plan, policy, host, .. } = self.prepared;
        let refusals = match self.arguments.log.is_some() || self.arguments.monitor {
            true => crate::macos::Refusals::Told,
            false => crate::macos::Refusals::Untold,
        };
        let fence = std::env::current_exe().and_then(std::fs::canonicalize).context("cannot find fence")?;
        self.record.get_ready();
        let (record, screen) = (&mut self.record, self.screen);
        let mut heard = |heard| match heard {
            Heard::Told(told) => record.add(&told),
            Heard::Further(source, times) => record.add_further(source, times),
            Heard::Note(text) => screen.note(&text),
        };
        let run = crate::macos::Run { plan, policy, host, command, fence: &fence, refusals };
        let ended = crate::macos::run(run, &mut heard);
        if let Ok(ended) = &ended
            && self.record.live() == Live::Summed
        {
            refused::tell(&ended.summary, self.screen);
        }
        self.record.conclude()?;
        Ok(ended.map(|ended| ended.outcome.into()))
    }

    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    fn start(&mut self, _: &launch::Command, _: &Options) -> anyhow::Result<Launched> {
        Ok(Err(launch::Error::Plan("this version runs commands on Linux and macOS only".to_owned())))
    }

    /// Tells and logs what a limit has done to the command.
    fn limited(&mut self, kind: LimitKind, done: &str, command: &launch::Command) -> anyhow::Result<()> {
        let policy = &self.prepared.policy;
        let Some((statement, place)) = crate::printer::limit_in_force(policy, kind) else { return Ok(()) };
        self.screen.note(&format!("{done} `{}` ({place})", visible(&statement)));
        let item = command.program.to_string_lossy().into_owned();
        let event = Event::limited(kind, item, (&statement, &place), policy);
        self.conclude(Told { event, remedy: None })
    }
}

/// What came of a command, or why there was none.
type Launched = Result<Ended, launch::Error>;

/// Whether a file lies where the sandbox has a directory of its own.
fn hidden(program: &Program) -> bool {
    AbsolutePath::new(b"/tmp")
        .is_some_and(|tmp| program.path.is_within(&tmp) || program.resolved.is_within(&tmp))
}

fn judge(prepared: &Prepared) -> Judge<'_> {
    Judge { policy: &prepared.policy, host: &prepared.host, cwd: &prepared.host.cwd }
}

/// The whole environment of the command: what the plan passes on and sets, and fence's own, which decide nothing.
fn environment(prepared: &Prepared) -> Vec<(OsString, OsString)> {
    let EnvironmentPlan { pass, set } = &prepared.plan.environment;
    let mut environment: Vec<(OsString, OsString)> = Vec::with_capacity(pass.len() + set.len() + 2);
    for name in pass {
        if let Some(value) = std::env::var_os(name) {
            let value = match name.as_str() {
                "PWD" => working_directory(&prepared.host.cwd, value),
                // Not one that `sudo -E` kept: the policy's `~` is this one.
                "HOME" => OsString::from_vec(prepared.host.person.home.as_bytes().to_vec()),
                _ => value,
            };
            environment.push((name.into(), value));
        }
    }
    environment.extend(set.iter().map(|(name, value)| (name.into(), value.into())));
    environment.push(("FENCE".into(), env!("CARGO_PKG_VERSION").into()));
    let name = prepared.policy.name.clone().or_else(|| Some(prepared.policy.sources.first()?.name.clone()));
    environment.push(("FENCE_POLICY".into(), name.unwrap_or_default().into()));
    environment
}

/// The caller's `PWD` if it leads to the directory that the command starts in, else that directory.
fn working_directory(cwd: &AbsolutePath, told: OsString) -> OsString {
    let leads =
        Path::new(&told).canonicalize().is_ok_and(|real| real.as_os_str().as_bytes() == cwd.as_bytes());
    if leads { told } else { OsString::from_vec(cwd.as_bytes().to_vec()) }
}

fn c_string(bytes: &[u8]) -> anyhow::Result<CString> {
    CString::new(bytes).map_err(|_| anyhow!("a NUL byte cannot stand in a command or its environment"))
}

/// The surroundings of an artifact's run.
pub(super) fn surroundings() -> anyhow::Result<Surroundings> {
    Ok(Surroundings::of(None)?)
}

/// A path as a person may write it on a command line.
pub(super) fn shown(path: &Path) -> String {
    visible(&PathBuf::from(path).to_string_lossy())
}
