"""The benchmarks against a real Engine: W1 to W7.

Each measures one program in one run, and compares its output with the Engine's own log before it
gives a number. The programs see the same containers: a drain reads logs that were written before and
are read again by each; what is written at a rate is written anew, with the same numbers.
"""

import os
import shutil
import signal
import time

from lib import check, latency
from lib.accounts import Accounts
from lib.engine import Writer
from lib.histogram import PERCENTILES
from lib.say import Trouble, say
from lib.syscalls import Counting

# An output that did not grow for so long is complete, or never will be.
QUIET_S = 3.0
DRAIN_WITHIN_S = 900
# How often memory and descriptors are looked at: of a few processes that soon end, and of many.
DRAIN_SAMPLE_S, RATE_SAMPLE_S = 0.1, 2.0
LINE_BYTES = 124
RATE_LINE_BYTES = 100
LONG_LINE_BYTES = 100000

# Of each measure: the unit, which way is better, and what it is called in tables.
METRICS = {
    "cpu_us_per_line": ("µs", "less", "own CPU per line"),
    "cpu_percent": ("%", "less", "own CPU, of one core"),
    "wall_s": ("s", "less", "wall time"),
    "lines_per_s": ("lines/s", "more", "lines per second"),
    "engine_cpu_s": ("s", "less", "the Engine's CPU"),
    "latency_p50_ms": ("ms", "less", "latency p50"),
    "latency_p90_ms": ("ms", "less", "latency p90"),
    "latency_p99_ms": ("ms", "less", "latency p99"),
    "latency_p999_ms": ("ms", "less", "latency p99.9"),
    "latency_max_ms": ("ms", "less", "latency max"),
    "rss_mb": ("MB", "less", "peak RSS"),
    "threads": ("", "less", "threads"),
    "descriptors": ("", "less", "descriptors"),
    "processes": ("", "less", "processes"),
    "syscalls_per_line": ("", "less", "system calls per line"),
    "syscalls_per_s": ("1/s", "less", "system calls per second"),
}


class Run:
    """One program at work once: its processes, its directory, what was measured."""

    def __init__(self, engine, peer_class, scratch, drains):
        self.out_dir = os.path.join(scratch, "out")
        shutil.rmtree(self.out_dir, ignore_errors=True)
        os.mkdir(self.out_dir)
        self.accounts = Accounts(peer_class.name)
        self.peer = peer_class(engine, self.accounts, self.out_dir, drains)
        self.values = {}
        self.checked = {}
        self.lines = 0
        self.histogram = None
        self.counting = None

    def size(self, containers):
        total = 0
        for path in self.peer.paths(containers):
            try:
                total += os.stat(path).st_size
            except FileNotFoundError:
                pass
        return total

    def wait_complete(self, containers, wanted_bytes, timeout_s):
        """Until the output has a size or stands still, or the program ends. When it last grew."""
        until = time.monotonic() + timeout_s
        size, grew_at = -1, time.monotonic()
        while True:
            now, size_now = time.monotonic(), self.size(containers)
            if size_now != size:
                size, grew_at = size_now, now
            quiet = size > 0 and now > grew_at + QUIET_S
            if size == wanted_bytes or quiet or not self.accounts.running():
                return grew_at
            if now > until:
                raise Trouble(f"{self.peer.name} does not come to the end of its work")
            time.sleep(0.005)

    def count_begin(self):
        self.counting = Counting(self.out_dir, self.accounts.pids())

    def count_end(self):
        return self.counting.end() if self.counting else None

    def resources(self):
        self.accounts.sample()
        peak = self.accounts.peak
        self.values["rss_mb"] = peak["rss_bytes"] / 1e6
        for key in ("threads", "descriptors", "processes"):
            self.values[key] = peak[key]

    def compare(self, containers, reference):
        found = check.Check(containers)
        self.peer.feed(containers, found)
        self.lines = found.count()
        self.checked = found.compared(reference, self.peer.one_order)

    def finish(self):
        self.accounts.finish()
        shutil.rmtree(self.out_dir, ignore_errors=True)


class Workload:
    name = title = ""
    quick_runs, full_runs = 1, 3
    drains = False

    def __init__(self, engine, scratch, quick):
        self.engine = engine
        self.scratch = scratch
        self.quick = quick
        self.containers = []
        self.size(quick)

    def size(self, quick):
        """Sets how much there is to do."""
        raise NotImplementedError

    def params(self):
        raise NotImplementedError

    def prepare(self):
        """What all runs share."""

    def finish(self):
        if self.containers:
            self.engine.remove(self.containers)
            self.containers = []

    def measure(self, run, counting):
        """One run. counting: only the system calls are wanted, which costs the program time."""
        raise NotImplementedError

    def reference(self, containers):
        path = os.path.join(self.scratch, "reference")
        reference = check.reference_of(self.engine, containers, path)
        os.unlink(path)
        wanted = sum(c.writer.count for c in containers)
        if reference.count() != wanted or reference.strange:
            say(f"the Engine itself has {reference.count()} of {wanted} lines")
        return reference


class Drain(Workload):
    """Logs that are there, to the last line."""

    drains = True
    line_bytes = LINE_BYTES
    full = quick_size = (0, 0)

    def size(self, quick):
        self.logs, self.lines = self.quick_size if quick else self.full
        self.final_bytes = {}

    def params(self):
        return {"containers": self.logs, "lines": self.lines, "line_bytes": self.line_bytes}

    def prepare(self):
        say(f"{self.name}: writing {self.logs} × {self.lines} lines of {self.line_bytes} bytes")
        writers = [
            Writer(f"{self.name.lower()}-{i}", self.lines, self.line_bytes)
            for i in range(self.logs)
        ]
        self.containers = self.engine.run(writers)
        self.engine.wait_written(self.containers)
        self.right = self.reference(self.containers)

    def measure(self, run, counting):
        name = run.peer.name
        engine_cpu_s = self.engine.cpu_s()
        begin = time.monotonic()
        run.peer.start(self.containers)
        if counting:
            run.count_begin()
        run.accounts.sample_until_end(DRAIN_SAMPLE_S)
        end = run.wait_complete(self.containers, self.final_bytes.get(name), DRAIN_WITHIN_S)
        cpu_s = run.accounts.cpu_s()
        calls = run.count_end()
        run.resources()
        engine_cpu_s = self.engine.cpu_s() - engine_cpu_s
        size = run.size(self.containers)
        run.accounts.signal(signal.SIGTERM)
        run.compare(self.containers, self.right)
        if not any(run.checked.values()):
            self.final_bytes[name] = size
        lines = run.lines
        if lines == 0:
            raise Trouble(f"{name} wrote no line at all: {run.peer.complaints()}")
        if counting:
            run.values = {} if calls is None else {"syscalls_per_line": calls / lines}
            return
        run.values["cpu_us_per_line"] = cpu_s / lines * 1e6
        run.values["wall_s"] = end - begin
        run.values["lines_per_s"] = lines / (end - begin)
        run.values["engine_cpu_s"] = engine_cpu_s


class W1(Drain):
    name = "W1"
    title = "one log, drained"
    full, quick_size = (1, 2000000), (1, 200000)
    full_runs = 5


class W4(Drain):
    name = "W4"
    title = "four logs, drained at once"
    full, quick_size = (4, 1000000), (4, 50000)


class W7(Drain):
    name = "W7"
    title = "lines of 100 KB, drained"
    full, quick_size = (1, 2000), (1, 200)
    line_bytes = LONG_LINE_BYTES


class Rate(Workload):
    """Many containers that write a little each."""

    disturbance = None
    # For all streams to be open, also of a program that has a process for each.
    settle_s, quick_settle_s = 8, 3
    rate = 200

    def size(self, quick):
        self.logs, self.seconds = (10, 10) if quick else (50, 60)
        self.settle = self.quick_settle_s if quick else self.settle_s
        self.tail = latency.build(self.scratch)

    def params(self):
        return {"containers": self.logs, "rate": self.rate, "seconds": self.seconds}

    def measure(self, run, counting):
        seconds = min(self.seconds, 10) if counting else self.seconds
        writers = [
            Writer(
                f"{self.name.lower()}-{i:02}",
                self.rate * seconds,
                RATE_LINE_BYTES,
                rate=self.rate,
                stamp=True,
                wait=True,
            )
            for i in range(self.logs)
        ]
        containers = self.engine.run(writers)
        try:
            self.measure_written(run, containers, seconds, counting)
        finally:
            # The next program is to see its own containers alone.
            self.engine.remove(containers)

    def measure_written(self, run, containers, seconds, counting):
        run.peer.start(containers)
        run.accounts.sample_until_end(RATE_SAMPLE_S)
        time.sleep(self.settle)
        tail = latency.Tail(self.tail, run.out_dir, run.peer.paths(containers))
        if counting:
            run.count_begin()
        cpu_s, engine_cpu_s = run.accounts.cpu_s(), self.engine.cpu_s()
        begin = self.engine.begin(containers)
        if self.disturbance:
            time.sleep(max(0.0, begin + seconds / 2 - time.monotonic()))
            self.disturbance(run, containers)
        time.sleep(max(0.0, begin + seconds - time.monotonic()))
        # Processor time is of the whole span, whatever the disturbance took of it.
        span_s = time.monotonic() - begin
        cpu_s, engine_cpu_s = run.accounts.cpu_s() - cpu_s, self.engine.cpu_s() - engine_cpu_s
        calls = run.count_end()
        self.engine.wait_written(containers)
        run.wait_complete(containers, None, DRAIN_WITHIN_S)
        run.resources()
        run.histogram = tail.end()
        run.accounts.signal(signal.SIGTERM)
        run.compare(containers, self.reference(containers))
        if run.lines == 0:
            raise Trouble(f"{run.peer.name} wrote no line at all: {run.peer.complaints()}")
        if counting:
            run.histogram = None
            run.values = {} if calls is None else {"syscalls_per_line": calls / run.lines}
            return
        run.values["cpu_percent"] = cpu_s / span_s * 100
        run.values["cpu_us_per_line"] = cpu_s / run.lines * 1e6
        # A restarted daemon has a count of its own.
        if engine_cpu_s > 0 and self.name != "W6":
            run.values["engine_cpu_s"] = engine_cpu_s
        for key, percent in PERCENTILES:
            run.values[f"latency_{key}_ms"] = run.histogram.percentile(percent) / 1000


class W2(Rate):
    name = "W2"
    title = "50 containers, 200 lines/s each"


class W5(Rate):
    name = "W5"
    title = "W2 with SIGKILL in the middle, and a start 2 s later"
    full_runs = 1
    away_s = 2.0

    def disturbance(self, run, containers):
        killed_at = time.time()
        for pid in run.accounts.pids():
            os.kill(pid, signal.SIGKILL)
        for process in run.accounts.started:
            run.accounts.reap(process, 10)
        time.sleep(self.away_s)
        run.peer.start(containers, resume_at=killed_at)


class W6(Rate):
    name = "W6"
    title = "W2 with the Engine restarted in the middle"
    full_runs = 1

    def disturbance(self, run, containers):
        self.engine.down()
        gone_at = time.time()
        self.engine.up()
        run.peer.engine_returned(containers, resume_at=gone_at)


class W3(Workload):
    """Many containers that write nothing."""

    name = "W3"
    title = "200 idle containers"
    settle_s, quick_settle_s = 20, 5
    full_runs = 2
    lines = 5

    def size(self, quick):
        self.logs, self.seconds = (20, 10) if quick else (200, 60)
        self.settle = self.quick_settle_s if quick else self.settle_s

    def params(self):
        return {"containers": self.logs, "seconds": self.seconds}

    def prepare(self):
        say(f"{self.name}: starting {self.logs} containers")
        writers = [Writer(f"w3-{i:03}", self.lines, LINE_BYTES) for i in range(self.logs)]
        self.containers = self.engine.run(writers)
        self.engine.wait_written(self.containers)
        self.right = self.reference(self.containers)

    def measure(self, run, counting):
        run.peer.start(self.containers)
        run.wait_complete(self.containers, None, DRAIN_WITHIN_S)
        time.sleep(self.settle)
        if counting:
            run.count_begin()
        cpu_s, engine_cpu_s = run.accounts.cpu_s(), self.engine.cpu_s()
        begin = time.monotonic()
        time.sleep(min(self.seconds, 10) if counting else self.seconds)
        span_s = time.monotonic() - begin
        cpu_s, engine_cpu_s = run.accounts.cpu_s() - cpu_s, self.engine.cpu_s() - engine_cpu_s
        calls = run.count_end()
        run.resources()
        run.accounts.signal(signal.SIGTERM)
        run.compare(self.containers, self.right)
        if counting:
            run.values = {} if calls is None else {"syscalls_per_s": calls / span_s}
            return
        run.values["cpu_percent"] = cpu_s / span_s * 100
        run.values["engine_cpu_s"] = engine_cpu_s


ALL = {w.name: w for w in (W1, W2, W3, W4, W5, W6, W7)}
