#!/usr/bin/env python3
"""Checks that docker/seccomp.json is a profile of Docker's format, and what docker/seccomp.py writes, as
src/control/calls.h is.

Which calls ringtail really makes is found by the suite image, which lets a container with this profile
die of any other.
"""

import sys

sys.dont_write_bytecode = True

import ctypes
import importlib.util
import json
import os
import re

import tree

PATH = "docker/seccomp.json"
RING = {"io_uring_setup", "io_uring_enter", "io_uring_register"}
# A few of those that open a way out of a container, or into other processes.
NEVER = {
    "bpf", "finit_module", "init_module", "kexec_load", "keyctl", "mount", "open_by_handle_at",
    "perf_event_open", "pivot_root", "process_vm_writev", "ptrace", "reboot", "setns", "unshare", "userfaultfd",
}
KEYS = {"comment", "names", "action", "args", "errnoRet"}
ACTIONS = {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}
OPERATORS = {"SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"}


def generator(root):
    spec = importlib.util.spec_from_file_location("seccomp", os.path.join(root, "docker/seccomp.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resolver():
    """A function that says whether a name is a system call of any machine; libseccomp's, where it is."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return lambda name: True
    return lambda name: library.seccomp_syscall_resolve_name(name.encode()) != -1


def main():
    root = tree.project_root()
    findings = tree.Findings(root)
    with open(os.path.join(root, PATH), encoding="utf-8") as file:
        profile = json.load(file)
    is_call = resolver()
    allowed = set()

    if profile["defaultAction"] != "SCMP_ACT_ERRNO":
        findings.add(PATH, 1, "what is not listed has to be refused")
    for entry in profile["syscalls"]:
        for key in set(entry) - KEYS:
            findings.add(PATH, 1, f"no key of Docker's format: {key}")
        if entry["action"] not in ACTIONS:
            findings.add(PATH, 1, f"action {entry['action']}")
        for argument in entry.get("args", ()):
            if argument["op"] not in OPERATORS or set(argument) - {"index", "value", "valueTwo", "op"}:
                findings.add(PATH, 1, f"argument {argument}")
        for name in entry["names"]:
            if not is_call(name):
                findings.add(PATH, 1, f"no system call: {name}")
        if entry["action"] == "SCMP_ACT_ALLOW":
            allowed |= set(entry["names"])
    for name in RING - allowed:
        findings.add(PATH, 1, f"{name} is missing")
    for name in NEVER & allowed:
        findings.add(PATH, 1, f"{name} is allowed")

    script = generator(root)
    seen = script.seen_before()
    if profile != script.profile(seen):
        findings.add(PATH, 1, "not what docker/seccomp.py writes")
    with open(script.HEADER, encoding="utf-8") as file:
        own = file.read()
    if own != script.header(seen):
        findings.add(os.path.relpath(script.HEADER, root), 1, "not what docker/seccomp.py writes")
    for name in set(re.findall(r'"([a-z_0-9]+)"', own)) - allowed:
        findings.add(os.path.relpath(script.HEADER, root), 1, f"{name} is not in {PATH}")
    return findings.finish(f"{len(allowed)} calls")


if __name__ == "__main__":
    sys.exit(main())
