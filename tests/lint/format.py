#!/usr/bin/env python3
"""Checks that C is as clang-format leaves it, that scripts parse, and that text files are tidy."""

import sys

sys.dont_write_bytecode = True

import os
import re
import shutil
import subprocess

import tree

# Other releases of clang-format break some lines elsewhere; one of them has to be right.
CLANG_FORMAT_MAJOR = "14"


def clang_format():
    """The program to use, or None: the release we format with, by whatever name it has here."""
    for name in (f"clang-format-{CLANG_FORMAT_MAJOR}", "clang-format"):
        program = shutil.which(name)
        if not program:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        if re.search(rf"version {CLANG_FORMAT_MAJOR}\.", version.stdout):
            return program
    return None


def check_c(root, sources, findings):
    program = clang_format()
    if not program:
        print(f"no clang-format {CLANG_FORMAT_MAJOR} here: the layout of C files is not checked")
        return
    for start in range(0, len(sources), 50):
        result = subprocess.run(
            [program, "--dry-run", "-Werror", "--style=file", *sources[start : start + 50]],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode == 0:
            continue
        places = re.findall(r"^(.+?):(\d+):\d+: error:", result.stderr, re.M)
        if not places:
            findings.add(sources[start], 1, f"clang-format failed: {result.stderr.strip()}")
        for path, line in sorted(set((path, int(line)) for path, line in places)):
            findings.add(path, line, "clang-format would change this")


def check_script(root, path, text, findings):
    first = text.split("\n", 1)[0]
    if re.match(r"#!.*\b(ba)?sh\b", first) or path.endswith(".sh"):
        result = subprocess.run(
            ["bash", "-n", path], cwd=root, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            message = result.stderr.strip()
            line = re.search(r"line (\d+)", message)
            findings.add(path, line.group(1) if line else 1, message)
    elif path.endswith(".py") or re.match(r"#!.*\bpython3?\b", first):
        try:
            compile(text, path, "exec")
        except SyntaxError as error:
            findings.add(path, error.lineno or 1, f"does not parse: {error.msg}")
    else:
        return
    if first.startswith("#!") and not os.access(os.path.join(root, path), os.X_OK):
        findings.add(path, 1, "names an interpreter, but is not executable")


def check_text(path, text, findings):
    if "\r" in text:
        findings.add(path, text[: text.index("\r")].count("\n") + 1, "carriage return")
    if text and not text.endswith("\n"):
        findings.add(path, text.count("\n") + 1, "no newline at the end")
    if text.endswith("\n\n"):
        findings.add(path, text.count("\n"), "empty line at the end")
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith((" ", "\t")):
            findings.add(path, number, "blank at the end of the line")
        if "\t" in line:
            findings.add(path, number, "tab")


def main():
    root = tree.project_root()
    findings = tree.Findings(root)
    paths = tree.files(root)

    for path in paths:
        text = tree.read_text(root, path)
        if text is None:
            continue
        check_script(root, path, text, findings)
        # The licence is not ours to lay out.
        if path != "LICENSE":
            check_text(path, text, findings)
    check_c(root, [path for path in paths if path.endswith((".c", ".h"))], findings)
    return findings.finish(f"{len(paths)} files")


if __name__ == "__main__":
    sys.exit(main())
