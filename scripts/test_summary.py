#!/usr/bin/env python3
"""Counts the test cases of meson's logs and decides whether the run passed.

A program that speaks cmocka's or TAP's language counts case by case, any other program as one case.
The last line is "ringtail: N passed, N failed, N skipped". With CI=true a skipped case is a failure,
unless its suite is "long".

usage: test_summary.py [--meson-exit CODE] LABEL=testlog.json...
"""

import argparse
import json
import os
import re
import sys

CMOCKA_CASE = re.compile(r"\[( {7}OK | {2}FAILED  | {2}SKIPPED )\] (.*)")
TAP_CASE = re.compile(r"^(not ok|ok)\b(.*)$", re.M)


def cases_of(run):
    """The (verdict, title) pairs of one program; verdict is passed, failed or skipped."""
    out = run.get("stdout", "")
    cases = []
    if "[==========]" in out:
        for mark, title in CMOCKA_CASE.findall(out):
            verdict = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}[mark.strip()]
            cases.append((verdict, title.strip()))
    elif re.search(r"^1\.\.\d+", out, re.M):
        for mark, title in TAP_CASE.findall(out):
            skipped = re.search(r"#\s*skip", title, re.I)
            verdict = "skipped" if skipped else "passed" if mark == "ok" else "failed"
            cases.append((verdict, title.strip(" -")))

    result = run["result"]
    if result == "SKIP":
        # The whole program gave up; what it had passed before is of no weight.
        reason = (out + run.get("stderr", "")).strip().splitlines()
        return [("skipped", reason[-1] if reason else "no reason given")]
    if result not in ("OK", "EXPECTEDFAIL") and not any(v == "failed" for v, _ in cases):
        # A crash, a timeout, or a sanitizer's report after the last case.
        return cases + [("failed", f"{result}, exit status {run.get('returncode')}")]
    return cases or [("passed", "")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--meson-exit", type=int, default=0)
    parser.add_argument("logs", nargs="+", metavar="LABEL=testlog.json")
    args = parser.parse_args()

    strict = os.environ.get("CI") == "true"
    total = {"passed": 0, "failed": 0, "skipped": 0}
    forbidden = 0
    table = {}
    notes = []
    for spec in args.logs:
        label, _, path = spec.partition("=")
        try:
            with open(path, encoding="utf-8") as log:
                runs = [json.loads(line) for line in log if line.strip()]
        except OSError as error:
            runs = []
            notes.append(f"FAILED   {label}: no log of the tests: {error.strerror}: {path}")
            total["failed"] += 1
        for run in runs:
            where, _, program = run["name"].rpartition(" / ")
            suites = where.rpartition(":")[2].split("+")
            row = table.setdefault((label, suites[0]), dict.fromkeys(total, 0))
            for verdict, title in cases_of(run):
                row[verdict] += 1
                total[verdict] += 1
                if verdict != "passed":
                    notes.append(f"{verdict.upper():8} {label} {'+'.join(suites)}/{program}: {title}")
                if verdict == "skipped" and strict and "long" not in suites:
                    forbidden += 1

    print()
    for (label, suite), row in sorted(table.items()):
        counts = ", ".join(f"{row[v]} {v}" for v in total)
        print(f"  {label:15} {suite:12} {counts}")
    for note in notes:
        print(f"  {note}")
    if forbidden:
        print(f"  CI=true: {forbidden} skipped outside of the suite \"long\", which fails this run")
    if total["passed"] == 0:
        print("  no test passed, which fails this run")
    if args.meson_exit != 0 and total["failed"] == 0:
        print(f"  meson ended with {args.meson_exit}, which fails this run")
    print("ringtail: " + ", ".join(f"{total[v]} {v}" for v in total))
    failed = total["failed"] or forbidden or args.meson_exit or total["passed"] == 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
