#!/usr/bin/env python3
"""Compares docs/configuration.md with what `ringtail options` prints.

options.py ROOT RINGTAIL
"""

import subprocess
import sys


def main():
    root, ringtail = sys.argv[1:]
    path = f"{root}/docs/configuration.md"
    printed = subprocess.run([ringtail, "options"], check=True, capture_output=True, text=True).stdout
    with open(path, encoding="utf-8") as f:
        written = f.read()
    if printed == written:
        return 0
    for number, (a, b) in enumerate(zip(printed.splitlines(), written.splitlines()), 1):
        if a != b:
            print(f"docs/configuration.md:{number}: differs from what `ringtail options` prints")
            break
    print("bring it up to date: build/ringtail options >docs/configuration.md")
    return 1


if __name__ == "__main__":
    sys.exit(main())
