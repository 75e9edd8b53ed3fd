#!/usr/bin/env bash
# Runs one of the contract's scripts against a private Engine and a ringtail of its own.
#
#   run.sh SCRIPT [--full]
#
# Without --full the rotation interval is two seconds, so that each of the script's five minutes is
# that long. RINGTAIL_BIN is the program, RINGTAIL_TEST_WRITER (built if unset) writes in containers.
# Without root or dockerd the exit code is 77, which the test runner takes for skipped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
engine=$here/../docker/engine.sh
ringtail=

die() {
    printf 'contract: %s\n' "$*" >&2
    exit 1
}

finish() {
    local code=$?

    trap - EXIT INT TERM
    if [[ -n $ringtail ]]; then
        kill -KILL "$ringtail" 2>/dev/null || true
        wait "$ringtail" 2>/dev/null || true
    fi
    if ((code != 0 && code != 77)) && [[ -e $dir/log ]]; then
        tail -n 15 "$dir/log" >&2
    fi
    bash "$engine" stop "$dir/e" >&2 || true
    rm -rf "$dir"
    exit "$code"
}

# Waits until ringtail's own log has a line with this message, and prints the last of them.
wait_log() {
    local i

    for ((i = 0; i < 600; i++)); do
        if grep "\"msg\":\"$1\"" "$dir/log" | tail -n 1 | grep .; then
            return
        fi
        kill -0 "$ringtail" 2>/dev/null || break
        sleep 0.1
    done
    die "ringtail did not say: $1"
}

(($# >= 1)) || die "which script?"
script=$here/$1.sh
[[ -e $script ]] || die "no such script: $1"
: "${RINGTAIL_BIN:?}"
if [[ -n ${RINGTAIL_TEST_DOCKERD_PATH:-} ]]; then
    PATH=$RINGTAIL_TEST_DOCKERD_PATH:$PATH
fi
if [[ ${2:-} == --full ]]; then
    export INTERVAL_MS=300000
else
    export INTERVAL_MS=2000
fi

# The Engine's sockets need a short path, so not below TMPDIR.
dir=$(mktemp -d /tmp/rtXXXXXX)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ -n ${RINGTAIL_TEST_WRITER:-} ]]; then
    bash "$engine" start "$dir/e" --writer "$RINGTAIL_TEST_WRITER"
else
    bash "$engine" start "$dir/e"
fi

: >"$dir/log"
# Everything that the original counts in minutes and seconds is scaled alike, but for what is an
# error only because of its length: a slow machine is no stuck stream.
"$RINGTAIL_BIN" run --engine "unix://$dir/e/docker.sock" --output "$dir/out" --set admin.port=0 \
    --set log.format=json --set log.level=debug --set log.burst=0 \
    --set "stream.rotation_interval=${INTERVAL_MS}ms" \
    --set "stream.read_timeout=$((INTERVAL_MS / 10))ms" \
    --set "metrics.heartbeat_interval=$((INTERVAL_MS / 10))ms" \
    >"$dir/stdout" 2>"$dir/log" </dev/null &
ringtail=$!
wait_log 'Following containers' >/dev/null || exit 1
port=$(wait_log 'Admin endpoint' | sed -n 's/.*"port":\([0-9]*\).*/\1/p')

export ENGINE_SOCKET=$dir/e/docker.sock RINGTAIL_PID=$ringtail RINGTAIL_LOG=$dir/log
export METRICS_URL=http://127.0.0.1:$port/metrics
bash "$script" "${@:2}"

kill -TERM "$ringtail"
code=0
wait "$ringtail" || code=$?
ringtail=
((code == 0)) || die "ringtail ended with $code"
