#!/usr/bin/env python3
"""Has systemd's own tools read the unit and the files beside it; no systemd has to run.

unit.py RINGTAIL
"""

import sys

sys.dont_write_bytecode = True

import json
import os
import re
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGING = os.path.join(ROOT, "packaging")
UNIT = os.path.join(PACKAGING, "ringtail.service")
EXPOSURE_MAX = 2.0


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def unit_text():
    with open(UNIT, encoding="utf-8") as file:
        return file.read()


def verify(ringtail, work):
    """The unit as it is, but for the place of the program."""
    path = os.path.join(work, "ringtail.service")
    with open(path, "w", encoding="utf-8") as file:
        file.write(unit_text().replace("ExecStart=/usr/bin/ringtail", f"ExecStart={ringtail}"))
    result = run("systemd-analyze", "verify", "--man=no", path)
    # What it says of other units on this machine is not ours.
    told = [line for line in result.stdout.splitlines() if "ringtail.service" in line]
    return told or ([result.stdout] if result.returncode != 0 else [])


def exposure(ringtail, work):
    if "--offline" not in run("systemd-analyze", "--help").stdout:
        return None
    result = run("systemd-analyze", "security", "--offline=yes", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    if not found:
        return [result.stdout]
    print(f"# exposure level {found[1]}")
    return [] if float(found[1]) <= EXPOSURE_MAX else [f"{found[1]} is more than {EXPOSURE_MAX}"]


def filter_members(name, seen):
    """The calls of a group of SystemCallFilter=, with those of the groups in it."""
    if not name.startswith("@"):
        return {name}
    if name in seen:
        return set()
    listed = run("systemd-analyze", "syscall-filter", "--no-pager", name).stdout.split("\n")[1:]
    names = [line.strip() for line in listed if line.strip() and not line.strip().startswith("#")]
    return set().union(*(filter_members(member, seen | {name}) for member in names))


def system_calls(ringtail, work):
    """Every call that ringtail was seen to make (docker/seccomp.json) passes the unit's filter."""
    allowed = filter_members("@default", set())
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit_text(), re.M):
        members = set().union(*(filter_members(name, set()) for name in line.lstrip("~").split()))
        allowed = allowed - members if line.startswith("~") else allowed | members
    with open(os.path.join(ROOT, "docker/seccomp.json"), encoding="utf-8") as file:
        profile = json.load(file)
    needed = {
        name for entry in profile["syscalls"] for name in entry["names"]
        if entry.get("comment") in ("seen in the tests", "the ring", "the same work without a ring",
                                    "ringtail, on its own confinement")
    }
    # The unit leaves no capability that could be dropped.
    needed.discard("capset")
    # Only doctor asks the kernel about its clock.
    needed.discard("clock_adjtime")
    if len(needed) < 40 or "io_uring_enter" not in needed:
        return ["docker/seccomp.json does not say what ringtail needs"]
    return [f"not allowed: {sorted(needed - allowed)}"] if needed - allowed else []


def users_and_directories(ringtail, work):
    root = os.path.join(work, "root")
    os.makedirs(f"{root}/etc")
    made = run("systemd-sysusers", f"--root={root}", os.path.join(PACKAGING, "ringtail.sysusers"))
    if made.returncode != 0:
        return [made.stdout]
    with open(f"{root}/etc/group", encoding="utf-8") as file:
        groups = file.read()
    with open(f"{root}/etc/passwd", encoding="utf-8") as file:
        user = re.search(r"^ringtail:[^:]*:(\d+):(\d+):", file.read(), re.M)
    if not user or not re.search(r"^docker:[^:]*:\d+:ringtail$", groups, re.M):
        return [groups]
    if os.geteuid() != 0:
        return []
    made = run("systemd-tmpfiles", f"--root={root}", "--create", os.path.join(PACKAGING, "ringtail.tmpfiles"))
    problems = [] if made.returncode == 0 else [made.stdout]
    for path in ("var/lib/ringtail", "var/log/ringtail"):
        status = os.stat(os.path.join(root, path))
        if (str(status.st_uid), status.st_mode & 0o777) != (user[1], 0o750):
            problems.append(f"{path}: {status.st_uid} {status.st_mode:o}")
    return problems


def configuration(ringtail, work):
    result = run(ringtail, "check", "--config", os.path.join(PACKAGING, "ringtail.yaml"))
    return [] if result.returncode == 0 else [result.stdout]


CHECKS = (
    ("systemd finds nothing wrong with the unit", verify),
    ("the unit's exposure is low", exposure),
    ("its filter allows every call that ringtail was seen to make", system_calls),
    ("user, group and directories come to be", users_and_directories),
    ("ringtail accepts the configuration that is installed", configuration),
)


def main():
    (ringtail,) = sys.argv[1:]
    for program in ("systemd-analyze", "systemd-sysusers", "systemd-tmpfiles"):
        if not shutil.which(program):
            print(f"no {program} (package systemd)")
            return 77
    failed = False
    print(f"1..{len(CHECKS)}")
    with tempfile.TemporaryDirectory(prefix="ringtail-unit-") as work:
        for number, (title, check) in enumerate(CHECKS, 1):
            told = check(ringtail, work)
            failed = failed or bool(told)
            skip = " # SKIP this systemd can't tell" if told is None else ""
            print(f"{'not ok' if told else 'ok'} {number} - {title}{skip}")
            for problem in told or ():
                print("# " + problem.replace("\n", "\n# "))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
