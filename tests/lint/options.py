#!/usr/bin/env python3
"""Compares the pages in docs that ringtail prints with what it prints.

options.py ROOT RINGTAIL
"""

import subprocess
import sys

PAGES = {"options": "docs/configuration.md", "kernels": "docs/kernels.md"}


def main():
    root, ringtail = sys.argv[1:]
    differ = 0
    for command, path in PAGES.items():
        printed = subprocess.run([ringtail, command], check=True, capture_output=True, text=True).stdout
        with open(f"{root}/{path}", encoding="utf-8") as f:
            written = f.read()
        if printed == written:
            continue
        differ = 1
        for number, (a, b) in enumerate(zip(printed.splitlines(), written.splitlines()), 1):
            if a != b:
                print(f"{path}:{number}: differs from what `ringtail {command}` prints")
                break
        print(f"bring it up to date: build/ringtail {command} >{path}")
    return differ


if __name__ == "__main__":
    sys.exit(main())
