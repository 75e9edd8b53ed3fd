#!/usr/bin/env python3
"""Builds the Debian package in one bootstrapped root; installs, upgrades, removes and purges it in another.

package.py CACHE

Nothing is started there: a policy forbids it, as in any root that is not running. CACHE is where the base
is kept (tests/docker/base_root.py).
"""

import sys

sys.dont_write_bytecode = True

import glob
import os
import re
import shutil

from root import Root, claim, run_in_roots
from base_root import base_archive

VERSIONS = ("0.1.0", "0.1.1")


def build(root):
    root.add_sources("/source")
    root.run("apt-get update -q && apt-get install -y -q --no-install-recommends build-essential lintian")
    root.run("apt-get build-dep -y -q --no-install-recommends /source/packaging")
    for version in VERSIONS:
        # lintian's findings fail it.
        root.run(f"cd /source && scripts/package {version}")


def test_builds(builder, target):
    build(builder)
    for version in VERSIONS:
        package = glob.glob(f"{builder.path}/source/dist/ringtail_{version}_*.deb")
        claim(len(package) == 1, f"packages of {version}: {package}")
        shutil.copy(package[0], f"{target.path}/ringtail-{version}.deb")
        print(f"# {os.path.basename(package[0])}: {os.path.getsize(package[0]) / 1024:.0f} KiB")


def test_installs(builder, target):
    target.run("apt-get update -q && apt-get install -y -q /ringtail-0.1.0.deb")
    claim(re.fullmatch(r"ringtail \S+\n", target.run("ringtail --version")), "it does not run")
    target.run("ringtail check --config /etc/ringtail/ringtail.yaml")
    claim("docker" in target.run("id -nG ringtail").split(), "its user is not in the group docker")
    for directory in ("/var/lib/ringtail", "/var/log/ringtail"):
        told = target.run(f"stat -c '%U %G %a' {directory}").split()
        claim(told == ["ringtail", "ringtail", "750"], f"{directory}: {told}")
    claim(target.has("/etc/systemd/system/multi-user.target.wants/ringtail.service"), "the service is not enabled")
    claim(not target.has("/usr/bin/ringtail-sim"), "the simulator is in the package")


def test_starts_sinks(builder, target):
    """They load what the package recommends. Nobody is there to take anything, and there is nothing to take."""
    target.run(
        "ringtail run --set engine.url=unix:///run/none.sock --set admin.address="
        " --set sinks.web.type=http --set sinks.web.url=https://127.0.0.1:1"
        " --set sinks.bus.type=kafka --set sinks.bus.brokers=127.0.0.1:1 --set sinks.bus.topic=logs 2>/tmp/log & pid=$!;"
        " until grep -q '\"msg\":\"Starting\".*web,bus' /tmp/log; do"
        " kill -0 $pid || { cat /tmp/log; exit 1; }; sleep 0.1; done;"
        " kill $pid; wait $pid"
    )
    claim(target.has("/etc/ssl/certs/ca-certificates.crt"), "there are no authorities for TLS to trust")


def test_upgrades(builder, target):
    target.run("echo '# mine' >>/etc/ringtail/ringtail.yaml; echo kept >/var/log/ringtail/web.ndjson")
    target.run("apt-get install -y -q --no-install-recommends /ringtail-0.1.1.deb")
    claim(target.run("dpkg-query -W -f '${Version}' ringtail") == "0.1.1", "it is the version before")
    claim("# mine" in target.run("cat /etc/ringtail/ringtail.yaml"), "the configuration is not what it was")
    claim(target.has("/var/log/ringtail/web.ndjson"), "lines that were written are gone")


def test_removes(builder, target):
    target.run("apt-get remove -y -q ringtail")
    claim(not target.has("/usr/bin/ringtail"), "the program is still there")
    claim(target.has("/etc/ringtail/ringtail.yaml"), "the configuration is gone")
    claim(target.has("/var/log/ringtail/web.ndjson"), "lines that were written are gone")


def test_purges(builder, target):
    target.run("apt-get purge -y -q ringtail")
    left = [path for path in ("/etc/ringtail", "/var/lib/ringtail", "/var/log/ringtail") if target.has(path)]
    left += glob.glob(f"{target.path}/etc/systemd/system/**/ringtail*", recursive=True)
    claim(not left, f"left: {left}")
    claim(not target.run("dpkg-query -W -f '${Status}' ringtail 2>/dev/null || true").startswith("install"), "installed")


def main():
    (cache,) = sys.argv[1:]

    def make_tests(work):
        archive = base_archive(cache)
        roots = (Root(archive, f"{work}/builder"), Root(archive, f"{work}/target"))
        return [(title, lambda test=test: test(*roots)) for title, test in (
            ("the package builds, and lintian finds nothing", test_builds),
            ("it installs a program that runs, a user, directories and a service", test_installs),
            ("sinks over HTTP and to Kafka start", test_starts_sinks),
            ("an upgrade keeps the configuration and what was written", test_upgrades),
            ("a removal keeps them too", test_removes),
            ("a purge leaves nothing", test_purges),
        )]

    return run_in_roots(make_tests)


if __name__ == "__main__":
    sys.exit(main())
