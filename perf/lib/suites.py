"""The benchmarks without an Engine, which are programs of their own: perf/micro and perf/engineless.

Each prints {"results": […]} on standard output, in the shape of a file of results.
"""

import json
import os
import subprocess

from lib.engine import ROOT
from lib.say import Trouble

ALL = {
    "micro": "the steps of a line, by themselves",
    "engineless": "ringtail against the simulated Engine",
}


def program(name):
    return os.path.join(ROOT, "perf", name, "run")


def present():
    return [name for name in ALL if os.access(program(name), os.X_OK)]


def run(name, quick, runs):
    """Its results."""
    command = [program(name), "--json"]
    command += ["--quick"] if quick else []
    command += ["--runs", str(runs)] if runs else []
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise Trouble(f"{name} ended with {done.returncode}")
    try:
        return json.loads(done.stdout)["results"]
    except (ValueError, KeyError) as error:
        raise Trouble(f"{name} printed no results: {error}") from error
