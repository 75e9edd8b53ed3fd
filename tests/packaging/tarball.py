#!/usr/bin/env python3
"""Builds the tarball in a bootstrapped Debian 12, and runs what it holds in bare roots of Debian 12 and 13.

tarball.py CACHE

CACHE is where the bases are kept (tests/docker/base_root.py).
"""

import sys

sys.dont_write_bytecode = True

import json
import os
import re
import subprocess

from root import Root, claim, run_in_roots
from base_root import base_archive

# The address is nobody else's, since the root has the network of this machine.
RUN = """
cd /ringtail-*/
bin/ringtail-sim --socket /tmp/engine.sock --containers 3 --rate 20 2>/tmp/sim &
sim=$!
until [ -S /tmp/engine.sock ]; do kill -0 $sim; sleep 0.1; done
set -- --engine unix:///tmp/engine.sock --set admin.address=127.83.1.2
bin/ringtail run "$@" >/tmp/lines 2>/tmp/log &
ringtail=$!
until [ "$(wc -l </tmp/lines)" -ge 20 ]; do kill -0 $ringtail || { cat /tmp/log; exit 1; }; sleep 0.1; done
bin/ringtail health "$@"
kill -TERM $ringtail
wait $ringtail
kill $sim
cat /tmp/lines
"""


def test_builds(builder, targets):
    builder.add_sources("/source")
    builder.run("cd /source && scripts/install build && scripts/tarball")
    (name,) = os.listdir(f"{builder.path}/source/dist")
    for target in targets:
        subprocess.run(["tar", "-x", "-C", target.path, "-f", f"{builder.path}/source/dist/{name}"], check=True)
    print(f"# {name}: {os.path.getsize(f'{builder.path}/source/dist/{name}') / 1024:.0f} KiB")


def test_complete(builder, targets):
    """What it is to hold, and for everything that is of others a licence and a line in the SBOM."""
    (tree,) = (f"{targets[0].path}/{name}" for name in os.listdir(targets[0].path) if name.startswith("ringtail-"))
    for path in (
        "lib/systemd/system/ringtail.service", "share/ringtail/seccomp.json", "share/ringtail/ringtail.yaml",
        "share/doc/ringtail/README.md", "share/doc/ringtail/configuration.md", "share/doc/ringtail/LICENSE",
        "share/man/man1/ringtail.1",
    ):
        claim(os.path.getsize(f"{tree}/{path}") > 0, path)
    with open(f"{tree}/share/doc/ringtail/sbom.spdx.json", encoding="utf-8") as file:
        parts = {package["name"] for package in json.load(file)["packages"]}
    licences = set(os.listdir(f"{tree}/share/doc/ringtail/licences"))
    claim(parts == licences | {"ringtail"}, f"SBOM {sorted(parts)}, licences {sorted(licences)}")
    claim(len(os.listdir(f"{tree}/lib/ringtail")) > 1 and len(parts) > 6, f"{sorted(parts)}")


def test_runs(target):
    claim(re.fullmatch(r"ringtail \S+\n", target.run("/ringtail-*/bin/ringtail --version")), "it does not run")
    target.run("cd /ringtail-*/ && bin/ringtail check --config share/ringtail/ringtail.yaml")
    told = target.run(RUN).splitlines()
    records = [json.loads(line) for line in told if line.startswith("{")]
    claim(len(records) >= 20 and all("line" in record for record in records), f"{told[:5]}")


def main():
    (cache,) = sys.argv[1:]

    def make_tests(work):
        builder = Root(base_archive(cache, "bookworm"), f"{work}/builder")
        targets = [Root(base_archive(cache, release), f"{work}/{release}") for release in ("bookworm", "trixie")]
        return [
            ("the tarball builds", lambda: test_builds(builder, targets)),
            ("it is complete, with licences", lambda: test_complete(builder, targets)),
            ("it runs on a bare Debian 12", lambda: test_runs(targets[0])),
            ("it runs on a bare Debian 13", lambda: test_runs(targets[1])),
        ]

    return run_in_roots(make_tests)


if __name__ == "__main__":
    sys.exit(main())
