#!/usr/bin/env python3
"""Asks of each small mistake that could be made in the compiler whether a test sees it.

    pip install tree-sitter tree-sitter-rust && cargo install cargo-mutants
    tests/mutation/mutants.py WORK [--shard K/N] [--jobs N] [FILE…]

`cargo mutants` says which mistakes there are. Building each by itself would take days, so all of them are put into one copy
of the sources, each behind a switch, and the tests run once for each with that one switched on (MUTANT=NUMBER).
What is done stays in WORK: a run that was ended goes on where it was.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

FILES = ["decide.rs", "cover/**", "pattern/**", "lower/*.rs", "lower/landlock/**"]
# The suites of the compiler that are not about macOS alone, the quickest first, and which of their tests.
SUITES = {
    "decisions": [], "errors": [], "laws": [], "fence_compiler": [], "lowering": [], "documents": [], "policies": [],
    "seatbelt": ["fidelity"], "format": [], "data": [], "mistakes": [], "unions": [],
}
SWITCH = '''//! Which mutant is switched on.
use std::sync::OnceLock;
static ACTIVE: OnceLock<u32> = OnceLock::new();
/// Its number; 0 is none.
pub fn at() -> u32 {
    *ACTIVE.get_or_init(|| std::env::var("MUTANT").ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}
/// One of two iterators.
#[derive(Clone)]
pub enum Or<A, B> {
    /// The first.
    A(A),
    /// The second.
    B(B),
}
impl<A: Iterator, B: Iterator<Item = A::Item>> Iterator for Or<A, B> {
    type Item = A::Item;
    fn next(&mut self) -> Option<A::Item> {
        match self {
            Or::A(a) => a.next(),
            Or::B(b) => b.next(),
        }
    }
}
'''
AT = "crate::mutant::at()"


def marked(number, text):
    """The text of a mutant, which errors of the compiler are found by."""
    return f"/*M{number}*/{text}/*W{number}*/"


class Source:
    """A file with every mutant of it behind its switch."""

    def __init__(self, text, mutants):
        import tree_sitter_rust
        from tree_sitter import Language, Parser

        self.text = text
        self.starts = [0]
        for line in text.split(b"\n"):
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.tree = Parser(Language(tree_sitter_rust.language())).parse(text)
        self.nodes = collections.defaultdict(dict)
        self.switches = collections.defaultdict(list)
        self.left_out = {}
        for node in self.walk(self.tree.root_node):
            self.note(node)
        for mutant in mutants:
            self.place(mutant)

    def walk(self, node):
        yield node
        for child in node.children:
            yield from self.walk(child)

    def note(self, node):
        if node.type in ("binary_expression", "compound_assignment_expr"):
            self.nodes["BinaryOperator"][node.child_by_field_name("operator").start_byte] = node
        elif node.type == "unary_expression":
            self.nodes["UnaryOperator"][node.start_byte] = node
        elif node.type == "function_item" and node.child_by_field_name("body"):
            self.nodes["FnValue"][node.child_by_field_name("body").start_byte] = node
        elif node.type == "match_arm":
            self.nodes["MatchArm"][node.start_byte] = node
            guard = node.child_by_field_name("pattern").child_by_field_name("condition")
            if guard:
                self.nodes["MatchArmGuard"][guard.start_byte] = node

    def offset(self, place):
        start, end = self.starts[place["line"] - 1], self.starts[place["line"]]
        return start + len(self.text[start:end].decode()[: place["column"] - 1].encode())

    def place(self, mutant):
        genre, start = mutant["genre"], self.offset(mutant["span"]["start"])
        if genre == "FnValue":
            around = [node for body, node in self.nodes[genre].items() if body <= start < node.end_byte]
            node = max(around, key=lambda node: node.start_byte)
            if re.search(rb"\bconst fn\b", self.text[node.start_byte : node.child_by_field_name("body").start_byte]):
                node = None
        else:
            node = self.nodes[genre].get(start)
        if node is None or (genre == "BinaryOperator" and self.in_let_chain(node)):
            # An `&&` between `let`s has no `||`; a field cannot be left out by a switch.
            self.left_out[mutant["id"]] = genre
        else:
            self.switches[genre, node.start_byte, node.end_byte].append((mutant["id"], mutant["replacement"]))

    def in_let_chain(self, node):
        def has_let(node):
            lets = node.type in ("let_condition", "let_chain")
            return lets or (node.type == "binary_expression" and any(map(has_let, node.children)))

        logical = node.child_by_field_name("operator").type in ("&&", "||")
        return has_let(node) or (logical and node.parent is not None and node.parent.type == "let_chain")

    def plain(self, node):
        return self.text[node.start_byte : node.end_byte].decode()

    def switched(self, genre, node):
        return self.switches.get((genre, node.start_byte, node.end_byte), [])

    def render(self, node):
        binary = node.type in ("binary_expression", "compound_assignment_expr")
        if binary and (switches := self.switched("BinaryOperator", node)):
            return self.operator(node, switches)
        if node.type == "unary_expression" and (switches := self.switched("UnaryOperator", node)):
            [(number, _)] = switches
            operand = "".join(self.render(child) for child in node.children[1:])
            sign = self.plain(node.children[0])
            return f"(match {operand} {{ x => if {AT} == {number} {{ {marked(number, 'x')} }} else {{ {sign}x }} }})"
        out, at = [], node.start_byte
        for child in node.children:
            out.append(self.text[at : child.start_byte].decode())
            out.append(self.part(node, child))
            at = child.end_byte
        out.append(self.text[at : node.end_byte].decode())
        return "".join(out)

    def operator(self, node, switches):
        left, right = (self.render(node.child_by_field_name(side)) for side in ("left", "right"))
        sign = self.plain(node.child_by_field_name("operator"))
        if sign in ("==", "!="):
            [(number, _)] = switches
            return f"((({left}) {sign} ({right})) != {marked(number, f'({AT} == {number})')})"
        if node.type == "compound_assignment_expr":
            others = "".join(f"{number} => {{ {marked(number, f'{left} {other} {right}')}; }} " for number, other in switches)
            return f"(match {AT} {{ {others} _ => {{ {left} {sign} {right}; }} }})"
        if sign in ("&&", "||"):
            others = "".join(f"{number} => {marked(number, f'(l {other} ({right}))')}, " for number, other in switches)
            return f"(match ({left}) {{ l => match {AT} {{ {others} _ => (l {sign} ({right})) }} }})"
        by = "&" if sign in ("<", ">", "<=", ">=") else ""
        others = "".join(f"{number} => {marked(number, f'(l {other} r)')}, " for number, other in switches)
        return f"(match ({by}({left}), {by}({right})) {{ (l, r) => match {AT} {{ {others} _ => (l {sign} r) }} }})"

    def part(self, node, child):
        if node.type == "function_item" and child == node.child_by_field_name("body"):
            return self.body(node, child)
        if node.type == "match_arm" and child == node.child_by_field_name("pattern"):
            return self.arm(node, child)
        return self.render(child)

    def body(self, node, child):
        switches, text = self.switched("FnValue", node), self.render(child)
        if not switches:
            return text
        returned = node.child_by_field_name("return_type")
        if returned is not None and self.plain(returned).startswith("impl Iterator"):
            (number, value), *more = switches
            # One type can stand beside the function's own, and the first is the iterator of nothing.
            self.left_out.update((number, "a second iterator") for number, _ in more)
            other = f"{number} => crate::mutant::Or::A({marked(number, value)}), "
            return f"{{ match {AT} {{ {other} _ => crate::mutant::Or::B({text}) }} }}"
        others = "".join(f"{number} => return {marked(number, value)}, " for number, value in switches)
        return f"{{ match {AT} {{ {others} _ => {{}} }} {text[1:]}"

    def arm(self, node, pattern):
        guards, arms = self.switched("MatchArmGuard", node), self.switched("MatchArm", node)
        if not guards and not arms:
            return self.render(pattern)
        guard = pattern.child_by_field_name("condition")
        if guard is not None and self.in_let_chain_or_let(guard):
            self.left_out.update((number, "a `let` in a guard") for number, _ in guards + arms)
            return self.render(pattern)
        head = self.text[pattern.start_byte : guard.start_byte].decode() if guard else self.plain(pattern) + " if "
        others = "".join(f"{number} => {marked(number, value)}, " for number, value in guards)
        others += "".join(f"{number} => {marked(number, 'false')}, " for number, _ in arms)
        return f"{head}(match {AT} {{ {others} _ => ({self.render(guard) if guard else 'true'}) }})"

    def in_let_chain_or_let(self, node):
        return any(found.type in ("let_condition", "let_chain") for found in self.walk(node))

    def whole(self):
        root = self.tree.root_node
        before, after = self.text[: root.start_byte].decode(), self.text[root.end_byte :].decode()
        return before + self.render(root) + after


class Work:
    """The folder that everything is made in."""

    def __init__(self, place, files):
        self.place = pathlib.Path(place).resolve()
        self.sources, self.copy = self.place / "sources", self.place / "copy"
        self.env = dict(os.environ, CARGO_TARGET_DIR=str(self.place / "target"))
        if not self.sources.exists():
            tree = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True).stdout.strip()
            for name in subprocess.run(["git", "ls-files", "-z"], cwd=tree, capture_output=True, check=True).stdout.decode().split("\0"):
                if name:
                    (self.sources / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(os.path.join(tree, name), self.sources / name, follow_symlinks=False)
            shutil.copytree(self.sources, self.copy, symlinks=True)
        listing = self.place / "list.json"
        if not listing.exists():
            wanted = [part for name in files for part in ("-f", f"compiler/src/{name}")]
            listed = subprocess.run(["cargo", "mutants", "--list", "--json", *wanted], cwd=self.sources, capture_output=True, check=True)
            listing.write_bytes(listed.stdout)
        self.mutants = json.loads(listing.read_text())
        for number, mutant in enumerate(self.mutants, 1):
            mutant["id"] = number

    def switch(self, unviable):
        """Makes the copy, but for those that do not compile; what no switch can stand for."""
        left_out = {}
        shutil.rmtree(self.copy / "compiler/src")
        shutil.copytree(self.sources / "compiler/src", self.copy / "compiler/src")
        for name in {mutant["file"] for mutant in self.mutants}:
            here = [mutant for mutant in self.mutants if mutant["file"] == name and str(mutant["id"]) not in unviable]
            source = Source((self.sources / name).read_bytes(), here)
            (self.copy / name).write_text(source.whole())
            left_out.update(source.left_out)
        (self.copy / "compiler/src/mutant.rs").write_text(SWITCH)
        library = self.copy / "compiler/src/lib.rs"
        library.write_text(library.read_text().replace("pub mod artifact;", "pub mod artifact;\npub mod mutant;", 1))
        return left_out

    def viable(self):
        """Leaves out what does not compile, round by round."""
        kept = self.place / "left-out.json"
        if kept.exists():
            return json.loads(kept.read_text())
        unviable = {}
        while True:
            left_out = self.switch(unviable)
            command = ["cargo", "check", "-p", "fence-compiler", "--lib", "--message-format=json"]
            checked = subprocess.run(command, cwd=self.copy, env=self.env, capture_output=True, text=True)
            if checked.returncode == 0:
                break
            messages = [json.loads(line) for line in checked.stdout.splitlines() if line.startswith("{")]
            errors = [message["message"] for message in messages if message.get("message", {}).get("level") == "error"]
            found = {number: error["message"] for error in errors if (number := self.mutant_of(error))}
            print(f"{len(found)} more do not compile", flush=True)
            if not found:
                sys.exit(checked.stderr)
            unviable.update(found)
        result = {"unviable": unviable, "left out": left_out}
        kept.write_text(json.dumps(result))
        return result

    def mutant_of(self, error):
        for span in error["spans"]:
            text, at = (self.copy / span["file_name"]).read_bytes(), span["byte_start"]
            marks = list(re.finditer(rb"/\*M(\d+)\*/", text))
            inside = [mark for mark in marks if mark.start() <= at <= text.find(b"/*W%s*/" % mark[1], mark.end())]
            if not inside and "non-exhaustive" in error["message"]:
                # An arm that was needed: those of this `match` stand behind what it is about.
                arm = re.compile(rb"false/\*W")
                inside = [mark for mark in marks if mark.start() > span["byte_end"] and arm.match(text, mark.end())][:1]
            if inside:
                return inside[-1][1].decode()
        return None

    def suites(self):
        command = ["cargo", "test", "-p", "fence-compiler", "--no-run", "--message-format=json"]
        built = subprocess.run(command, cwd=self.copy, env=self.env, stdout=subprocess.PIPE, text=True, check=True)
        made = [json.loads(line) for line in built.stdout.splitlines()]
        by_name = {one["target"]["name"]: one["executable"] for one in made if one.get("executable")}
        return [(name, [by_name[name], *chosen]) for name, chosen in SUITES.items()]

    def run(self, suite, number, limit):
        """How one suite ends with one mutant."""
        env = dict(self.env, MUTANT=str(number), INSTA_UPDATE="no", CI="true", RUST_BACKTRACE="0", RUSTC_BOOTSTRAP="1")
        env.setdefault("PROPTEST_CASES", "64")
        command = [*suite, "-Zunstable-options", "--fail-fast", "-q", "--test-threads", "1"]
        room = lambda: resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        started = subprocess.Popen(
            command, cwd=self.copy / "compiler", env=env, preexec_fn=room, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            return "passed" if started.wait(limit) == 0 else "failed"
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, 9)
            started.wait()
            return "no end"

    def ask(self, shard, jobs):
        without = self.viable()
        suites = []
        for name, suite in self.suites():
            begun = time.monotonic()
            if self.run(suite, 0, 900) != "passed":
                sys.exit(f"{name} fails without a mutant")
            suites.append((name, suite, 30 + 6 * (time.monotonic() - begun)))
        results = self.place / "results.jsonl"
        done = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
        skip = set(without["unviable"]) | set(map(str, without["left out"]))
        part, parts = map(int, shard.split("/"))
        chosen = [number for number in range(1, len(self.mutants) + 1) if str(number) not in skip][part::parts]
        known = {one["id"] for one in done}
        todo = [number for number in chosen if number not in known]

        def one(number):
            for name, suite, limit in suites:
                if (how := self.run(suite, number, limit)) != "passed":
                    return {"id": number, "by": name, "how": how}
            return {"id": number, "by": None}

        with ThreadPoolExecutor(jobs) as pool, results.open("a") as file:
            for result in pool.map(one, todo):
                done.append(result)
                file.write(json.dumps(result) + "\n")
                file.flush()
        return done, without

    def report(self, done, without):
        seen = collections.Counter(one.get("how") for one in done)
        print(f"{len(self.mutants)} mutants: {len(without['unviable'])} do not compile, {len(without['left out'])} have no switch")
        missed = [one for one in done if one["by"] is None]
        print(f"{len(done)} asked: {seen['failed']} fail a test, {seen['no end']} do not end, {len(missed)} are missed")
        for one in missed:
            print(" ", self.mutants[one["id"] - 1]["name"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", help="a folder for everything that is made")
    parser.add_argument("--shard", default="0/1", help="each N-th of those that can be switched, from the K-th on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*", default=FILES, help="below compiler/src")
    asked = parser.parse_intermixed_args()
    sys.setrecursionlimit(10_000)
    work = Work(asked.work, asked.files)
    work.report(*work.ask(asked.shard, asked.jobs))


if __name__ == "__main__":
    main()
