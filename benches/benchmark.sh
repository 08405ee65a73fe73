#!/usr/bin/env bash
# Compares whole processes, in turn, in one run: a command under `fence run -p default`, the same under bubblewrap with
# every namespace, and the same alone. Prints medians and the ratio to bubblewrap; machines differ, the ratio less so.
#
#   benches/benchmark.sh [RUNS]        needs hyperfine, bwrap and python3
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-200}
for tool in hyperfine bwrap python3 cargo; do
  command -v "$tool" >/dev/null || { echo "benchmark.sh: \`$tool\` is not installed" >&2; exit 2; }
done

cargo build --release --quiet --bin fence
target=$(cargo metadata --format-version 1 --no-deps --offline | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
fence=$target/release/fence
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

bwrap=(bwrap --ro-bind / / --unshare-all --proc /proc --dev /dev --tmpfs /tmp)
printf 'date    %s\nkernel  %s\ncores   %s\nfence   %s\nbwrap   %s\n\n' \
  "$(date -u +%F)" "$(uname -r)" "$(nproc)" "$("$fence" -V)" "$(bwrap --version)"
printf '%-12s %10s %10s %10s %14s\n' command alone bwrap fence 'fence / bwrap'

for name in true echo; do
  program=$(command -v -p "$name")
  # Three rounds, each of the three commands in turn, so that a slow moment of the machine meets all of them.
  for round in 1 2 3; do
    hyperfine -N --warmup 20 --runs "$((runs / 3))" --style none --export-json "$results/$name-$round.json" \
      "$program" "${bwrap[*]} $program" "$fence run -p default -- $program" >/dev/null
  done
  python3 - "$name" "$results"/"$name"-*.json <<'PYTHON'
import json, statistics, sys
times = [[], [], []]
for file in sys.argv[2:]:
    for which, result in enumerate(json.load(open(file))["results"]):
        times[which] += result["times"]
alone, bwrap, fence = (statistics.median(t) * 1000 for t in times)
print(f"{sys.argv[1]:12} {alone:7.2f} ms {bwrap:7.2f} ms {fence:7.2f} ms {fence / bwrap:14.2f}")
PYTHON
done
