"""What a program costs: processor time of its whole process tree, memory, threads, descriptors.

The processor time is the kernel's own count. Where a control group can be made each program gets one,
and its count has every process that ever was in it. Elsewhere it is what the processes that still
run have used, and what those that were started here and have ended did use.
"""

import os
import signal
import subprocess
import threading
import time

from lib.say import Trouble

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
END_WITHIN_S = 20


def read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def cgroup_root():
    """Where control groups of the second version are mounted, or None. Their cpu.stat needs no controller."""
    for line in read("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] == "cgroup2":
            return before.split()[4]
    return None


def process_cpu_s(pid, reaped_children=False):
    """User and system time of a process, in the clock's ticks; 0 if it is gone."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return 0.0
    last = 15 if reaped_children else 13
    return sum(int(field) for field in fields[11:last]) / TICKS_PER_S


class Accounts:
    """The processes of one program in one run."""

    def __init__(self, name):
        self.started = []
        # Each stands for a process that something else has started.
        self.companions = []
        # The sampler looks for ended processes too.
        self.reaping = threading.Lock()
        self.ended_cpu_s = 0.0
        self.peak = {"rss_bytes": 0, "threads": 0, "descriptors": 0, "processes": 0}
        self.group = None
        self.sampler = None
        self.stop_sampling = threading.Event()
        root = cgroup_root()
        if root:
            group = os.path.join(root, f"ringtail-perf-{os.getpid()}-{name}")
            try:
                os.mkdir(group)
                read(os.path.join(group, "cpu.stat"))
                self.group = group
            except OSError:
                pass

    def spawn(self, command, **popen):
        """Starts a process that is counted from its first instruction on."""
        if self.group:
            # The shell enters the group, and then becomes the program.
            enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
            command = ["sh", "-c", enter, self.group, *command]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, **popen
        )
        self.started.append(process)
        return process

    def adopt(self, pid, companion):
        """Counts a process that something else has started, from now on.

        companion: a process that was started here, is not counted, ends when that one does, and passes
        signals on to it.
        """
        self.companions.append(companion)
        if not self.group:
            raise Trouble("what runs in a container can be counted only where control groups can be made")
        with open(os.path.join(self.group, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write(str(pid))

    def alive(self, processes):
        return [process for process in processes if not self.reap(process, 0)]

    def running(self):
        """Those of the processes that were started here and have not ended."""
        return self.alive([*self.started, *self.companions])

    def pids(self):
        """Of all processes, and of what they started too where there is a control group."""
        pids = {process.pid for process in self.alive(list(self.started))}
        if self.group:
            pids.update(int(p) for p in read(os.path.join(self.group, "cgroup.procs")).split())
        return sorted(pids)

    def cpu_s(self):
        if self.group:
            for line in read(os.path.join(self.group, "cpu.stat")).splitlines():
                if line.startswith("usage_usec "):
                    return int(line.split()[1]) / 1e6
        return self.ended_cpu_s + sum(process_cpu_s(pid, True) for pid in self.pids())

    def sample(self):
        """Peaks over processes: of memory the sum of what each had at most, of the others the sum now."""
        now = dict.fromkeys(self.peak, 0)
        for pid in self.pids():
            try:
                status = dict(
                    line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines()
                )
                if "VmHWM" not in status:
                    continue
                now["rss_bytes"] += int(status["VmHWM"].split()[0]) * 1024
                now["threads"] += int(status["Threads"])
                now["descriptors"] += len(os.listdir(f"/proc/{pid}/fd"))
                now["processes"] += 1
            except OSError:
                continue
        for key, value in now.items():
            self.peak[key] = max(self.peak[key], value)

    def sample_until_end(self, interval_s):
        def run():
            while not self.stop_sampling.wait(interval_s):
                self.sample()

        self.sampler = threading.Thread(target=run, daemon=True)
        self.sampler.start()

    def reap(self, process, timeout_s):
        """Waits for a process. Whether it has ended."""
        until = time.monotonic() + timeout_s
        while process.returncode is None:
            with self.reaping:
                if process.returncode is None:
                    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                    if pid:
                        process.returncode = os.waitstatus_to_exitcode(status)
                        self.ended_cpu_s += usage.ru_utime + usage.ru_stime
            if process.returncode is None:
                if time.monotonic() >= until:
                    return False
                time.sleep(0.01)
        return True

    def signal(self, number):
        """To all processes that were started here, and waits for them; the rest is killed."""
        for process in self.running():
            process.send_signal(number)
        until = time.monotonic() + END_WITHIN_S
        for process in [*self.started, *self.companions]:
            if not self.reap(process, max(0.0, until - time.monotonic())):
                process.kill()
                self.reap(process, END_WITHIN_S)
        if self.group:
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def finish(self):
        """Ends what is left, and the control group."""
        self.stop_sampling.set()
        if self.sampler:
            self.sampler.join()
        self.signal(signal.SIGTERM)
        for _ in range(100):
            if not self.group:
                break
            try:
                os.rmdir(self.group)
                self.group = None
            except OSError:
                time.sleep(0.05)
