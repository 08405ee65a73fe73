//! `fence doctor`

use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::{Cgroup, Host, Support};
use fence_compiler::lower::linux::lower;
#[cfg(target_os = "linux")]
use fence_compiler::plan::NetworkPlan;
use fence_compiler::plan::{Keep, Mount};
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{Origin, Source};
use serde_json::json;

use super::arguments::{Doctor, Format};
use super::json;
use super::policy::host;
use super::screen::{Screen, paint};
use crate::host::{ProbedFiles, Surroundings};
use crate::launch::{Command, Error, Observed, Options, Outcome, Standard, Timings};
use crate::load::{Library, built_in};

/// One mechanism of the table.
struct Row {
    name: &'static str,
    found: Support,
    /// What policies lose without it.
    means: &'static str,
    /// What mends it here.
    mend: Option<String>,
    need: Need,
}

/// Whether anything runs without a mechanism.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing does.
    Required,
    /// Some rules are held differently.
    Useful,
}

/// Where this machine is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Plain,
    Container,
    Wsl,
    Ci,
}

/// Shows what this machine offers and lacks, and what mends it.
pub(super) fn doctor(arguments: &Doctor, screen: Screen) -> anyhow::Result<u8> {
    let surroundings = Surroundings::of(None)?;
    let library =
        Library::new(surroundings.person.home.clone(), surroundings.person.uid, surroundings.cwd.clone());
    let request =
        Request { mains: built_in("base").into_iter().collect(), set: Vec::new(), above: Vec::new() };
    let policy = resolve(&request, &library).policy;
    let mut host = host(&surroundings, &policy, Vec::new());
    host.features.cgroup = cgroup();
    let place = place();
    let sandbox = trial(&policy, &host, Vec::new());
    let connections = match &sandbox {
        Support::Yes => trial(&resolve(&connecting(), &library).policy, &host, Vec::new()),
        Support::No(_) => Support::No("not tried, because there is no sandbox".to_owned()),
    };
    let overlays = match &sandbox {
        Support::Yes => trial(&policy, &host, layer()),
        Support::No(_) => Support::No("not tried, because there is no sandbox".to_owned()),
    };
    let mut rows = rows(&host, place, sandbox, connections);
    rows.push(Row {
        name: "overlays",
        found: overlays,
        means: "`--overlay tmp` is refused, and `--overlay NAME` too unless only the file system in memory lacks something",
        mend: Some("Linux 6.6 or newer with overlayfs (sudo modprobe overlay)".to_owned()),
        need: Need::Useful,
    });
    rows.extend(held_together(&host, place));
    rows.push(bwrap(&host));
    let broken = rows.iter().any(|row| row.need == Need::Required && !row.found.is_yes());
    match arguments.format {
        Format::Text => screen.print(&as_text(&rows, &host, place, screen))?,
        Format::Json => {
            let mechanisms: Vec<_> = rows
                .iter()
                .map(|row| {
                    json!({
                        "name": row.name,
                        "present": row.found.is_yes(),
                        "why": match &row.found { Support::Yes => None, Support::No(why) => Some(why) },
                        "means": row.means,
                        "mend": row.mend,
                        "required": row.need == Need::Required,
                    })
                })
                .collect();
            let answer = json!({ "version": json::VERSION, "host": host, "mechanisms": mechanisms });
            json::print(screen, &answer)?;
        }
    }
    Ok(u8::from(broken))
}

#[cfg(target_os = "linux")]
fn cgroup() -> Option<Cgroup> {
    Some(crate::host::cgroup::cgroup())
}

#[cfg(not(target_os = "linux"))]
fn cgroup() -> Option<Cgroup> {
    None
}

/// Whether limits can be held for all of a run together.
fn held_together(host: &Host, place: Place) -> Vec<Row> {
    let Some(Cgroup { memory, processes, cpu }) = host.features.cgroup.clone() else { return Vec::new() };
    let row = |name, found: Support, means| Row {
        name,
        mend: mend_cgroup(&found, host, place),
        found,
        means,
        need: Need::Useful,
    };
    vec![
        row("memory by a cgroup", memory, "`limit memory` holds for each process by itself"),
        row(
            "processes by a cgroup",
            processes,
            "`limit processes` is held otherwise where that can be (`fence check` tells), and not told when it is reached",
        ),
        row("cpu by a cgroup", cpu, "`limit cpu` holds for each process by itself"),
    ]
}

/// What gives this user a place for cgroups: systemd's own one for the user, or what root does by hand.
fn mend_cgroup(found: &Support, host: &Host, place: Place) -> Option<String> {
    let Support::No(why) = found else { return None };
    let by_systemd = Path::new("/run/systemd/system").exists();
    match (place, host.person.uid) {
        (Place::Container, _) => None,
        (_, 0) if why.contains("subtree_control") && !by_systemd && has_controllers() => {
            Some("echo '+memory +pids' > /sys/fs/cgroup/cgroup.subtree_control".to_owned())
        }
        (_, 0) => None,
        _ if by_systemd => Some("systemd-run --user --scope -p Delegate=yes fence …".to_owned()),
        _ => None,
    }
}

/// Whether cgroups of version 2 are where they usually are, and no others have taken what limits need.
fn has_controllers() -> bool {
    let names = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    ["memory", "pids"].iter().all(|needed| names.split_whitespace().any(|name| name == *needed))
}

/// Whether there is a bubblewrap, for machines that let nobody else make namespaces.
fn bwrap(host: &Host) -> Row {
    let found = super::backend::bubblewrap(host);
    Row {
        name: "bubblewrap",
        found: found.map_or_else(Support::No, |()| Support::Yes),
        means: "`--backend bwrap` cannot be used; nothing else needs it",
        mend: Some("install bubblewrap 0.8 or later (sudo apt install bubblewrap)".to_owned()),
        need: Need::Useful,
    }
}

/// A policy that allows a connection: its plan has a network that is judged.
fn connecting() -> Request {
    let text = "fence 1\nallow connect localhost:1\n".to_owned();
    let one = Source { origin: Origin::Given(text.clone()), name: "doctor".to_owned(), text };
    Request { mains: built_in("base").into_iter().chain([one]).collect(), set: Vec::new(), above: Vec::new() }
}

/// A layer in memory over a directory that every system has.
fn layer() -> Vec<Mount> {
    let over = AbsolutePath::root().join(b"usr").join(b"bin");
    vec![Mount::Layer { over, keep: Keep::Run, mode: 0o755 }]
}

/// Makes a sandbox, with further mounts, and runs `true` in it: what no single fact can prove.
fn trial(policy: &fence_compiler::policy::Policy, host: &Host, further: Vec<Mount>) -> Support {
    let mut lowered = lower(policy, host, &mut ProbedFiles);
    lowered.plan.mounts.extend(further);
    if let Some(error) =
        lowered.diagnostics.iter().find(|found| found.severity == fence_compiler::diagnostic::Severity::Error)
    {
        return Support::No(error.message.clone());
    }
    let command =
        Command { program: c"/bin/true".to_owned(), argv: vec![c"true".to_owned()], environment: Vec::new() };
    let options = Options { timings: Timings::Off, standard: Standard::Kept, observed: Observed::Nothing };
    match start(&lowered.plan, &command, &options) {
        Ok(Outcome::Exited(0)) => Support::Yes,
        Ok(other) => Support::No(format!("`/bin/true` ended in it with {}", other.exit_code())),
        Err(error) => Support::No(error.to_string()),
    }
}

#[cfg(target_os = "linux")]
fn start(
    plan: &fence_compiler::plan::LinuxPlan,
    command: &Command,
    options: &Options,
) -> Result<Outcome, Error> {
    match plan.network {
        NetworkPlan::Isolated => crate::linux::run(plan, command, options),
        NetworkPlan::Judged(_) => crate::linux::run_attended(plan, command, options, Some(&mut Nobody), None)
            .map(|ended| ended.outcome),
    }
}

/// Serves nothing: that the network can be made is all that is tried.
#[cfg(target_os = "linux")]
struct Nobody;

#[cfg(target_os = "linux")]
impl crate::launch::Attendant for Nobody {
    fn making(&self) -> crate::launch::Making {
        crate::launch::Making::Nothing
    }

    fn attend(&mut self, _: crate::launch::Sockets, _: &mut dyn crate::proxy::Watch) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
fn start(_: &fence_compiler::plan::LinuxPlan, _: &Command, _: &Options) -> Result<Outcome, Error> {
    Err(Error::Plan("a sandbox is tried on Linux only".to_owned()))
}

fn rows(host: &Host, place: Place, trial: Support, connections: Support) -> Vec<Row> {
    let features = &host.features;
    let kernel = features.kernel;
    let landlock = match features.landlock_abi {
        0 => Support::No("not in this kernel, or not among `lsm=` at boot".to_owned()),
        abi if abi < 6 => Support::No(format!(
            "version {abi}; signals and abstract sockets are scoped from 6 on (Linux 6.12)"
        )),
        _ => Support::Yes,
    };
    let upgrade =
        |needed: &str| Some(format!("a kernel of {needed} or newer (this is {}.{})", kernel.0, kernel.1));
    vec![
        Row {
            name: "a sandbox",
            mend: mend_sandbox(&trial, place),
            found: trial,
            means: "nothing runs",
            need: Need::Required,
        },
        Row {
            name: "user namespaces",
            mend: mend_namespaces(&features.user_namespaces, place),
            found: features.user_namespaces.clone(),
            means: "nothing runs: the file tree, the network and other processes are kept apart by them",
            need: Need::Required,
        },
        Row {
            name: "mount calls",
            found: features.mount_api.clone(),
            means: "nothing runs: the file tree is made with them",
            mend: mend_filter(place).or_else(|| upgrade("5.12")),
            need: Need::Required,
        },
        Row {
            name: "seccomp",
            found: features.seccomp.clone(),
            means: "nothing runs: dangerous system calls could not be refused",
            mend: Some("a kernel with CONFIG_SECCOMP_FILTER".to_owned()),
            need: Need::Required,
        },
        Row {
            name: "Landlock",
            found: landlock,
            means: "files have no second line of defence; signals to the own process group reach outside",
            mend: Some("Linux 6.12 or newer with `landlock` in its `lsm=` boot parameter".to_owned()),
            need: Need::Useful,
        },
        Row {
            name: "nftables",
            found: connections,
            means: "a policy that allows a connection does not run",
            mend: Some("sudo modprobe -a nf_tables nft_redir nft_reject_inet nft_ct".to_owned()),
            need: Need::Useful,
        },
        Row {
            name: "a fresh /proc",
            found: features.fresh_proc.clone(),
            means: "names and command lines of processes outside can be read inside",
            mend: match place {
                Place::Container => Some("docker run --security-opt systempaths=unconfined …".to_owned()),
                _ => None,
            },
            need: Need::Useful,
        },
        Row {
            name: "memfd_noexec",
            found: features.memfd_noexec.clone(),
            means: "where nothing writable may be executed, programs cannot make files in memory at all (memfd_create)",
            // On a newer kernel it is the right that is missing, and nothing but being root gives it.
            mend: if kernel < (6, 3) { upgrade("6.3") } else { None },
            need: Need::Useful,
        },
        Row {
            name: "pid_max per sandbox",
            found: features.pid_max.clone(),
            means: "`limit processes` does not bind root",
            mend: upgrade("6.14"),
            need: Need::Useful,
        },
        Row {
            name: "judging starts",
            found: features.mediation.clone(),
            means: "rules of `run` are judged for the command that fence starts, not for what that one starts in turn",
            mend: if kernel < (5, 19) {
                upgrade("5.19")
            } else {
                Some("sudo sysctl kernel.yama.ptrace_scope=1, after the next boot".to_owned())
            },
            need: Need::Useful,
        },
        Row {
            name: "TIOCSTI off",
            found: features.tiocsti_off.clone(),
            means: "nothing: fence refuses it by seccomp; without fence any program can type into your terminal",
            mend: Some("sudo sysctl dev.tty.legacy_tiocsti=0".to_owned()),
            need: Need::Useful,
        },
    ]
}

fn mend_sandbox(trial: &Support, place: Place) -> Option<String> {
    let Support::No(_) = trial else { return None };
    match place {
        Place::Container => Some(
            "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined …"
                .to_owned(),
        ),
        Place::Wsl => Some("WSL 2 with a current kernel: wsl --update".to_owned()),
        Place::Ci => Some("on the runner itself, not in a container; on Ubuntu: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0".to_owned()),
        Place::Plain => None,
    }
}

fn mend_namespaces(found: &Support, place: Place) -> Option<String> {
    let Support::No(why) = found else { return None };
    if why.contains("apparmor") {
        return Some(
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for fence in /etc/apparmor.d with `userns,`"
                .to_owned(),
        );
    }
    if why.contains("unprivileged_userns_clone") {
        return Some("sudo sysctl kernel.unprivileged_userns_clone=1".to_owned());
    }
    if why.contains("max_user_namespaces") {
        return Some("sudo sysctl user.max_user_namespaces=15000".to_owned());
    }
    mend_filter(place)
}

fn mend_filter(place: Place) -> Option<String> {
    (place == Place::Container).then(|| "docker run --security-opt seccomp=unconfined …".to_owned())
}

/// Where this machine is, as far as it shows.
fn place() -> Place {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().to_lowercase();
    let container = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists())
        || std::env::var_os("container").is_some();
    if container {
        Place::Container
    } else if release.contains("microsoft") {
        Place::Wsl
    } else if std::env::var_os("CI").is_some() {
        Place::Ci
    } else {
        Place::Plain
    }
}

fn as_text(rows: &[Row], host: &Host, place: Place, screen: Screen) -> String {
    let place = match place {
        Place::Plain => "",
        Place::Container => ", in a container",
        Place::Wsl => ", in WSL",
        Place::Ci => ", on a CI runner",
    };
    let mut text = format!(
        "Linux {}.{}{place}; {} (user {}), at home in {}\n\n",
        host.features.kernel.0, host.features.kernel.1, host.person.name, host.person.uid, host.person.home
    );
    for row in rows {
        let (mark, color) = match (&row.found, row.need) {
            (Support::Yes, _) => ("yes", "32"),
            (Support::No(_), Need::Required) => ("NO", "31;1"),
            (Support::No(_), Need::Useful) => ("no", "33"),
        };
        text.push_str(&format!("  {}  {}\n", paint(screen.out, &format!("{mark:<3}"), color), row.name));
        if let Support::No(why) = &row.found {
            text.push_str(&format!("       why:   {}\n", crate::audit::visible(&super::in_words(why))));
            text.push_str(&format!("       means: {}\n", row.means));
            if let Some(mend) = &row.mend {
                text.push_str(&format!("       mend:  {mend}\n"));
            }
        }
    }
    text
}
