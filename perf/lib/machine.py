"""Where a result comes from: the machine, and which ringtail it was."""

import os
import platform
import subprocess

from lib.engine import ROOT


def first_value(path, key):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        pass
    return ""


def release_name():
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def describe():
    memory_kb = first_value("/proc/meminfo", "MemTotal").split()
    return {
        "cpu": first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_mb": int(memory_kb[0]) // 1024 if memory_kb else 0,
        "kernel": platform.release(),
        "system": release_name(),
        "load": round(os.getloadavg()[0], 2),
    }


def commit():
    """The commit that is measured, with a plus if files differ from it; empty without git."""
    git = ["git", "-C", ROOT]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
