#!/usr/bin/env python3
"""Finds what does not belong into the tree: a machine's paths, hosts of package archives, dead code."""

import sys

sys.dont_write_bytecode = True

import re

import tree

# These name the words that they look for.
EXEMPT = {"tests/lint/words.py", "LICENSE"}

ANYWHERE = (
    # A path of somebody's machine: works there, and nowhere else.
    (r"(?<![\w./$}-])/(?:work|root|home/\w+|Users/\w+|tmp/rt)(?:/|\b)", "path of one machine"),
    # Which mirror to use is for the machine to say, not for us.
    (
        r"\b(?:deb\.debian\.org|(?:security|snapshot|ftp)\.debian\.org|(?:archive|security|ports)"
        r"\.ubuntu\.com|pypi\.org|files\.pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org"
        r"|(?:static\.|index\.)?crates\.io|(?:registry-1|index|hub)\.docker\.(?:io|com)|ghcr\.io"
        r"|quay\.io|\bgcr\.io|registry\.k8s\.io)\b",
        "host of a package registry",
    ),
    # A reminder has to say what is missing and why it is; three words are the least.
    (r"\b(?:TODO|FIXME|HACK)\b(?!(?:\([^)]*\))?: *\S+ +\S+ +\S+)", "reminder without a reason"),
)
IN_C = (
    (r"^\s*#\s*if\s+0\b", "code that is switched off"),
    (r"^\s*//.*[;{}]\s*$", "commented-out code"),
    (r"^\s*/\*\s*[\w>.*\[\]-]+\s*(?:=|\+=|-=|\()[^*]*;\s*\*/\s*$", "commented-out code"),
    (r"^\s*/\*\s*(?:if|for|while|switch|return)\b[^*]*[;{]\s*\*/\s*$", "commented-out code"),
)
IN_SCRIPTS = ((r"^\s*#\s*(?:if \[|fi$|done$|esac$|\w+=\S*$|\w+\(\) *\{)", "commented-out code"),)


def compiled(rules):
    return [(re.compile(pattern), message) for pattern, message in rules]


def main():
    root = tree.project_root()
    findings = tree.Findings(root)
    paths = [path for path in tree.files(root) if path not in EXEMPT]
    anywhere, in_c, in_scripts = compiled(ANYWHERE), compiled(IN_C), compiled(IN_SCRIPTS)

    for path in paths:
        text = tree.read_text(root, path)
        if text is None:
            continue
        rules = list(anywhere)
        if path.endswith((".c", ".h")):
            rules += in_c
        elif text.startswith("#!") or path.endswith((".sh", ".py")):
            rules += in_scripts
        for number, line in enumerate(text.split("\n"), 1):
            for pattern, message in rules:
                match = pattern.search(line)
                if match:
                    findings.add(path, number, f"{message}: {match.group(0).strip()}")
    return findings.finish(f"{len(paths)} files")


if __name__ == "__main__":
    sys.exit(main())
