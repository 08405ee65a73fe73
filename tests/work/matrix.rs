//! Every tool that speaks to a network, with and without the variables that name a proxy, allowed and refused.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use super::harness::{Ending, Person, Scene, Suite};
use super::{Said, reachable, rule_for, run, succeeded};

/// What a tool speaks to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    /// A web server on the host's loopback.
    Web,
    /// An SSH server there.
    Ssh,
    /// A Postgres server there.
    Postgres,
    /// A Redis server there.
    Redis,
    /// The registry that npm is set to, by its name and by TLS.
    Registry,
}

/// A tool, and how it asks for something: `{web}`, `{ssh}`, `{postgres}` and `{redis}` are ports, `{registry}` is a URL
/// and `{host}` its host and port.
struct Tool {
    name: &'static str,
    version: &'static str,
    to: To,
    sh: &'static str,
}

const FETCH_JAVA: &str = r#"import java.net.URI;
import java.net.http.*;

class Fetch {
    public static void main(String[] words) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(words[0])).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.exit(answer.statusCode() == 200 ? 0 : 1);
    }
}
"#;

const TOOLS: &[Tool] = &[
    Tool { name: "curl", version: "curl --version", to: To::Web, sh: "curl -sf http://localhost:{web}/page" },
    Tool {
        name: "wget",
        version: "wget --version",
        to: To::Web,
        sh: "wget -q -O - http://localhost:{web}/page",
    },
    Tool {
        name: "python3",
        version: "/usr/bin/python3 --version",
        to: To::Web,
        sh: "/usr/bin/python3 -c \"import urllib.request as u; u.urlopen('http://localhost:{web}/page').read()\"",
    },
    Tool {
        name: "node",
        version: "node --version",
        to: To::Web,
        sh: "node -e \"fetch('http://localhost:{web}/page').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(2))\"",
    },
    Tool {
        name: "java",
        version: "java --version",
        to: To::Web,
        sh: "java -XX:-UsePerfData Fetch.java http://localhost:{web}/page",
    },
    Tool {
        name: "git",
        version: "git --version",
        to: To::Web,
        sh: "rm -rf clone && git clone -q http://localhost:{web}/repo.git clone && test -d clone/.git",
    },
    Tool {
        name: "ssh",
        version: "ssh -V",
        to: To::Ssh,
        sh: "printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | ssh -F none -p {ssh} -i key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=known -W 127.0.0.1:{web} {user}@localhost | grep -q ' 200 '",
    },
    Tool {
        name: "psql",
        version: "psql --version",
        to: To::Postgres,
        sh: "psql -h localhost -p {postgres} -U ada -d postgres -Atc 'select 6 * 7' | grep -qx 42",
    },
    Tool {
        name: "redis-cli",
        version: "redis-cli --version",
        to: To::Redis,
        sh: "redis-cli -h localhost -p {redis} ping | grep -qx PONG",
    },
    Tool {
        name: "curl",
        version: "curl --version",
        to: To::Registry,
        sh: "curl -sf -o /dev/null {registry}is-number",
    },
    Tool {
        name: "wget",
        version: "wget --version",
        to: To::Registry,
        sh: "wget -q -O /dev/null {registry}is-number",
    },
    Tool {
        name: "python3",
        version: "/usr/bin/python3 --version",
        to: To::Registry,
        sh: "/usr/bin/python3 -c \"import urllib.request as u; u.urlopen('{registry}is-number').read(1)\"",
    },
    Tool {
        name: "node",
        version: "node --version",
        to: To::Registry,
        sh: "node -e \"fetch('{registry}is-number').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(2))\"",
    },
    Tool {
        name: "openssl s_client",
        version: "openssl version",
        to: To::Registry,
        sh: "openssl s_client -connect {host} -servername {name} </dev/null 2>/dev/null | grep -q 'BEGIN CERTIFICATE'",
    },
    Tool {
        name: "git",
        version: "git --version",
        to: To::Registry,
        // The registry is no repository: that it says so is its answer.
        sh: "git ls-remote {registry}none.git 2>&1 | tee said | grep -q 'not found'",
    },
];

impl To {
    fn told(self) -> &'static str {
        match self {
            To::Web => "HTTP, the host's loopback",
            To::Ssh => "SSH, the host's loopback",
            To::Postgres => "Postgres, the host's loopback",
            To::Redis => "Redis, the host's loopback",
            To::Registry => "TLS, a name",
        }
    }
}

/// Whether the variables that name a proxy are there.
#[derive(Clone, Copy)]
enum Variables {
    Unset,
    Set,
}

/// The variables that name the proxy.
pub(super) const NAMES: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NODE_USE_ENV_PROXY",
];

/// Adds a test for each person.
pub(super) fn add(suite: &mut Suite) {
    let needs: Vec<String> = [
        "curl",
        "git",
        "java",
        "node",
        "openssl",
        "psql",
        "redis-cli",
        "redis-server",
        "ssh",
        "sshd",
        "wget",
    ]
    .map(str::to_owned)
    .into();
    for person in Person::everybody() {
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add_needing(
            "every tool reaches what is allowed and nothing else",
            &person,
            &needs,
            move || {
                let server = Person::ordinary().into_iter().next().ok_or("there is no ordinary person")?;
                let services = Services::start(Scene::new(&ground, &server, &[], &[]))?;
                matrix(&services, &Scene::new(&ground, &someone, &[], &[]), &someone)
            },
        );
    }
}

fn matrix(services: &Services, scene: &Scene, person: &Person) -> Result<(), String> {
    let work = scene.path("{work}");
    fs::write(work.join("Fetch.java"), FETCH_JAVA).map_err(|error| error.to_string())?;
    services.hand_out_key(&work, person)?;
    let registry = run(scene, &["npm", "config", "get", "registry"], &[]);
    let registry =
        if succeeded(&registry).is_ok() { registry.1.lines().next().map(str::to_owned) } else { None };
    let (mut wrong, mut rows) = (Vec::new(), Vec::new());
    for tool in TOOLS {
        let registry = match (tool.to, &registry) {
            (To::Registry, None) => {
                reachable(&(Ending::Code(1), "npm names no registry".to_owned()))?;
                continue;
            }
            (_, registry) => registry.as_deref().unwrap_or("https://registry.invalid/"),
        };
        let sh = services.fill(tool.sh, registry);
        if !reachable(&run(scene, &["/bin/sh", "-c", &sh], &[]))? {
            continue;
        }
        let rule = match tool.to {
            To::Registry => rule_for(registry),
            To::Web => format!("allow connect localhost:{}", services.web),
            To::Ssh => format!("allow connect localhost:{}", services.ssh),
            To::Postgres => format!("allow connect localhost:{}", services.postgres),
            To::Redis => format!("allow connect localhost:{}", services.redis),
        };
        let mut cells = Vec::new();
        for variables in [Variables::Unset, Variables::Set] {
            let allowed = fenced(scene, &rule, &sh, variables);
            let refused = fenced(scene, "allow connect localhost:1", &sh, variables);
            let told = tool.to != To::Registry || refused.1.contains("refused connect ");
            let works = succeeded(&allowed).is_ok();
            let stopped = matches!(refused.0, Ending::Code(code) if code != 0) && told;
            if !works || !stopped {
                wrong.push(format!(
                    "{} ({}): allowed: {allowed:?}\nrefused: {refused:?}",
                    tool.name,
                    tool.to.told()
                ));
            }
            cells.push(if works { "reached" } else { "**not reached**" });
            cells.push(if stopped { "refused" } else { "**not refused**" });
        }
        let version = run(scene, &["/bin/sh", "-c", tool.version], &[]).1;
        println!("{} as {person}: {}", tool.name, version.lines().next().unwrap_or_default());
        rows.push(format!("| {} | {} | {} |", tool.name, tool.to.told(), cells.join(" | ")));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n\n"));
    }
    compare_with_document(&rows)
}

/// Runs a line of the shell under the built-in policy and one more rule.
fn fenced(scene: &Scene, rule: &str, sh: &str, variables: Variables) -> Said {
    let fence = scene.fence().display().to_string();
    let mut words = vec![fence.as_str(), "run", "-p", "default", "--rule", rule, "--"];
    if matches!(variables, Variables::Unset) {
        words.push("env");
        words.extend(NAMES.iter().flat_map(|name| ["-u", name]));
    }
    words.extend(["/bin/sh", "-c", sh]);
    run(scene, &words, &[])
}

const BEGIN: &str = "<!-- generated by tests/work/matrix.rs: FENCE_UPDATE=1 -->\n";
const END: &str = "<!-- end of what is generated -->\n";

/// Each row that was tried stands in `docs/network.md`; with `FENCE_UPDATE` the table there is written anew.
fn compare_with_document(rows: &[String]) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/network.md");
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let Some((before, (table, after))) = parts else { return Err("docs/network.md has no table".to_owned()) };
    if std::env::var_os("FENCE_UPDATE").is_some() {
        let head = "| tool | what it speaks to | without the variables: allowed | and refused | with them: allowed | and refused |\n| --- | --- | --- | --- | --- | --- |\n";
        let fresh = format!("{before}{BEGIN}{head}{}\n{END}{after}", rows.join("\n"));
        return fs::write(&path, fresh).map_err(|error| error.to_string());
    }
    let known: BTreeSet<&str> = table.lines().collect();
    let missing: Vec<&String> = rows.iter().filter(|row| !known.contains(row.as_str())).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("docs/network.md is stale, it lacks {missing:?}")) }
}

/// Servers on the host's loopback, until this value is gone.
struct Services {
    scene: Scene,
    running: Vec<Child>,
    user: String,
    web: u16,
    ssh: u16,
    postgres: u16,
    redis: u16,
}

impl Services {
    fn start(scene: Scene) -> Result<Services, String> {
        let user = Person::ordinary().into_iter().next().map(|person| person.name).unwrap_or_default();
        let mut services = Services {
            scene,
            running: Vec::new(),
            user,
            web: port()?,
            ssh: port()?,
            postgres: port()?,
            redis: port()?,
        };
        let Services { web, ssh, postgres, redis, .. } = services;
        let at = services.scene.path("{work}").display().to_string();
        services.do_once(&format!(
            "cd {at} && mkdir www && echo page > www/page && git init -q src && cd src && git config user.email a@b.invalid && \
             git config user.name ada && echo text > file && git add file && git commit -qm first && cd .. && \
             git clone -q --bare src www/repo.git && git -C www/repo.git update-server-info && \
             ssh-keygen -q -t ed25519 -N '' -f hostkey && ssh-keygen -q -t ed25519 -N '' -f key && cp key.pub authorized"
        ))?;
        let tools = postgres_tools();
        services
            .do_once(&format!("{} -D {at}/db -U ada -A trust >/dev/null", tools.join("initdb").display()))?;
        services.keep(&format!(
            "exec /usr/bin/python3 -m http.server {web} --bind 127.0.0.1 --directory {at}/www"
        ))?;
        services.keep(&format!(
            "exec \"$(command -v sshd)\" -D -f /dev/null -p {ssh} -h {at}/hostkey -o ListenAddress=127.0.0.1 \
             -o AuthorizedKeysFile={at}/authorized -o StrictModes=no -o UsePAM=no -o PidFile=none"
        ))?;
        services.keep(&format!(
            "exec {} -D {at}/db -p {postgres} -k {at} -c listen_addresses=127.0.0.1",
            tools.join("postgres").display()
        ))?;
        services.keep(&format!("exec redis-server --bind 127.0.0.1 --port {redis} --save '' --dir {at}"))?;
        for port in [web, ssh, postgres, redis] {
            await_port(port)?;
        }
        Ok(services)
    }

    fn do_once(&self, sh: &str) -> Result<(), String> {
        let done = self.scene.start().words(["/bin/sh", "-c", sh]).run();
        if done.ending == Ending::Code(0) {
            Ok(())
        } else {
            Err(format!("{sh}\n{}{}", done.out(), done.err()))
        }
    }

    fn keep(&mut self, sh: &str) -> Result<(), String> {
        let start = self.scene.start().words(["/bin/sh", "-c", &format!("{sh} >/dev/null 2>&1 </dev/null")]);
        self.running.push(start.spawn().map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Gives somebody the key of the SSH server's user.
    fn hand_out_key(&self, work: &Path, person: &Person) -> Result<(), String> {
        use std::os::unix::fs::PermissionsExt;
        let key = work.join("key");
        fs::copy(self.scene.path("{work}/key"), &key)
            .and_then(|_| fs::set_permissions(&key, fs::Permissions::from_mode(0o600)))
            .and_then(|()| {
                std::os::unix::fs::chown(&key, Some(person.uid.as_raw()), Some(person.gid.as_raw()))
            })
            .map_err(|error| error.to_string())
    }

    fn fill(&self, sh: &str, registry: &str) -> String {
        let rule = rule_for(registry);
        let host = rule.rsplit(' ').next().unwrap_or_default();
        let name = host.split(':').next().unwrap_or_default();
        [
            ("{web}", self.web.to_string().as_str()),
            ("{ssh}", self.ssh.to_string().as_str()),
            ("{postgres}", self.postgres.to_string().as_str()),
            ("{redis}", self.redis.to_string().as_str()),
            ("{registry}", registry),
            ("{host}", host),
            ("{name}", name),
            ("{user}", &self.user),
        ]
        .into_iter()
        .fold(sh.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for child in &mut self.running {
            // SIGTERM first: Postgres ends its children and removes what it made.
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
            let ended = Instant::now() + Duration::from_secs(10);
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < ended {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where the server's programs of Postgres are: distributions keep them out of `PATH`.
fn postgres_tools() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").is_file());
    found.unwrap_or_else(|| PathBuf::from("/usr/local/bin"))
}

/// A port that nobody has just now.
fn port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

fn await_port(port: u16) -> Result<(), String> {
    for _ in 0..600 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("nothing listens on port {port}"))
}
