#!/usr/bin/env python3
"""Runs README's two commands on a machine that has nothing yet: a bootstrapped root with a clone of the project.

readme.py CACHE RELEASE [run|test]...

RELEASE is Debian's (trixie, bookworm). CACHE is where its base is kept (tests/docker/base_root.py). Only the
last commit is in the clone. What scripts/test writes is kept in CACHE/readme-RELEASE.log.
"""

import sys

sys.dont_write_bytecode = True

import os
import subprocess

from root import ROOT, Root, claim, run_in_roots
from base_root import base_archive


def clone(cache, release, work, name):
    root = Root(base_archive(cache, release), os.path.join(work, name))
    subprocess.run(["git", "clone", "-q", "--no-local", ROOT, f"{root.path}/ringtail"], check=True)
    return root


def test_run(cache, release, work):
    """As tests/run.sh does it, which is the first here to call scripts/run."""
    root = clone(cache, release, work, "run")
    root.run("cd /ringtail && exec bash tests/run.sh")


def test_test(cache, release, work):
    root = clone(cache, release, work, "test")
    log = os.path.join(cache, f"readme-{release}.log")
    with open(log, "w", encoding="utf-8") as out:
        process = root.start(
            "cd /ringtail && exec scripts/test", stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )
        process.wait()
    with open(log, encoding="utf-8", errors="replace") as told:
        end = told.read()[-3000:]
    print(f"# {end.splitlines()[-1]}")
    claim(process.returncode == 0, f"exit code {process.returncode}\n{end}")


def main():
    cache, release, *wanted = sys.argv[1:]
    tests = {"run": test_run, "test": test_test}
    return run_in_roots(lambda work: [
        (f"scripts/{name} on a bare {release}", lambda test=tests[name]: test(cache, release, work))
        for name in wanted or tests
    ])


if __name__ == "__main__":
    sys.exit(main())
