#!/usr/bin/env bash
# Measures what fence costs, by whole processes: the same commands without a sandbox, under fence, and under others.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<'HELP'
Measures what fence costs, by whole processes, and writes a report.

Usage: benches/benchmark.sh [OPTIONS]
       benches/benchmark.sh --compare OLD.json [NEW.json] [--threshold PERCENT]
       benches/benchmark.sh --factors A.json B.json

Options:
  -b, --binary PATH      the fence to measure (default: the release build, made first if cargo is there)
  -o, --output DIR       where the report goes (default: ./benchmarks)
  -n, --runs N           runs of each command, at least (default: 30)
  -q, --quick            10 runs of each command; slow workloads are left out
      --network          also connections to a local server, by each path; it is started and ended here
      --peers            also bwrap, srt, nono and codex, as far as they are installed
      --peer NAME=CMD    also another tool; CMD is put in front of each command (may be repeated)
      --goals            also the table of goals; cargo is needed for those of components
      --compare OLD.json compare with an earlier result: measure now, or take the second file
      --threshold P      with --compare: exit with 1 if overhead grew by more than P percent (default: 10)
      --factors A B      the overhead factors of two results side by side
  -h, --help             this text

Every comparison is taken in turn, in rounds. Only ratios within one run say something: times of two machines, or of
two days, do not compare. Nothing is installed; what is missing is named. The report is DIR/benchmark.json,
DIR/benchmark.md, DIR/overhead.svg and, with peers, DIR/overhead-peers.svg.
HELP
}

fail() {
  echo "benchmark.sh: $1" >&2
  exit 2
}

# What is missing, and how to get it, on the systems that package it.
need() {
  local tool=$1 debian=$2 fedora=$3 brew=$4
  command -v "$tool" >/dev/null && return
  echo "benchmark.sh: \`$tool\` is not installed" >&2
  echo "  Debian, Ubuntu: apt install $debian" >&2
  echo "  Fedora:         dnf install $fedora" >&2
  echo "  macOS:          brew install $brew" >&2
  missing=yes
}

binary='' output=./benchmarks runs='' quick=no network=no peers=no goals=no mode=measure threshold=10
named=() files=()
value() { [ $# -ge 2 ] || fail "\`$1\` needs a value"; }
while [ $# -gt 0 ]; do
  case $1 in
    -b | --binary) value "$@"; binary=$2; shift 2 ;;
    -o | --output) value "$@"; output=$2; shift 2 ;;
    -n | --runs) value "$@"; runs=$2; shift 2 ;;
    -q | --quick) quick=yes; shift ;;
    --network) network=yes; shift ;;
    --peers) peers=yes; shift ;;
    --peer) value "$@"; case $2 in ?*=?*) named+=("$2") ;; *) fail "\`--peer\` needs NAME=COMMAND" ;; esac; shift 2 ;;
    --goals) goals=yes; shift ;;
    --compare) value "$@"; mode=compare; files+=("$2"); shift 2 ;;
    --threshold) value "$@"; threshold=$2; shift 2 ;;
    --factors) [ $# -ge 3 ] || fail '`--factors` needs two files'; mode=factors; files+=("$2" "$3"); shift 3 ;;
    -h | --help) usage; exit 0 ;;
    *.json) [ "$mode" = compare ] || fail "unknown argument \`$1\`; see --help"; files+=("$1"); shift ;;
    *) fail "unknown argument \`$1\`; see --help" ;;
  esac
done
case $runs in *[!0-9]* | 0) fail '`--runs` needs a number from 1' ;; esac
case $threshold in '' | *[!0-9.]*) fail '`--threshold` needs a number of percent' ;; esac
for file in "${files[@]+"${files[@]}"}"; do
  [ -r "$file" ] || fail "cannot read \`$file\`"
done

missing=no
need python3 python3 python3 python3
if [ "$mode" = measure ] || { [ "$mode" = compare ] && [ ${#files[@]} -eq 1 ]; }; then
  need hyperfine hyperfine hyperfine hyperfine
  need git git git git
  [ "$network" = no ] || need curl curl curl curl
fi
[ "$missing" = no ] || exit 2

report() { python3 "$here/whole/report.py" "$@"; }
case $mode in
  factors) report factors "${files[@]}"; exit ;;
  compare) [ ${#files[@]} -eq 1 ] || { report compare --threshold "$threshold" "${files[@]}"; exit; } ;;
esac

if [ -z "$binary" ]; then
  command -v cargo >/dev/null || fail 'there is no cargo to build fence with: name a binary with -b'
  (cd "$here/.." && cargo build --release --quiet --locked --bin fence)
  target=$(cd "$here/.." && cargo metadata --format-version 1 --no-deps --offline |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
  binary=$target/release/fence
fi
[ -x "$binary" ] || fail "\`$binary\` cannot be executed"
binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")

arguments=(--binary "$binary" --output "$output" --runs "${runs:-$([ "$quick" = yes ] && echo 10 || echo 30)}")
[ "$quick" = no ] || arguments+=(--quick)
[ "$network" = no ] || arguments+=(--network)
[ "$peers" = no ] || arguments+=(--peers)
[ "$goals" = no ] || arguments+=(--goals)
for peer in "${named[@]+"${named[@]}"}"; do arguments+=(--peer "$peer"); done
python3 "$here/whole/measure.py" "${arguments[@]}"
report render "$output"
[ "$mode" = measure ] || report compare --threshold "$threshold" "${files[0]}" "$output/benchmark.json"
