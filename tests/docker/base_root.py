"""A Debian of the least packages, bootstrapped from the mirror that this system's apt uses."""

import os
import shutil
import subprocess
import tempfile

from engine_client import Skip

RELEASE = "trixie"
DEBIAN = ("bookworm ", "trixie ", "stable ", "oldstable ")


def base_archive(cache, release=RELEASE):
    """Its files as a tar, kept in the directory `cache`. Raises Skip where it can't be had."""
    archive = os.path.join(cache, f"base-{release}.tar")
    if os.path.exists(archive):
        return archive
    if not shutil.which("debootstrap"):
        raise Skip("no debootstrap (package debootstrap)")
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.split("\n")
    mirrors = [line.split()[1] for line in targets if line.startswith(DEBIAN)]
    if not mirrors:
        raise Skip("apt's sources name no mirror of Debian")
    work = tempfile.mkdtemp(prefix="ringtail-base-")
    try:
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", release, f"{work}/root", mirrors[0]],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        if made.returncode != 0:
            raise Skip(f"debootstrap failed: {made.stdout[-300:]}")
        os.makedirs(cache, exist_ok=True)
        subprocess.run(["tar", "-c", "-C", f"{work}/root", "-f", archive + ".new", "."], check=True)
        os.rename(archive + ".new", archive)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return archive
