"""How old lines are when they can be read in the output; lib/tail.c looks."""

import array
import os
import signal
import subprocess

from lib.engine import ROOT
from lib.histogram import Histogram

SOURCE = os.path.join(ROOT, "perf/lib/tail.c")
# Somebody who is late himself would find every line older than it was.
NICE = -10


def build(directory):
    """Makes the reader; gives its path."""
    program = os.path.join(directory, "perf-tail")
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-std=gnu17", "-O2", "-o", program, SOURCE], check=True)
    return program


class Tail:
    """The reader at work, in nobody's accounts."""

    def __init__(self, program, out_dir, paths):
        self.result = os.path.join(out_dir, "ages")
        self.process = subprocess.Popen([program, self.result, *paths], start_new_session=True)
        try:
            os.setpriority(os.PRIO_PROCESS, self.process.pid, NICE)
        except PermissionError:
            pass

    def end(self):
        """Ends it. The ages in microseconds."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        histogram = Histogram()
        try:
            with open(self.result, "rb") as file:
                ages_ns = array.array("Q", file.read())
        except FileNotFoundError:
            return histogram
        for age_ns in ages_ns:
            histogram.add(age_ns // 1000)
        return histogram
