#!/usr/bin/env python3
"""Cross-builds for arm64 in a bootstrapped root, and runs the program and the unit tests there, emulated.

arm64.py CACHE

CACHE is where the base is kept (tests/docker/base_root.py).
"""

import sys

sys.dont_write_bytecode = True

import re

from root import Root, claim, run_in_roots
from base_root import base_archive

LIBRARIES = (
    "libc6-dev libcmocka-dev libcurl4-openssl-dev libllhttp-dev libmicrohttpd-dev librdkafka-dev liburing-dev "
    "libyaml-dev libyyjson-dev libzstd-dev zlib1g-dev"
)
CROSS = """[binaries]
c = 'aarch64-linux-gnu-gcc'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkg-config = 'aarch64-linux-gnu-pkg-config'
exe_wrapper = 'qemu-aarch64'

[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'armv8-a'
endian = 'little'
"""


def test_builds(root):
    root.add_sources("/source")
    with open(f"{root.path}/cross", "w", encoding="ascii") as file:
        file.write(CROSS)
    root.run(
        "dpkg --add-architecture arm64 && apt-get update -q && "
        "apt-get install -y -q --no-install-recommends gcc libc6-dev meson python3 gcc-aarch64-linux-gnu qemu-user "
        "pkgconf:arm64 " + " ".join(f"{name}:arm64" for name in LIBRARIES.split())
    )
    root.run(
        "cd /source && meson setup /build --cross-file /cross -Dwerror=true -Dtests=enabled -Dzstd=enabled "
        "-Dhttp=enabled -Dkafka=enabled && ninja -C /build ringtail ringtail-sim"
    )


def test_runs(root):
    version = root.run("qemu-aarch64 /build/ringtail --version")
    claim(re.fullmatch(r"ringtail \S+\n", version), version)
    root.run("qemu-aarch64 /build/ringtail check --config /source/packaging/ringtail.yaml")


def test_unit(root):
    # base_process reads of /proc what QEMU makes up.
    told = root.run(
        "cd /source && meson test -C /build --timeout-multiplier 20 --print-errorlogs "
        "$(meson test -C /build --list --suite unit | sed -n 's|.* / ||p' | grep -vx base_process)"
    )
    print("# " + " ".join(re.findall(r"^(?:Ok|Fail|Skipped):\s+\d+", told, re.M)))


def main():
    (cache,) = sys.argv[1:]

    def make_tests(work):
        root = Root(base_archive(cache), f"{work}/root")
        return [
            ("it is built for arm64 without a warning", lambda: test_builds(root)),
            ("the program runs, emulated", lambda: test_runs(root)),
            ("the unit tests pass, emulated", lambda: test_unit(root)),
        ]

    return run_in_roots(make_tests)


if __name__ == "__main__":
    sys.exit(main())
