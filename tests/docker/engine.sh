#!/usr/bin/env bash
# A private Docker Engine for tests, with nothing of it outside of one directory.
#
#   engine.sh start DIR [--live-restore] [--writer FILE] [-- DOCKERD-ARGUMENTS…]
#   engine.sh restart DIR [SECONDS-AWAY]   end the daemon as a package upgrade would, and start it
#   engine.sh down DIR                     only the first half of that
#   engine.sh up DIR                       only the second half, also after kill
#   engine.sh kill DIR                     SIGKILL for the daemon, as the kernel's OOM killer would
#   engine.sh stop DIR                     remove every container, end everything, remove DIR
#
# The Engine listens on DIR/docker.sock and logs to DIR/dockerd.log. It has no network; containers run
# with NetworkMode "none". The image busybox:latest is there, with /writer in it. Where there cannot be
# an Engine (not root, no dockerd) the exit code is 77, which the test runner takes for skipped.
#
# Processes are found by DIR in their arguments, never by name, so that other Engines are left alone.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
unset DOCKER_HOST DOCKER_CONTEXT NOTIFY_SOCKET

say() {
    printf 'engine: %s\n' "$*" >&2
}

die() {
    say "$*"
    exit 1
}

skip() {
    say "skipped: $*"
    exit 77
}

usage() {
    sed -n '4,9s/^# *//p' "$here/engine.sh" >&2
    exit 2
}

api() {
    curl -sS --max-time 60 --unix-socket "$dir/docker.sock" "$@"
}

# Processes of a name that have a path below DIR in their arguments.
processes() {
    local name=$1 file program pid

    for file in $(grep -slF "$dir/" /proc/[0-9]*/cmdline || true); do
        pid=${file#/proc/}
        # Arguments end in NUL; the first names the program.
        IFS= read -r -d '' program 2>/dev/null <"$file" || continue
        if [[ ${program##*/} == "$name" ]]; then
            printf '%s\n' "${pid%/cmdline}"
        fi
    done
}

children_of() {
    local parent=$1 file stat fields

    for file in /proc/[0-9]*/stat; do
        IFS= read -r stat 2>/dev/null <"$file" || continue
        # The name in parentheses may hold spaces; the parent is the second field after it.
        read -r -a fields <<<"${stat##*) }"
        if [[ ${fields[1]} == "$parent" ]]; then
            printf '%s\n' "${stat%% *}"
        fi
    done
}

wait_gone() {
    local pid=$1 tenths=$2

    while kill -0 "$pid" 2>/dev/null; do
        # A zombie that nobody has reaped yet holds nothing any more.
        [[ $(awk '/^State:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) == Z ]] && return 0
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
}

daemon_pid() {
    processes dockerd | head -n 1
}

daemon_answers() {
    [[ -S $dir/docker.sock && $(api http://engine/_ping 2>/dev/null) == OK ]]
}

daemon_up() {
    local pid i args=()

    [[ -z $(daemon_pid) ]] || die "already up in $dir"
    mapfile -t args <"$dir/arguments"
    # A killed daemon leaves its containerd's pid file, and the next one waits for whoever has that
    # number now.
    rm -f "$dir/docker.sock" "$dir/pid" "$dir/exec/containerd/containerd.pid"
    # Its own session, hence its own process group: an interrupt of the test's terminal is not for it.
    setsid dockerd "${args[@]}" >>"$dir/dockerd.log" 2>&1 </dev/null &
    pid=$!
    for ((i = 0; i < 600; i++)); do
        daemon_answers && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$dir/dockerd.log" >&2
    die "dockerd did not come up in $dir; its last lines are above"
}

daemon_down() {
    local pid

    pid=$(daemon_pid)
    [[ -n $pid ]] || return 0
    kill -TERM "$pid"
    if ! wait_gone "$pid" 600; then
        say "dockerd ignored SIGTERM for 60 s"
        kill -KILL "$pid" || true
        wait_gone "$pid" 50 || true
    fi
}

daemon_kill() {
    local pid

    pid=$(daemon_pid)
    [[ -n $pid ]] || die "not up in $dir"
    kill -KILL "$pid"
    wait_gone "$pid" 100 || die "dockerd outlived SIGKILL"
    # containerd asks to be killed with its parent, but that takes the kernel a moment.
    for pid in $(processes containerd); do
        wait_gone "$pid" 20 || kill -KILL "$pid" 2>/dev/null || true
    done
}

image_create() {
    local busybox tree=$dir/image applet

    busybox=$(command -v busybox) || skip "no busybox (package busybox-static)"
    mkdir -p "$tree/bin" "$tree/tmp"
    cp "$busybox" "$tree/bin/busybox"
    for applet in $("$busybox" --list); do
        [[ -e $tree/bin/$applet ]] || ln -s busybox "$tree/bin/$applet"
    done
    if [[ -n $writer ]]; then
        cp "$writer" "$tree/writer"
    else
        "${CC:-cc}" -std=gnu17 -O2 -static -o "$tree/writer" "$here/writer.c"
    fi
    tar -c -C "$tree" --owner=0 --group=0 -f "$dir/image.tar" .
    # Over the API, because a machine that has dockerd need not have the docker command.
    if ! api -X POST -H 'Content-Type: application/x-tar' -H 'Expect:' -T "$dir/image.tar" \
        'http://engine/images/create?fromSrc=-&repo=busybox&tag=latest' >"$dir/image.reply" ||
        grep -q errorDetail "$dir/image.reply" ||
        ! api -f http://engine/images/busybox:latest/json >/dev/null; then
        cat "$dir/image.reply" >&2
        die "the image could not be imported"
    fi
    rm -rf "$tree" "$dir/image.tar" "$dir/image.reply"
}

# What is left when the daemon could not clean up after itself: shims with their containers and
# sockets, mounts, and control groups.
leftovers_end() {
    local pid child mount round group file address

    for pid in $(processes containerd) $(processes containerd-shim-runc-v2); do
        for child in $(children_of "$pid"); do
            kill -KILL "$child" 2>/dev/null || true
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait_gone "$pid" 50 || true
    done
    # The shims' sockets have one place for all Engines of a machine; each shim noted its own here.
    for file in "$dir"/exec/containerd/daemon/io.containerd.runtime.v2.task/moby/*/address; do
        if [[ -e $file ]]; then
            IFS= read -r address <"$file" || true
            [[ $address != unix:///run/containerd/s/* ]] || rm -f "${address#unix://}"
        fi
    done
    for round in 1 2 3; do
        # The deepest first; what is still busy in the last round is detached.
        while read -r mount; do
            umount "$mount" 2>/dev/null || [[ $round != 3 ]] || umount -l "$mount" || true
        done < <(awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    done
    for group in /sys/fs/cgroup/"$cgroup" /sys/fs/cgroup/*/"$cgroup"; do
        if [[ -d $group ]]; then
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        fi
    done
}

engine_start() {
    local live_restore=no major code

    writer=
    while (($# > 0)); do
        case $1 in
        --live-restore) live_restore=yes ;;
        --writer)
            (($# > 1)) || usage
            writer=$2
            shift
            ;;
        --)
            shift
            break
            ;;
        *) usage ;;
        esac
        shift
    done
    [[ $(id -u) == 0 ]] || skip "a private Engine needs root"
    command -v dockerd >/dev/null || skip "no dockerd (package docker.io)"
    command -v curl >/dev/null || skip "no curl"
    # The longest socket below DIR is containerd's, and a socket's path has 107 bytes.
    ((${#dir} <= 64)) || die "the path is too long for sockets below it: $dir"
    [[ ! -e $dir/arguments ]] || die "$dir has an Engine already"

    mkdir -p "$dir"
    # A configuration of its own, so that the system's daemon.json has no say. Engines before 24 keep a
    # key below /etc unless told otherwise, and later ones do not know the setting.
    major=$(dockerd --version | sed -n 's/^Docker version \([0-9]*\)\..*/\1/p')
    if ((${major:-0} < 24)); then
        printf '{"deprecated-key-path": "%s"}\n' "$dir/key.json" >"$dir/daemon.json"
    else
        printf '{}\n' >"$dir/daemon.json"
    fi
    {
        printf '%s\n' --config-file "$dir/daemon.json" --data-root "$dir/data" \
            --exec-root "$dir/exec" --pidfile "$dir/pid" -H "unix://$dir/docker.sock" \
            --iptables=false --ip6tables=false --bridge=none \
            --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$cgroup"
        [[ $live_restore == no ]] || printf '%s\n' --live-restore
        (($# == 0)) || printf '%s\n' "$@"
    } >"$dir/arguments"
    : >"$dir/dockerd.log"
    # A start that fails is not to leave half an Engine behind.
    starting=yes
    trap 'code=$?; trap - EXIT; engine_stop; exit $code' EXIT
    daemon_up
    image_create
    trap - EXIT
    starting=no
}

engine_stop() {
    [[ -e $dir/arguments ]] || return 0
    # A daemon that is down or was killed is started once more, since it cleans up better than we do.
    if [[ ${starting:-no} == no ]] && ! daemon_answers; then
        daemon_down
        (daemon_up) || say "removing by hand what the daemon would have removed"
    fi
    if daemon_answers; then
        # Eight at a time; one that is gone already is what we wanted.
        api 'http://engine/containers/json?all=1' | grep -o '"Id":"[0-9a-f]\{64\}"' | cut -d'"' -f4 |
            xargs -r -P 8 -I ID curl -s -o /dev/null --max-time 60 --unix-socket "$dir/docker.sock" \
                -X DELETE 'http://engine/containers/ID?force=1&v=1' || true
    fi
    daemon_down
    leftovers_end
    rm -rf "$dir"
    [[ ! -e $dir ]] || die "could not remove $dir"
}

(($# >= 2)) || usage
verb=$1
mkdir -p "$(dirname "$2")"
dir=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
shift 2
cgroup=ringtail-test-$(printf '%s' "$dir" | cksum | cut -d' ' -f1)

case $verb in
start) engine_start "$@" ;;
stop) engine_stop ;;
kill) daemon_kill ;;
down) daemon_down ;;
up) daemon_up ;;
restart)
    daemon_down
    sleep "${1:-0}"
    daemon_up
    ;;
*) usage ;;
esac
