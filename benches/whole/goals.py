"""The table of goals: each with what was measured in this run, or that it was not."""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

# What a goal is met by: at most the figure, or at least.
MOST, LEAST = "at most", "at least"


def table(bench, repository):
    median = {w["name"]: {tool: statistics.median(t) for tool, t in w["times_ms"].items()} for w in bench.workloads}
    inside = {row["name"]: row for row in bench.inside}
    parts = components(repository)
    rows = []

    def goal(what, against, bound, limit, unit, measured):
        met = None if measured is None else (measured <= limit if bound == MOST else measured >= limit)
        shown = "–" if measured is None else f"{measured:.3g}{unit}"
        rows.append({"what": what, "against": against, "goal": f"{bound} {limit:g}{unit}", "measured": shown, "met": met})

    def ratio(workload, tool, other):
        times = median.get(workload, {})
        return times[tool] / times[other] if tool in times and other in times else None

    def within(start, of, end=""):
        named = [name for name in inside if name.startswith(start) and ("judged" in name) == (end != "")]
        return of(inside[named[0]]) if named else None

    goal("start, policy code, everything on", "bwrap", MOST, 1.0, " ×", ratio("true", "fence, policy code", "bwrap"))
    goal("start, policy default, no connection", "bwrap", MOST, 0.8, " ×", ratio("true", "fence", "bwrap"))
    for name, times in median.items():
        if name in ("echo", "python3 -c pass", "node -e ''", "git status, 2,000 files", "rg over 2,000 files"):
            added = times["fence"] - times["none"] if "fence" in times else None
            goal(f"added to `{name}`", "the same alone", MOST, 6, " ms", added)
    goal("one more command in a session, by the library", "a plain spawn", MOST, 1.3, " ×", warm(repository))
    goal("one more command in a session, by `fence session run`", "a plain spawn", MOST, 1.3, " ×",
         ratio("one more true", "fence, in a session", "none"))
    over = lambda row: row["inside"] / row["outside"]
    goal("a child process inside", "outside", MOST, 1.05, " ×", within("100 child processes", over))
    goal("a child process inside, argument rules", "outside", MOST, 1.5, " ×", within("100 child processes, argument", over))
    goal("file work inside", "outside", MOST, 1.05, " ×", within(files(inside), over))
    goal("file work inside, writes judged", "outside", MOST, 3, " ×", within(files(inside), over, "judged"))
    goal("git checkout inside", "outside", MOST, 1.6, " ×", within("git checkout", over))
    goal("git checkout inside, writes judged", "outside", MOST, 2.5, " ×", within("git checkout", over, "judged"))
    send = next((row for name, row in inside.items() if name.endswith("to a local server")), None)
    goal("bytes through the redirected path", "direct", LEAST, 0.5, " ×", send and send["outside"] / send["inside"])
    goal("a new connection, more", "direct", MOST, 150, " us",
         within("a new connection", lambda row: row["inside"] - row["outside"]))
    goal("requests, 8 connections kept", "direct", LEAST, 0.5, " ×",
         within("2,000 requests", lambda row: row["outside"] / row["inside"]))
    proxied = run_bench(repository, "fence-sandbox", "proxy", "") or ""
    for name, way in [("CONNECT", "connect"), ("SOCKS", "socks")]:
        goal(f"1 GiB by {name}", "direct", LEAST, 0.5, " ×", told(proxied, rf"^proxy/{way}/1GiB: .*ratio ([0-9.]+)"))
        goal(f"a new connection by {name}, more", "direct", MOST, 150, " us",
             told(proxied, rf"^proxy/{way}/set-up.*, more ([0-9.]+) us"))
    for name, way in [("CONNECT", "connect"), ("SOCKS", "socks"), ("the HTTP proxy", "http")]:
        goal(f"requests by {name}, 8 connections kept", "direct", LEAST, 0.5, " ×",
             told(proxied, rf"^proxy/{way}/requests.*ratio ([0-9.]+)"))
    nanoseconds = lambda name: parts.get(name)
    compile_ms = None
    if nanoseconds("compile/code") is not None:
        compile_ms = nanoseconds("compile/code") / 1e6
    goal("text of `code` to its plan", "–", MOST, 1, " ms", compile_ms)
    few, many = nanoseconds("resolve/100"), nanoseconds("resolve/100000")
    goal("100,000 rules", "1,000 × 100 rules", MOST, 1.1, " ×", few and many and many / few / 1000)
    goal("100,000 rules", "–", MOST, 2, " s", many and many / 1e9)
    small, large = nanoseconds("decide/index/path/10-rules"), nanoseconds("decide/index/path/100000-rules")
    goal("a decision, 10 rules", "–", MOST, 1, " us", small and small / 1e3)
    goal("a decision, 100,000 rules", "–", MOST, 1, " us", large and large / 1e3)
    goal("a decision, 100,000 rules", "10 rules", MOST, 3, " ×", small and large and large / small)
    few, many = median.get("true beside 10 files"), median.get("true beside 100,000 files")
    goal("start beside 100,000 files", "beside 10", MOST, 1.05, " ×", few and many and many["fence"] / few["fence"])
    goal("memory of fence during a run", "–", MOST, 8, " MiB", bench.resident())
    goal("the binary", "–", MOST, 8, " MiB", os.path.getsize(bench.fence) / (1 << 20))
    return rows


def files(inside):
    """How the rows of file work begin: with the number of files."""
    return next((name.split(":")[0] for name in inside if "files: create" in name), "files")


def components(repository):
    """Medians of those benches of the compiler that have a goal, nanoseconds by name; empty without cargo."""
    if run_bench(repository, "fence-compiler", "compiler", "compile/code$|resolve/(100|100000)$|decide/index/path/") is None:
        return {}
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"], cwd=repository, capture_output=True, text=True,
    )
    if metadata.returncode != 0:
        return {}
    found = {}
    criterion = pathlib.Path(json.loads(metadata.stdout)["target_directory"]) / "criterion"
    for estimates in criterion.glob("**/new/estimates.json"):
        name = json.loads((estimates.parent / "benchmark.json").read_text())["full_id"]
        found[name] = json.loads(estimates.read_text())["median"]["point_estimate"]
    return found


def warm(repository):
    """The ratio of a command in a session of the library to a plain spawn, as the bench prints it, measured in turn."""
    return told(run_bench(repository, "fence-sandbox", "sandbox", "^session/") or "", r"^session/true: .*ratio ([0-9.]+)")


def told(text, pattern):
    """The figure that a bench prints in such a line, or None."""
    found = re.search(pattern, text, re.M)
    return found and float(found.group(1))


def run_bench(repository, package, bench, only):
    """What a bench prints; None without cargo, or if it fails, which is told."""
    if shutil.which("cargo") is None:
        return None
    print(f"  bench: {bench}", file=sys.stderr, flush=True)
    command = ["cargo", "bench", "--quiet", "-p", package, "--bench", bench, "--", only]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"    it fails: {(done.stderr.strip().splitlines() or [done.returncode])[-1]}", file=sys.stderr, flush=True)
        return None
    return done.stdout
