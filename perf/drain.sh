#!/usr/bin/env bash
# How fast a long log of a real Engine becomes NDJSON, beside curl throwing the same log away.
#
#   drain.sh RINGTAIL [--lines N] [--runs N] [--driver json-file|local]
#
# RINGTAIL is a release build. Starts a private Engine (as root, see tests/docker/engine.sh), has one
# container write the log (2,000,000 lines of 124 bytes), compares ringtail's output with the Engine's
# bytes once, then measures curl and ringtail in turns. Where there can be no Engine the exit code is 77.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
engine=$root/tests/docker/engine.sh
lines=2000000
runs=7
driver=json-file

usage() {
    sed -n '4s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

(($# >= 1)) || usage
ringtail=$(realpath "$1")
shift
[[ -x $ringtail ]] || usage
while (($# > 0)); do
    (($# > 1)) || usage
    case $1 in
    --lines) lines=$2 ;;
    --runs) runs=$2 ;;
    --driver) driver=$2 ;;
    *) usage ;;
    esac
    shift 2
done

api() {
    curl -sSf --unix-socket "$dir/e/docker.sock" "$@"
}

# The Engine's sockets need a short path.
dir=$(mktemp -d /tmp/rtXXXXXX)
trap 'bash "$engine" stop "$dir/e"; rm -rf "$dir"' EXIT
bash "$engine" start "$dir/e"

command=$(printf '"%s",' /writer --burst --count "$lines" --bytes 124 --stderr-every 5 --linger 86400)
options={}
# Otherwise this driver begins to forget at 100 MB.
[[ $driver != local ]] || options='{"max-size":"10g"}'
id=$(api -X POST -H 'Content-Type: application/json' http://engine/containers/create -d \
    "{\"Image\":\"busybox\",\"Cmd\":[${command%,}],\"HostConfig\":{\"NetworkMode\":\"none\",
      \"LogConfig\":{\"Type\":\"$driver\",\"Config\":$options}}}" |
    sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p')
api -X POST "http://engine/containers/$id/start"

python3 "$root/perf/drain.py" --ringtail "$ringtail" --socket "$dir/e/docker.sock" --id "$id" \
    --lines "$lines" --runs "$runs" --directory "$dir" --daemon-pid-file "$dir/e/pid"
