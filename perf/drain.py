#!/usr/bin/env python3
"""Measures ringtail and curl in turns on one container's log. perf/drain.sh sets the stage."""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time

TIMEOUT_S = 600


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("ringtail", "socket", "id", "directory", "daemon-pid-file"):
        parser.add_argument("--" + name, required=True)
    for name in ("lines", "runs"):
        parser.add_argument("--" + name, type=int, required=True)
    return parser.parse_args()


def logs_command(o, query=""):
    url = f"http://engine/containers/{o.id}/logs?stdout=1&stderr=1&timestamps=1{query}"
    return ["curl", "-sS", "--unix-socket", o.socket, url]


def wait_written(o):
    """The two streams reach the log by different ways, so the end of each is looked for."""
    last = {f"line o {o.lines - o.lines // 5} ".encode(), f"line e {o.lines // 5} ".encode()}
    until = time.monotonic() + TIMEOUT_S
    while True:
        tail = subprocess.run(logs_command(o, "&tail=20000"), stdout=subprocess.PIPE, check=True)
        if all(text in tail.stdout for text in last):
            return
        if time.monotonic() > until:
            sys.exit("the container does not come to the end of its lines")
        time.sleep(0.5)


def daemon_cpu_s(o):
    with open(o.daemon_pid_file, encoding="ascii") as file:
        pid = int(file.read())
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended(process):
    """Reaps the process; seconds of CPU that it took."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{process.args[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def measured(o, run):
    """What one run costs: seconds of wall time, of its own CPU, and of the Engine's."""
    daemon = daemon_cpu_s(o)
    begin = time.monotonic()
    wall, cpu = run(begin)
    return {"wall": wall, "cpu": cpu, "engine": daemon_cpu_s(o) - daemon}


def run_curl(o):
    def run(begin):
        process = subprocess.Popen(logs_command(o), stdout=subprocess.DEVNULL)
        cpu = ended(process)
        return time.monotonic() - begin, cpu

    return run


def run_ringtail(o, size_bytes, lines=None):
    """Up to an output of size_bytes; with lines, up to so many lines. Leaves the output there."""
    out = os.path.join(o.directory, "out")
    path = os.path.join(out, "log.ndjson")

    def is_done(state):
        try:
            if lines is None:
                return os.stat(path).st_size >= size_bytes
            with open(path, "rb") as file:
                file.seek(state["at"])
                while piece := file.read(1 << 20):
                    state["at"] += len(piece)
                    state["lines"] += piece.count(b"\n")
        except FileNotFoundError:
            return False
        return state["lines"] >= lines

    def run(begin):
        shutil.rmtree(out, ignore_errors=True)
        command = [o.ringtail, "run", "--engine", "unix://" + o.socket, "--output", out]
        command += ["--since", "all", "--set", "output.template=log.ndjson"]
        command += ["--set", "admin.port=0"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        state = {"at": 0, "lines": 0}
        while not is_done(state):
            if time.monotonic() > begin + TIMEOUT_S:
                process.kill()
                sys.exit("ringtail does not come to the end of the log")
            time.sleep(0.002)
        wall = time.monotonic() - begin
        process.send_signal(signal.SIGTERM)
        return wall, ended(process)

    return run, path


def records(stream):
    """(stream, timestamp, line) of each frame; no line of this log is longer than one."""
    while head := stream.read(8):
        payload = stream.read(int.from_bytes(head[4:], "big"))
        yield ("stderr" if head[0] == 2 else "stdout", payload[:30], payload[31:])


def check(o, path):
    curl = subprocess.Popen(logs_command(o), stdout=subprocess.PIPE)
    count = 0
    with open(path, "rb") as output:
        for stream, ts, line in records(curl.stdout):
            row = json.loads(output.readline())
            got = (row["stream"], row["ts"].encode(), row["line"].encode() + b"\n")
            if got != (stream, ts, line):
                sys.exit(f"line {count + 1} is {(stream, ts, line)}, got {got}")
            count += 1
        if count != o.lines or output.readline():
            sys.exit(f"{count} lines, and not all of the output compared")
    curl.wait()
    print(f"checked: {count} lines of the Engine, byte by byte and in its order")


def main():
    o = arguments()
    wait_written(o)
    run, path = run_ringtail(o, 0, o.lines)
    run(time.monotonic())
    check(o, path)
    size_bytes = os.stat(path).st_size
    print(f"output: {size_bytes / 1e6:.0f} MB")

    run, _ = run_ringtail(o, size_bytes)
    results = {"curl": [], "ringtail": []}
    ratios = []
    for i in range(o.runs):
        turn = [("curl", run_curl(o)), ("ringtail", run)]
        for name, fn in turn if i % 2 == 0 else reversed(turn):
            results[name].append(measured(o, fn))
        ratios.append(results["ringtail"][-1]["wall"] / results["curl"][-1]["wall"])
    for name, rows in results.items():
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        walls = " ".join(f"{row['wall']:.2f}" for row in rows)
        print(
            f"{name:9} wall {middle['wall']:.2f} s, own CPU {middle['cpu']:.2f} s, "
            f"Engine's CPU {middle['engine']:.2f} s (medians of {o.runs}; walls {walls})"
        )
    print(f"wall of ringtail / wall of curl: {statistics.median(ratios):.3f} (median of the pairs)")


if __name__ == "__main__":
    main()
