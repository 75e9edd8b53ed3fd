#!/usr/bin/env python3
"""Compares the scenario numbers in the titles of tests with the list of those that must have one.

A title is a string that starts with one number or several: "S24 every split gives the same lines",
"S07 S21 …". The list is scenarios.txt beside this file.
"""

import sys

sys.dont_write_bytecode = True

import os
import re

import tree

TITLE = re.compile(r"""["'](S\d\d(?:[ ,]+S\d\d)*) +[^"'\s]""")


def required(root, findings):
    """{number: (line of the list, what it is about)}"""
    path = "tests/lint/scenarios.txt"
    wanted = {}
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for line, text in enumerate(file, 1):
            if not text.strip() or text.startswith("#"):
                continue
            match = re.fullmatch(r"(S\d\d)  (\S.*)", text.strip())
            if not match:
                findings.add(path, line, "not a number, two blanks, and what it is about")
            elif match.group(1) in wanted:
                findings.add(path, line, f"{match.group(1)} twice")
            else:
                wanted[match.group(1)] = (line, match.group(2))
    return wanted


def main():
    root = tree.project_root()
    findings = tree.Findings(root)
    wanted = required(root, findings)
    titles = {}

    for path in tree.files(root):
        if not path.startswith("tests/") or path.startswith("tests/lint/"):
            continue
        text = tree.read_text(root, path) or ""
        for match in TITLE.finditer(text):
            for number in re.findall(r"S\d\d", match.group(1)):
                line = text.count("\n", 0, match.start()) + 1
                titles.setdefault(number, []).append((path, line))

    for number, (line, about) in sorted(wanted.items()):
        if number not in titles:
            findings.add("tests/lint/scenarios.txt", line, f"no test's title has {number}: {about}")
    for number in sorted(set(titles) - set(wanted)):
        for path, line in titles[number]:
            findings.add(path, line, f"{number} is not in tests/lint/scenarios.txt")
    return findings.finish(f"{sum(map(len, titles.values()))} titles, {len(wanted)} scenarios")


if __name__ == "__main__":
    sys.exit(main())
