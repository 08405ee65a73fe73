"""Turns a result of measure.py into a report: text, pictures, and comparisons. It measures nothing."""

import argparse
import html
import json
import pathlib
import random
import statistics
import sys

FORMAT = "fence-benchmark 1"
# Below this, what a command costs by itself is mostly noise, and a factor says nothing.
SMALLEST_BASELINE_MS = 1.0


def load(path):
    result = json.loads(pathlib.Path(path).read_text())
    if result.get("format") != FORMAT:
        sys.exit(f"report.py: `{path}` is no `{FORMAT}`")
    return result


def median(times):
    return statistics.median(times)


def factor(workload, tool):
    """Sandboxed by unsandboxed, or None where it would say nothing."""
    alone = median(workload["times_ms"]["none"])
    if tool not in workload["times_ms"] or alone < SMALLEST_BASELINE_MS:
        return None
    return median(workload["times_ms"][tool]) / alone


def shown(number, unit="", digits=2):
    return "–" if number is None else f"{number:.{digits}f}{unit}"


def tools(result):
    """Every way of running that was measured, fence's first, in the order of the first workload that has it."""
    seen = []
    for workload in result["workloads"]:
        seen += [tool for tool in workload["times_ms"] if tool != "none" and tool not in seen]
    return sorted(seen, key=lambda tool: (not tool.startswith("fence"), seen.index(tool)))


def table(head, rows):
    return "\n".join(
        ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
        + ["| " + " | ".join(row) + " |" for row in rows]
    )


def markdown(result):
    host, options = result["host"], result["options"]
    parts = ["# What fence costs, by whole processes", ""]
    parts.append(
        f"Taken on {result['date']} by `benches/benchmark.sh`; at least {options['runs']} runs of each command, in turn, "
        f"in {options['rounds']} rounds. Times are medians of wall time in milliseconds. A factor is the time with a "
        f"sandbox by the time without; below {SMALLEST_BASELINE_MS:g} ms without, it is not given."
    )
    parts += ["", "## Machine", ""]
    parts.append(table(["what", "value"], [[name, str(value)] for name, value in host.items()]))
    parts += ["", table(["tool", "version"], [[name, version] for name, version in result["tools"].items()])]
    parts += ["", "## Workloads", ""]
    used = tools(result)
    rows = []
    for workload in result["workloads"]:
        row = [f"`{workload['name']}`", workload["category"], shown(median(workload["times_ms"]["none"]))]
        for tool in used:
            times = workload["times_ms"].get(tool)
            if times is None:
                row.append("–")
                continue
            ratio = factor(workload, tool)
            row.append(shown(median(times)) + (f" ({ratio:.2f} ×)" if ratio else ""))
        rows.append(row)
    parts.append(table(["workload", "kind", "alone"] + used, rows))
    notes = [f"- `{w['name']}`: {w['note']}" for w in result["workloads"] if w.get("note")]
    if notes:
        parts += [""] + notes
    if result.get("left_out"):
        parts += ["", "Left out:", ""] + [f"- {line}" for line in result["left_out"]]
    if result.get("inside"):
        parts += ["", "## Inside one sandbox", ""]
        parts.append(
            table(
                ["what", "outside", "inside", "ratio"],
                [
                    [row["name"], f"{row['outside']:.2f} {row['unit']}", f"{row['inside']:.2f} {row['unit']}",
                     f"{row['inside'] / row['outside']:.2f} ×"]
                    for row in result["inside"]
                ],
            )
        )
    if result.get("goals"):
        parts += ["", "## Goals", ""]
        rows = []
        for goal in result["goals"]:
            met = {True: "yes", False: "**missed**", None: "not measured"}[goal["met"]]
            rows.append([goal["what"], goal["against"], goal["goal"], goal["measured"], met])
        parts.append(table(["what", "against", "goal", "measured", "reached"], rows))
    return "\n".join(parts) + "\n"


COLOURS = ["#2563eb", "#7c8db5", "#d97706", "#059669", "#9333ea", "#be123c", "#4b5563", "#0e7490", "#a16207", "#db2777"]


def picture(result, with_peers):
    """Bars of the time that a sandbox adds, by workload."""
    used = [tool for tool in tools(result) if with_peers or tool.startswith("fence")]
    rows = []
    for workload in result["workloads"]:
        alone = median(workload["times_ms"]["none"])
        bars = []
        for tool in used:
            if tool in workload["times_ms"]:
                added = median(workload["times_ms"][tool]) - alone
                ratio = factor(workload, tool)
                label = f"{added:+.1f} ms" + (f"  ({ratio:.2f} ×)" if ratio else "")
                bars.append((tool, max(added, 0.0), label))
        if bars:
            rows.append((workload["name"], alone, bars))
    # A start for each of many commands would leave nothing to see of all others: such a bar may be cut off.
    single = [added for _, _, bars in rows for tool, added, _ in bars if tool != "fence, a run each"]
    widest = max(single, default=1.0) or 1.0
    left, bar, gap, wide, label_room = 250, 14, 14, 520, 170
    top = 64 + 18 * ((len(used) + 2) // 3)
    height = top + sum(len(bars) * (bar + 3) + gap for _, _, bars in rows) + 34
    width = left + wide + label_room
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="16" font-weight="600" fill="#111827">What a sandbox adds to one start</text>',
        f'<text x="16" y="44" fill="#4b5563">medians, {html.escape(result["date"])}, {html.escape(host_line(result))}</text>',
    ]
    for index, tool in enumerate(used):
        x, y = 16 + (index % 3) * 230, 62 + 18 * (index // 3)
        colour = COLOURS[index % len(COLOURS)]
        out.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{x + 15}" y="{y}" fill="#111827">{html.escape(tool)}</text>')
    y = top
    for name, alone, bars in rows:
        middle = y + len(bars) * (bar + 3) / 2 + 3
        out.append(
            f'<text x="{left - 10}" y="{middle:.0f}" text-anchor="end" fill="#111827">{html.escape(name)} '
            f'<tspan fill="#6b7280">{alone:.1f} ms</tspan></text>'
        )
        for tool, added, label in bars:
            colour = COLOURS[used.index(tool) % len(COLOURS)]
            length = min(max(added / widest * wide, 1.0), wide)
            out.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar}" rx="2" fill="{colour}"/>')
            if added > widest:
                cut = left + wide - 24
                out.append(f'<path d="M{cut} {y + bar} l5 -{bar} h5 l-5 {bar} z" fill="#ffffff"/>')
            out.append(f'<text x="{left + length + 6:.1f}" y="{y + 11}" fill="#374151">{html.escape(label)}</text>')
            y += bar + 3
        y += gap
    out.append(
        f'<text x="16" y="{height - 12}" fill="#6b7280">The grey figure is the command alone. Shorter is better; a bar with a gap is longer than there is room.</text>'
    )
    out.append("</svg>")
    return "\n".join(out) + "\n"


def host_line(result):
    host = result["host"]
    return f"{host['cores']} cores, {host['kind']}, Linux {host['kernel']}" if host["system"] == "Linux" else (
        f"{host['cores']} cores, {host['system']} {host['kernel']}")


def render(folder):
    folder = pathlib.Path(folder)
    result = load(folder / "benchmark.json")
    (folder / "benchmark.md").write_text(markdown(result))
    (folder / "overhead.svg").write_text(picture(result, with_peers=False))
    if any(not tool.startswith("fence") for tool in tools(result)):
        (folder / "overhead-peers.svg").write_text(picture(result, with_peers=True))


def interval(old, new, draws=2000):
    """How the ratio of two medians spreads when the runs are drawn again, with the same seed each time: 95 %."""
    chance = random.Random(1)
    ratios = sorted(
        (median(chance.choices(new["run"], k=len(new["run"]))) / median(chance.choices(new["alone"], k=len(new["alone"]))))
        / (median(chance.choices(old["run"], k=len(old["run"]))) / median(chance.choices(old["alone"], k=len(old["alone"]))))
        for _ in range(draws)
    )
    return ratios[int(draws * 0.025)], ratios[int(draws * 0.975)]


def compare(old, new, threshold):
    """Prints how each overhead factor changed; whether one grew beyond the threshold, whatever was drawn."""
    before = {workload["name"]: workload for workload in old["workloads"]}
    rows, worse = [], []
    for workload in new["workloads"]:
        earlier = before.get(workload["name"])
        for tool, times in workload["times_ms"].items():
            if not tool.startswith("fence") or earlier is None or tool not in earlier["times_ms"]:
                continue
            then = {"run": earlier["times_ms"][tool], "alone": earlier["times_ms"]["none"]}
            now = {"run": times, "alone": workload["times_ms"]["none"]}
            change = (median(now["run"]) / median(now["alone"])) / (median(then["run"]) / median(then["alone"])) - 1
            low, high = (bound - 1 for bound in interval(then, now))
            rows.append([f"`{workload['name']}`", tool, f"{change:+.1%}", f"{low:+.1%} to {high:+.1%}"])
            if low * 100 > threshold:
                worse.append(f"{workload['name']} ({tool})")
    print(table(["workload", "run", "change of the factor", "95 % of redrawn medians"], rows))
    if worse:
        print(f"\ngrew by more than {threshold:g} %: {', '.join(worse)}")
    return 1 if worse else 0


def factors(left, right):
    names = {workload["name"]: workload for workload in right["workloads"]}
    rows = []
    for workload in left["workloads"]:
        other = names.get(workload["name"])
        if other and "fence" in workload["times_ms"]:
            one, two = factor(workload, "fence"), factor(other, "fence")
            rows.append([f"`{workload['name']}`", shown(one, " ×"), shown(two, " ×")])
    print(table(["workload", host_line(left), host_line(right)], rows))
    print("\nOnly factors are shown: times of two machines do not compare.")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("render").add_argument("folder")
    comparing = commands.add_parser("compare")
    comparing.add_argument("--threshold", type=float, default=10)
    comparing.add_argument("old")
    comparing.add_argument("new")
    sides = commands.add_parser("factors")
    sides.add_argument("left")
    sides.add_argument("right")
    arguments = parser.parse_args()
    if arguments.command == "render":
        render(arguments.folder)
    elif arguments.command == "compare":
        sys.exit(compare(load(arguments.old), load(arguments.new), arguments.threshold))
    else:
        factors(load(arguments.left), load(arguments.right))


if __name__ == "__main__":
    main()
