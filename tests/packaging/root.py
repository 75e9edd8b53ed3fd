"""Bootstrapped roots to run commands in, and what tests in them share."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docker"))

from engine_client import ROOT, Failed, Skip, claim, run_tests

# The root becomes /, not only a chroot, so that an Engine can run in it; and it has processes and mounts of its
# own, so that none is left behind.
ENTER = """
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
pivot_root . .
umount -l .
cd /
exec sh -ec "$2"
"""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
# npm's, where this machine's way out has an authority of its own.
AUTHORITIES = "NODE_EXTRA_CA_CERTS"


class Root:
    def __init__(self, archive, path):
        self.path = path
        os.mkdir(path)
        subprocess.run(["tar", "-x", "-p", "-C", path, "-f", archive], check=True)
        shutil.copy("/etc/resolv.conf", f"{path}/etc/resolv.conf")
        self.environment = {**ENVIRONMENT, **{name: os.environ[name] for name in ("CI",) if name in os.environ}}
        if AUTHORITIES in os.environ:
            self.environment[AUTHORITIES] = "/etc/authorities.crt"
            shutil.copy(os.environ[AUTHORITIES], path + self.environment[AUTHORITIES])
        with open(f"{path}/usr/sbin/policy-rc.d", "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(f"{path}/usr/sbin/policy-rc.d", 0o755)

    def start(self, command, **popen):
        """A shell's command in the root, as a process of subprocess."""
        return subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", ENTER, "sh", self.path, command],
            env=self.environment,
            **popen,
        )

    def run(self, command):
        """A shell's command in the root; its output. Fails the test when it fails."""
        process = self.start(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )
        told, _ = process.communicate()
        claim(process.returncode == 0, f"{command}: exit code {process.returncode}\n{told[-3000:]}")
        return told

    def has(self, path):
        return os.path.lexists(self.path + path)

    def add_sources(self, path):
        """The project's files as git has them, and new ones; nothing that was built."""
        os.mkdir(self.path + path)
        listed = subprocess.run(
            ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            stdout=subprocess.PIPE, check=True,
        ).stdout
        packed = subprocess.run(
            ["tar", "-c", "-C", ROOT, "--null", "--ignore-failed-read", "-T", "-"],
            input=listed, stdout=subprocess.PIPE, check=True,
        )
        subprocess.run(["tar", "-x", "--no-same-owner", "-C", self.path + path], input=packed.stdout, check=True)


def run_in_roots(make_tests):
    """Runs the (title, function) pairs that make_tests(work directory) gives. Returns the exit code."""
    if os.geteuid() != 0:
        print("skipped: bootstrapped roots need root")
        return 77
    work = tempfile.mkdtemp(prefix="ringtail-roots-")
    try:
        return run_tests(make_tests(work))
    except Skip as reason:
        print(f"skipped: {reason}")
        return 77
    except Failed as reason:
        print(f"not ok: {reason}")
        return 1
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(work, ignore_errors=True)
