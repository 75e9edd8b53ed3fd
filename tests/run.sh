#!/usr/bin/env bash
# The README's first command, on a machine without an Engine: scripts/run has to build, say that it runs
# against the simulated one, write its lines, and end with exit code 0 when it is interrupted.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    tail -n 20 "$dir/err" >&2
    exit 1
}

DOCKER_HOST=unix://$dir/none.sock setsid "$root/scripts/run" --set admin.address= \
    >"$dir/out" 2>"$dir/err" &
pid=$!
for ((i = 0; i < 3000; i++)); do
    if [[ $(wc -l <"$dir/out") -ge 10 ]]; then
        break
    fi
    kill -0 "$pid" 2>/dev/null || fail "scripts/run ended by itself"
    sleep 0.1
done
kill -TERM "$pid"
wait "$pid" || fail "scripts/run ended with exit code $?"
[[ $(wc -l <"$dir/out") -ge 10 ]] || fail "no lines came"
grep -q 'simulated Engine' "$dir/err" || fail "it did not say that the Engine is simulated"
python3 -c 'import json, sys
for line in open(sys.argv[1]):
    json.loads(line)["line"]' "$dir/out" || fail "a line is not a record"
printf 'scripts/run: lines came from the simulated Engine\n'
