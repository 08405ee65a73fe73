"""Measures workloads without a sandbox, under fence and under others, in turn, and writes benchmark.json."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
FORMAT = "fence-benchmark 1"
GIB = 1 << 30


def say(text):
    print(text, file=sys.stderr, flush=True)


def output_of(*command):
    """What a command prints first, or None if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    # Some tell the version of every library.
    return lines[0].strip()[:60].strip() if lines else None


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def machine():
    """What a reader of the report has to know of the machine."""
    cpu = None
    for line in (read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    signs = []
    if pathlib.Path("/.dockerenv").exists() or pathlib.Path("/run/.containerenv").exists() or "container" in os.environ:
        signs.append("container")
    if re.search(r"^flags.*\bhypervisor\b", read("/proc/cpuinfo") or "", re.M):
        signs.append("virtual machine")
    kind = " in a ".join(signs) or "no sign of virtualisation"
    load = os.getloadavg()[0]
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "cpu": cpu or output_of("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine(),
        "cores": os.cpu_count(),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not told",
        "kind": kind,
        "load before": f"{load:.2f}",
        "user": "root" if os.geteuid() == 0 else "ordinary",
    }


class Bench:
    """One run of the benchmark: the options, the ways of running a command, and what was measured."""

    def __init__(self, options, work):
        self.options, self.work = options, work
        self.fence = options.binary
        self.rounds = 2 if options.quick else 3
        self.workloads, self.left_out, self.inside = [], [], []
        self.named = dict(peer.split("=", 1) for peer in options.peer)

    # Ways of running a command.

    def under_fence(self, policy, *more):
        return [self.fence, "run", "-q", "-p", policy, *more, "--"]

    def peers(self, writes):
        """Prefixes of the other tools that are there; `writes` is a directory that the command writes, or None."""
        found = {}
        if self.options.peers and shutil.which("bwrap"):
            bind = ["--bind", str(writes), str(writes)] if writes else []
            if not writes and self.work.is_relative_to("/tmp"):
                # Sources below `/tmp` would be gone.
                bind = ["--ro-bind", str(self.work), str(self.work)]
            found["bwrap"] = [
                "bwrap", "--ro-bind", "/", "/", "--unshare-all", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *bind,
            ]
        if self.options.peers and shutil.which("srt"):
            found["srt"] = ["srt"]
        if self.options.peers and shutil.which("nono"):
            found["nono"] = ["nono", "run", "--allow", ".", "--"]
        if self.options.peers and shutil.which("codex"):
            found["codex"] = ["codex", "sandbox", "--"]
        for name, prefix in self.named.items():
            found[name] = shlex.split(prefix)
        return found

    # Measuring.

    def hyperfine(self, commands, cwd, runs):
        """Times of each command, in turn: every round measures all of them."""
        times = {name: [] for name in commands}
        each = max(1, -(-runs // self.rounds))
        for _ in range(self.rounds):
            with tempfile.NamedTemporaryFile(suffix=".json") as result:
                done = subprocess.run(
                    ["hyperfine", "-N", "--style", "none", "--warmup", "3", "--runs", str(each), "--export-json", result.name,
                     *[shlex.join(map(str, command)) for command in commands.values()]],
                    cwd=cwd, capture_output=True, text=True,
                )
                if done.returncode != 0:
                    raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "hyperfine failed")
                for name, measured in zip(commands, json.load(open(result.name))["results"]):
                    times[name] += [round(seconds * 1e3, 4) for seconds in measured["times"]]
        return times

    def works(self, command, cwd):
        done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            return None
        told = done.stderr.strip().splitlines()
        return f"exit {done.returncode}" + (f": {told[-1]}" if told else "")

    def workload(self, name, category, command, cwd, ways, note=None, runs=None):
        """Measures one command alone and in each way that can run it; what cannot is told."""
        say(f"  {name}")
        commands = {"none": command}
        problem = self.works(command, cwd)
        if problem:
            self.left_out.append(f"`{name}`: the command fails without a sandbox ({problem})")
            return
        for tool, prefix in ways.items():
            whole = prefix(command) if callable(prefix) else [*prefix, *command]
            problem = self.works(whole, cwd)
            if problem:
                self.left_out.append(f"`{name}` under {tool}: {problem}")
            else:
                commands[tool] = whole
        if len(commands) == 1 and ways:
            return
        try:
            times = self.hyperfine(commands, cwd, runs or self.options.runs)
        except RuntimeError as error:
            self.left_out.append(f"`{name}`: {error}")
            return
        self.workloads.append({"name": name, "category": category, "note": note, "times_ms": times})

    def found(self, program, name):
        path = shutil.which(program)
        if path is None:
            self.left_out.append(f"`{name}`: `{program}` is not installed")
        return path

    def both(self, writes=None):
        return {"fence": self.under_fence("default"), **self.peers(writes)}

    # Workloads.

    def starts(self):
        repo = self.repository("start")
        for name in ["true", "echo"]:
            program = f"/bin/{name}" if pathlib.Path(f"/bin/{name}").exists() else shutil.which(name)
            self.workload(name, "spawn only", [program], repo, {
                **self.both(),
                "fence, policy code": self.under_fence("code"),
            })
        self.workload("true, verbose", "spawn only", [shutil.which("true")], repo, {
            "fence": [self.fence, "run", "-v", "-p", "default", "--"],
        }, note="with `-v`, which tells how every rule is enforced; all other rows are without")
        self.workload("true, monitor on", "spawn only", [shutil.which("true")], repo, {
            "fence": [self.fence, "run", "-q", "-m", "-p", "default", "--"],
        }, note="with `-m`, which tells each refusal as it happens; here there is none")
        script = repo / "refused.sh"
        script.write_text(f"{shutil.which('true')} refused 2> /dev/null\nexit 0\n")
        rules = ["--rule", 'deny run "true refused" best-effort']
        self.workload("one refusal", "spawn only", ["/bin/sh", str(script)], repo, {
            "fence": self.under_fence("default", *rules),
            "fence, monitor on": [self.fence, "run", "-q", "-m", "-p", "default", *rules, "--"],
        }, note="a script starts a command that a rule closes; with `-m` it is told as it happens")
        self.workload("true, argument rules", "spawn only", [shutil.which("true")], repo, {
            "fence": self.under_fence("default", "--rule", 'deny run "git push" best-effort'),
        }, note="with a rule about the arguments of a command")
        for program, words in [("python3", ["-c", "pass"]), ("node", ["-e", ""])]:
            # Python itself: what stands first in `PATH` may be a script that looks for it.
            path = sys.executable if program == "python3" else self.found(program, program)
            if path:
                self.workload(f"{program} {shlex.join(words)}", "interpreter", [path, *words], repo, self.both())

    def files(self):
        repo = self.repository("files")
        script = "for i in $(seq 500); do echo $i > created-$i; done; rm created-*"
        self.workload("create 500 files", "files", ["/bin/sh", "-c", script], repo, self.both(repo))
        tree = self.repository("tree")
        for directory in range(20):
            folder = tree / f"d{directory}"
            folder.mkdir()
            for number in range(100):
                (folder / f"f{number}.txt").write_text("hay\n" * 50 + ("needle\n" if number == 99 else ""))
        rg = self.found("rg", "rg over 2,000 files")
        if rg:
            self.workload("rg over 2,000 files", "files", [rg, "-c", "needle"], tree, self.both())
        git = shutil.which("git")
        subprocess.run([git, "add", "."], cwd=tree, check=True)
        self.workload("git status, 2,000 files", "real tool", [git, "status", "--short"], tree, self.both(tree))

    def amortised(self):
        repo = self.repository("amortised")
        true = shutil.which("true")
        for count in [10] if self.options.quick else [10, 100]:
            script = repo / f"{count}-times.sh"
            script.write_text(f"for i in $(seq {count}); do {true}; done\n")
            apart = repo / f"{count}-apart.sh"
            each = shlex.join([*self.under_fence("default"), true])
            apart.write_text(f"for i in $(seq {count}); do {each}; done\n")
            runs = max(5, self.options.runs // (3 if count == 100 else 1))
            self.workload(f"{count} commands", "amortised", ["/bin/sh", str(script)], repo, {
                "fence": self.under_fence("default"),
                "fence, a run each": lambda _, apart=apart: ["/bin/sh", str(apart)],
            }, runs=runs, note="`fence`: all in one run; `fence, a run each`: one `fence run` for each")
        git = shutil.which("git")
        script = repo / "status.sh"
        script.write_text(f"for i in $(seq 10); do {git} status --short; done\n")
        self.workload("git status ten times", "amortised", ["/bin/sh", str(script)], repo, self.both(repo))

    def sessions(self):
        """Commands one by one, in one run, and in a session."""
        repo = self.repository("session")
        true = shutil.which("true")
        name = f"benchmark-{os.getpid()}"
        started = subprocess.run([self.fence, "session", "start", name, "-q", "-p", "default"], cwd=repo,
                                 capture_output=True, text=True)
        if started.returncode != 0:
            self.left_out.append(f"sessions: {started.stderr.strip()}")
            return
        try:
            inside = [self.fence, "session", "run", name, "--"]
            self.workload("one more true", "session", [true], repo, {"fence, in a session": inside},
                          note="`fence session run` loads fence itself first: two programs are started",
                          runs=max(self.options.runs, 60))
            for count in [1, 10] if self.options.quick else [1, 10, 50]:
                def script(kind, each, repo=repo, count=count):
                    path = repo / f"{count}-{kind}.sh"
                    path.write_text(f"for i in $(seq {count}); do {each}; done\n")
                    return ["/bin/sh", str(path)]
                plain = script("plain", true)
                apart = script("apart", shlex.join([*self.under_fence("default"), true]))
                kept = script("kept", shlex.join([*inside, true]))
                self.workload(f"{count} command{'s' if count > 1 else ''}, three ways", "session", plain, repo, {
                    "fence, a run each": lambda _, apart=apart: apart,
                    "fence": self.under_fence("default"),
                    "fence, in a session": lambda _, kept=kept: kept,
                }, runs=max(5, self.options.runs // 2))
        finally:
            subprocess.run([self.fence, "session", "stop", name], capture_output=True)

    def sizes(self):
        """Start-up beside 10 and beside 100,000 files."""
        true = shutil.which("true")
        for count in [10, 100_000]:
            repo = self.repository(f"files-{count}")
            for number in range(count):
                folder = repo / f"d{number // 1000}"
                if number % 1000 == 0:
                    folder.mkdir()
                (folder / f"f{number}").touch()
            self.workload(f"true beside {count:,} files", "size of the tree", [true], repo, {
                "fence": self.under_fence("default"),
            }, runs=max(self.options.runs, 60))

    def network(self):
        curl, repo = shutil.which("curl"), self.repository("network")
        with server("http") as port:
            url = f"http://localhost:{port}/"
            rule = ["--rule", f"allow connect localhost:{port}"]
            quiet = [curl, "-sf", "-o", "/dev/null"]
            self.workload("curl, redirected", "network", [*quiet, "--noproxy", "*", url], repo, {
                "fence": self.under_fence("default", *rule),
            }, note="the program knows of no proxy")
            for name, variable in [("HTTP proxy", "HTTP_PROXY"), ("SOCKS", "ALL_PROXY")]:
                inside = f'exec {shlex.join(quiet)} --noproxy "" --proxy "${variable}" {shlex.quote(url)}'
                self.workload(f"curl, {name}", "network", [*quiet, "--noproxy", "*", url], repo, {
                    "fence": lambda _, inside=inside: [*self.under_fence("default", *rule), "/bin/sh", "-c", inside],
                }, note=f"with the proxy of `{variable}`, through a shell")

    def within(self):
        """The same work outside and inside of one sandbox, timed by itself: a ratio without any start."""
        repo, python = self.repository("inside"), sys.executable
        tries = 3 if self.options.quick else 5
        rules = ["--rule", 'deny run "git push" best-effort']
        # Nothing has such a name: each call that writes is judged, and carried out.
        judged = ["--rule", "deny write **/closed-to-writing"]
        count = 2_000 if self.options.quick else 10_000
        work = f"{count:,} files: create, stat, read, delete"
        plain = [
            ("100 child processes", "ms", ["spawn", "100"], []),
            ("100 child processes, argument rules", "ms", ["spawn", "100"], rules),
            (work, "ms", ["files", str(count)], []),
            (f"{work}, writes judged", "ms", ["files", str(count)], judged),
        ]
        for name, unit, words, more in plain:
            self.compare_inside(name, unit, [python, HERE / "inside.py", *words], repo, more, tries)
        branches = self.branches(repo, count)
        words = [python, HERE / "inside.py", "checkout", str(count)]
        for name, more in [("", []), (", writes judged", judged)]:
            self.compare_inside(f"git checkout of {count:,} files{name}", "ms", words, branches, more, tries)
        if not self.options.network:
            return
        size = GIB // 8 if self.options.quick else GIB
        for name, unit, kind, words in [
            (f"{size >> 20} MiB to a local server", "ms", "sink", ["send", str(size)]),
            ("a new connection and one byte back", "us", "echo", ["connect", "300"]),
            ("2,000 requests, 8 connections kept", "ms", "http", ["requests", "2000", "8"]),
        ]:
            with server(kind) as port:
                rule = ["--rule", f"allow connect localhost:{port}"]
                self.compare_inside(name, unit, [python, HERE / "inside.py", *words, str(port)], repo, rule, tries)

    def branches(self, repo, count):
        """A repository of two branches that differ in so many files."""
        made = repo / "branches"
        made.mkdir()
        git = lambda *words: subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *words], cwd=made, check=True,
                                            capture_output=True)
        git("init", "-q", "-b", "one")
        for branch in ("one", "two"):
            if branch == "two":
                git("checkout", "-q", "-b", branch)
            for number in range(count):
                directory = made / f"d{number % 100}"
                directory.mkdir(exist_ok=True)
                (directory / f"f{number}").write_text(f"{branch} {number}\n")
            git("add", ".")
            git("commit", "-q", "-m", branch)
        return made

    def compare_inside(self, name, unit, command, repo, more, tries):
        say(f"  inside: {name}")
        prefix = self.under_fence("default", *more, "--rule", f"allow read {HERE}")
        outside, inside = [], []
        for _ in range(tries):
            for times, whole in [(outside, command), (inside, [*prefix, *command])]:
                done = subprocess.run(list(map(str, whole)), cwd=repo, capture_output=True, text=True)
                if done.returncode != 0:
                    told = done.stderr.strip().splitlines()
                    self.left_out.append(f"inside, {name}: {told[-1] if told else done.returncode}")
                    return
                times.append(float(done.stdout))
        self.inside.append({
            "name": name, "unit": unit,
            "outside": round(statistics.median(outside), 3), "inside": round(statistics.median(inside), 3),
        })

    def resident(self):
        """Memory of fence's own processes while a command runs, MiB: their proportional share."""
        run = subprocess.Popen(self.under_fence("code") + [shutil.which("sleep"), "20"], cwd=self.repository("resident"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(1.5)
            total, own = 0, os.stat(self.fence)
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    exe = os.stat(process / "exe")
                    if (exe.st_dev, exe.st_ino) != (own.st_dev, own.st_ino):
                        continue
                    if run.pid not in ancestors(int(process.name)):
                        continue
                    rollup = (process / "smaps_rollup").read_text()
                    total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
                except (OSError, AttributeError):
                    continue
            return total / 1024 if total else None
        finally:
            run.send_signal(signal.SIGTERM)
            run.wait()

    def repository(self, name):
        """A new repository with nothing in it."""
        folder = self.work / name
        folder.mkdir()
        subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
        return folder

    # Results.

    def result(self, host):
        tools = {"fence": output_of(self.fence, "-V") or "absent", "hyperfine": output_of("hyperfine", "--version") or "absent"}
        for name, ask in [
            ("bwrap", ["bwrap", "--version"]), ("srt", ["srt", "--version"]), ("nono", ["nono", "--version"]),
            ("codex", ["codex", "--version"]), ("python3", ["python3", "--version"]), ("node", ["node", "--version"]),
            ("git", ["git", "--version"]), ("rg", ["rg", "--version"]), ("curl", ["curl", "--version"]),
        ]:
            tools[name] = output_of(*ask) or "absent"
        tools.update({name: "given by --peer" for name in self.named})
        commit = output_of("git", "-C", str(REPOSITORY), "rev-parse", "--short=10", "HEAD")
        if commit:
            tools["commit of this repository"] = commit
        result = {
            "format": FORMAT,
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "host": host,
            "tools": tools,
            "options": {"runs": self.options.runs, "rounds": self.rounds, "quick": self.options.quick,
                        "network": self.options.network, "peers": self.options.peers},
            "workloads": self.workloads,
            "inside": self.inside,
            "left_out": self.left_out,
        }
        if self.options.goals:
            import goals

            result["goals"] = goals.table(self, REPOSITORY)
        return result


def ancestors(pid):
    """A process and those that it descends from."""
    found = []
    while pid > 1 and pid not in found:
        found.append(pid)
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return found


@contextlib.contextmanager
def server(kind):
    """A server on loopback, and its port."""
    process = subprocess.Popen([sys.executable, HERE / "server.py", kind], stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--peer", action="append", default=[])
    for flag in ["quick", "network", "peers", "goals"]:
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args()
    output = pathlib.Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    host = machine()
    # Beside the sources: a run's `/tmp` is its own, and a file system in memory is not what people work on.
    with tempfile.TemporaryDirectory(prefix=".work-", dir=HERE.parent) as work:
        bench = Bench(options, pathlib.Path(work))
        problem = bench.works(bench.under_fence("default") + ["true"], bench.repository("first"))
        if problem:
            sys.exit(f"benchmark.sh: fence cannot run here ({problem}); `fence doctor` says what is missing")
        say("starts")
        bench.starts()
        bench.files()
        bench.amortised()
        bench.sessions()
        if not options.quick:
            bench.sizes()
        if options.network:
            bench.network()
        bench.within()
        result = bench.result(host)
    (output / "benchmark.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    say(f"wrote {output / 'benchmark.json'}")


if __name__ == "__main__":
    main()
