# What the contract's scripts share; they source it.
#
# ENGINE_SOCKET, METRICS_URL, RINGTAIL_PID and RINGTAIL_LOG say where the Engine, ringtail and its log
# are, INTERVAL_MS what the rotation interval is: the five minutes of the original.
# shellcheck shell=bash

ROTATIONS=log_capturer_container_stream_rotations_total
failures=0

say() {
    printf '%s\n' "$*"
}

fail() {
    say "FAILED: $*"
    failures=$((failures + 1))
}

verdict() {
    if [ "$failures" -gt 0 ]; then
        exit 1
    fi
    say "PASSED"
}

api() {
    curl -sS -f --max-time 120 --unix-socket "$ENGINE_SOCKET" "$@"
}

# run_container COMMAND…: starts a container and prints its id, as `docker run -d` does.
run_container() {
    local args id

    args=$(printf ',"%s"' "$@")
    id=$(api -X POST -H 'Content-Type: application/json' http://engine/containers/create -d \
        "{\"Image\":\"busybox:latest\",\"Cmd\":[${args:1}],\"HostConfig\":{\"NetworkMode\":\"none\"}}" |
        sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p')
    api -X POST "http://engine/containers/$id/start"
    say "$id"
}

run_idle() {
    run_container sh -c 'echo started; exec sleep 86400'
}

run_chatty() {
    run_container /writer --rate "$1" --bytes 80 --stderr-every 5
}

metrics() {
    curl -sS -f --max-time 30 "$METRICS_URL"
}

# In the original's minutes.
sleep_minutes() {
    sleep "$(awk -v minutes="$1" -v ms="$INTERVAL_MS" 'BEGIN { printf "%.3f", minutes * ms / 5000 }')"
}

# rotations_of ID, as the original takes it from the page. Nothing where there is no series.
rotations_of() {
    metrics | grep "${ROTATIONS}{container_id=\"${1:0:12}\"" | awk '{print $2}'
}

# A series stands at 0 from the moment its stream opens, and is an integer at all times.
wait_for_series() {
    local id value i

    for id in "$@"; do
        value=
        for ((i = 0; i < 600; i++)); do
            value=$(rotations_of "$id") || true
            [ -z "$value" ] || break
            sleep 0.1
        done
        case $value in
        '') fail "no series of ${id:0:12}" ;;
        *[!0-9]*) fail "not an integer: $value" ;;
        esac
    done
}

# expect_rotations AT-LEAST ID…: after its minutes have passed. Where minutes are seconds, a busy
# machine gets as many again.
expect_rotations() {
    local least=$1 id value i tries=1

    shift
    [ "$INTERVAL_MS" -ge 300000 ] || tries=300
    for id in "$@"; do
        for ((i = 0; i < tries; i++)); do
            value=$(rotations_of "$id") || value=0
            [ "$value" -lt "$least" ] || break
            sleep 0.1
        done
        if [ "$value" -lt "$least" ]; then
            fail "${id:0:12}: $value rotations, and not $least"
        fi
    done
    say "rotations of the last: $value (at least $least)"
}

# log_capturer_goroutines without the kernel's workers. They are threads of the process, too, but how
# many there are depends on how long the machine's disk takes, and each lives on for seconds.
activities() {
    local own

    own=$({ cat "/proc/$RINGTAIL_PID"/task/*/comm 2>/dev/null || true; } | grep -vc '^iou-wrk-')
    metrics | awk -v own="$own" '
        /^log_capturer_goroutines / { all = $2 }
        /^log_capturer_threads / { threads = $2 }
        END { print all - threads + own }'
}

descriptors() {
    metrics | awk '/^log_capturer_file_descriptors_open / { print $2 }'
}

# least_of activities|descriptors: of many looks, since a rotation has two streams open for a moment.
least_of() {
    local i

    for ((i = 0; i < 40; i++)); do
        "$1"
        sleep 0.05
    done | sort -n | head -n 1
}

# expect_no_growth activities|descriptors BEFORE: looked at several times, as only what has leaked
# stays.
expect_no_growth() {
    local name=$1 before=$2 now i

    for ((i = 0; i < 6; i++)); do
        now=$(least_of "$name")
        [ "$now" -gt "$before" ] || break
    done
    say "$name: $before at the beginning, $now at the end"
    if [ "$now" -gt "$before" ]; then
        fail "$name: grown from $before to $now"
    fi
}

# What must never be there, and what must.
expect_no_complaint() {
    local count

    count=$(grep -c 'context deadline exceeded' "$RINGTAIL_LOG" || true)
    if [ "$count" -ne 0 ]; then
        fail "$count times 'context deadline exceeded'"
    fi
    count=$(metrics | awk '/^log_capturer_container_stream_errors_total{/ {sum += $2} END {print sum + 0}')
    if [ "$count" -ne 0 ]; then
        fail "$count stream errors"
    fi
    count=$(grep -c '"msg":"Stream rotated successfully"' "$RINGTAIL_LOG" || true)
    if [ "$count" -eq 0 ]; then
        fail "the log has no rotation"
    fi
}
