"""What the lint scripts share: which files the project has, and how a finding is told."""

import os
import subprocess
import sys

# Bytes in these are data, and look as they have to.
DATA_DIRS = ("tests/fuzz/corpus/", "tests/fixtures/")


def project_root():
    """The directory given on the command line, or this file's project."""
    if len(sys.argv) > 2:
        sys.exit(f"usage: {sys.argv[0]} [PROJECT ROOT]")
    here = os.path.dirname(os.path.abspath(__file__))
    return os.path.abspath(sys.argv[1] if len(sys.argv) == 2 else os.path.join(here, "../.."))


def files(root):
    """Paths of all files of the project below root, tracked or new, sorted; no build output, no data."""
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if listed.returncode == 0:
        found = os.fsdecode(listed.stdout).split("\0")
    else:
        # An unpacked archive has no git, and in a container git may refuse another user's tree.
        found = walk(root)
    return sorted(
        path
        for path in set(found)
        if path and not path.startswith(DATA_DIRS) and os.path.isfile(os.path.join(root, path))
    )


def walk(root):
    for directory, names, leaves in os.walk(root):
        names[:] = [
            name
            for name in names
            if name not in (".git", ".deps", "__pycache__")
            and not os.path.isdir(os.path.join(directory, name, "meson-private"))
        ]
        for leaf in leaves:
            yield os.path.relpath(os.path.join(directory, leaf), root)


def read_text(root, path):
    """The file's text, or None if it is not text."""
    with open(os.path.join(root, path), "rb") as file:
        data = file.read()
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


class Findings:
    """Collects file:line messages; finish() prints them and gives the exit code."""

    def __init__(self, root):
        self.root = root
        self.lines = []

    def add(self, path, line, message):
        self.lines.append(f"{path}:{line}: {message}")

    def finish(self, checked):
        for line in self.lines:
            print(line)
        print(f"{len(self.lines)} found; looked at {checked}")
        return 1 if self.lines else 0
