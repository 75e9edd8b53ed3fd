"""Gets the programs to compare with: Debian's packages, from the mirror that apt uses already."""

import os
import shutil
import subprocess
import tempfile

from lib.engine import ROOT
from lib.say import Trouble, say

RELEASE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Debian 12's docker.io has the client in it.
DOCKER_CLIENT = ("docker-cli", "docker.io")

APT_CONFIGURATION = """\
Dir::Etc::SourceList "{work}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{work}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{work}/cache";
Acquire::Languages "none";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def output_of(*command, cwd=None):
    result = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode != 0:
        raise Trouble(f"{' '.join(command[:4])} … failed:\n{result.stdout[-2000:]}")
    return result.stdout


def install():
    """What building and a private Engine need, and Docker's client."""
    subprocess.run([os.path.join(ROOT, "scripts/install"), "test"], check=True)
    if shutil.which("docker"):
        return
    for package in DOCKER_CLIENT:
        if "Candidate: (none)" not in output_of("apt-cache", "policy", package):
            say(f"installing {package}")
            output_of("apt-get", "install", "-y", "-q", "--no-install-recommends", package)
            return


def mirror():
    """Of the Debian release that runs here."""
    targets = output_of(
        "apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"
    )
    for line in targets.splitlines():
        release, _, url = line.partition(" ")
        if release in ("bookworm", "trixie", "oldstable", "stable"):
            return url
    raise Trouble("apt's sources name no mirror of Debian")


def unpack_closure(package, home):
    """A package of Debian 13 and all that it depends on, unpacked into home; nothing is installed."""
    say(f"unpacking {package} of Debian 13, and what it depends on, into {home}")
    with tempfile.TemporaryDirectory(prefix="rp-apt-") as work:
        # apt drops to its own user for downloads, which has to reach the directory.
        os.chmod(work, 0o755)
        for path in ("lists/partial", "cache/archives/partial", "debs", "tree"):
            os.makedirs(os.path.join(work, path))
        try:
            shutil.chown(os.path.join(work, "debs"), "_apt")
        except (LookupError, PermissionError):
            pass
        with open(os.path.join(work, "sources.list"), "w", encoding="ascii") as file:
            file.write(f"deb [signed-by={KEYRING}] {mirror()} {RELEASE} main\n")
        configuration = os.path.join(work, "apt.conf")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(APT_CONFIGURATION.format(work=work))
        apt = ("apt-get", "-q", "-c", configuration)
        output_of(*apt, "update")
        plan = output_of(*apt, "-s", "install", "--no-install-recommends", package)
        names = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
        debs = os.path.join(work, "debs")
        output_of(*apt, "download", *names, cwd=debs)
        tree = os.path.join(work, "tree")
        for deb in sorted(os.listdir(debs)):
            output_of("dpkg", "-x", os.path.join(debs, deb), tree)
        os.makedirs(os.path.dirname(home), exist_ok=True)
        shutil.move(tree, home)
