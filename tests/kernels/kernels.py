#!/usr/bin/env python3
"""Boots older and newer kernels in QEMU; compares docs/kernels.md with what a ring finds there, and runs tests.

kernels.py CACHE RINGTAIL PROGRAM...

PROGRAM is a test of tests/ring or tests/integration; RINGTAIL_TEST_KERNELS in the environment names kernels to
boot ("6.1 6.12"), else it is all. QEMU runs in a bootstrapped root, and the kernels are packages of Debian and
Ubuntu, which are kept in the directory CACHE, with what was said under each.
"""

import sys

sys.dont_write_bytecode = True

import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "packaging"))

from root import ROOT, Failed, Root, Skip, claim, run_in_roots
from base_root import base_archive

# Version, where from, and the package that depends on the kernel's. "newer" is whatever Debian has that is newest.
KERNELS = (
    ("5.10", "debian", "bullseye", "linux-image-cloud-amd64"),
    ("5.15", "ubuntu", "jammy", "linux-image-virtual"),
    ("6.1", "debian", "bookworm", "linux-image-cloud-amd64"),
    ("6.8", "ubuntu", "noble", "linux-image-virtual"),
    ("6.12", "debian", "trixie", "linux-image-cloud-amd64"),
    ("newer", "debian", "sid", "linux-image-cloud-amd64"),
)
OLDEST = (5, 19)
TEST_TIMEOUT_S = 3600

FETCH = """
rm -rf /fetch
mkdir -p /fetch/lists/partial /fetch/cache/archives/partial /fetch/debs
chown _apt /fetch/debs
# The mirror of this root, or the one that debootstrap would take.
mirror=$(awk '$1 == "deb" { print $2; exit }' /etc/apt/sources.list)
[ $SYSTEM = debian ] || mirror=$(sed -n 's|.*default_mirror \\(.*//archive.*\\)|\\1|p' /usr/share/debootstrap/scripts/$SUITE)
echo "deb [signed-by=/usr/share/keyrings/$SYSTEM-archive-keyring.gpg] $mirror $SUITE main" >/fetch/sources.list
# What is wanted is signed, and may be old.
cat >/fetch/apt.conf <<CONF
Acquire::Check-Valid-Until "false";
Dir::Etc::SourceList "/fetch/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "/fetch/lists";
Dir::State::status "/dev/null";
Dir::Cache "/fetch/cache";
CONF
apt-get -q -c /fetch/apt.conf update
# The kernel itself is in that package, or in one that it depends on.
depends() {
    apt-cache -c /fetch/apt.conf depends "$1" | sed -n "s/^ *Depends: \\($2-[0-9].*\\)/\\1/p"
}
package=$(depends $META linux-image | head -n 1)
cd /fetch/debs
apt-get -q -c /fetch/apt.conf download "$package" $(depends "$package" linux-binary)
for deb in *.deb; do
    dpkg -x "$deb" /fetch/tree
done
mv $(find /fetch/tree -name 'vmlinuz*' -type f) /fetch/vmlinuz
"""

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs -o size=512m,mode=1777 tmp /tmp
/bin/busybox --install -s /bin
ln -s /proc/self/fd /dev/fd
ip link set lo up
export PATH=/bin HOME=/ RINGTAIL_BIN=/tests/ringtail
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1
# An emulated processor is some twenty times slower.
export LD_LIBRARY_PATH=/tests/lib RINGTAIL_TEST_PATIENCE=20
ulimit -n 65536
while read -r backend program; do
    echo "@@ begin $program $backend"
    # What takes longest is shortened.
    case $program in
    *_race) export RINGTAIL_TEST_SCALE=0.1 ;;
    *) unset RINGTAIL_TEST_SCALE ;;
    esac
    RINGTAIL_TEST_BACKEND=$backend timeout -s KILL $TIMEOUT /tests/$program </dev/null 2>&1
    echo "@@ end $?"
done </tests/list
echo "@@ all"
poweroff -f
"""


def fetch(root, cache, kernel):
    """The kernel's image in the cache. Raises Skip where it can't be had."""
    version, system, suite, meta = kernel
    image = os.path.join(cache, f"vmlinuz-{version}")
    if os.path.exists(image):
        return image
    try:
        root.run(f"SYSTEM={system} SUITE={suite} META={meta}\n{FETCH}")
    except Failed as reason:
        raise Skip(f"no kernel {version}: {str(reason)[-300:]}") from None
    shutil.copyfile(f"{root.path}/fetch/vmlinuz", image)
    return image


def libraries(program):
    told = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.findall(r"(?:=> )?(/\S+) \(0x", told)


def make_initramfs(root, ringtail, programs):
    tree = f"{root.path}/tree"
    os.makedirs(f"{tree}/tests/lib")
    os.makedirs(f"{tree}/bin")
    for program in [ringtail, *programs]:
        shutil.copy(program, f"{tree}/tests/")
        for library in libraries(program):
            target = library if "/ld-linux" in library else f"/tests/lib/{os.path.basename(library)}"
            os.makedirs(tree + os.path.dirname(target), exist_ok=True)
            shutil.copy(library, tree + target)
    names = [os.path.basename(program) for program in programs]
    with open(f"{tree}/tests/list", "w", encoding="ascii") as out:
        for name in names:
            # As tests/ring/meson.build has them.
            if name != "test_ring_epoll":
                out.write(f"auto {name}\n")
            if name.startswith("test_ring_") and name not in ("test_ring_features", "test_ring_refusal"):
                out.write(f"epoll {name}\n")
    with open(f"{tree}/init", "w", encoding="ascii") as out:
        out.write(INIT.replace("$TIMEOUT", str(TEST_TIMEOUT_S)))
    os.chmod(f"{tree}/init", 0o755)
    root.run(
        "cp /bin/busybox /tree/bin/ && cd /tree && "
        "find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >/initramfs && rm -rf /tree"
    )


def boot(root, image, log):
    """What the kernel and its tests have said; also while it runs, in the file `log`."""
    shutil.copyfile(image, f"{root.path}/vmlinuz")
    with open(log, "w", encoding="utf-8") as out:
        process = root.start(
            "exec qemu-system-x86_64 -accel tcg -cpu max -m 2048 -smp 2 -nographic -no-reboot -net none "
            "-kernel /vmlinuz -initrd /initramfs -append 'console=ttyS0 panic=-1 quiet'",
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )
        process.wait()
    with open(log, encoding="utf-8", errors="replace", newline="") as said:
        return said.read().replace("\r", "")


def documented(version):
    """Of each feature, whether docs/kernels.md says that this kernel's is used."""
    used = {}
    column = None
    with open(os.path.join(ROOT, "docs/kernels.md"), encoding="utf-8") as page:
        for line in page:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if cells[0] == "feature":
                column = cells.index(version)
            elif cells[0].startswith("`"):
                used[cells[0].strip("`")] = cells[column] == "yes"
    return used


def test_kernel(root, cache, kernel):
    version = kernel[0]
    told = boot(root, fetch(root, cache, kernel), os.path.join(cache, f"kernel-{version}.log"))
    claim("@@ all" in told, f"it did not come to its end:\n{told[-3000:]}")
    running = re.search(r"^Linux (\d+)\.(\d+)\S*: .*$", told, re.M)
    claim(running, f"no kernel was named:\n{told[-3000:]}")
    print(f"# {running[0]}")
    release = (int(running[1]), int(running[2]))
    claim(version == "newer" or f"{release[0]}.{release[1]}" == version, running[0])

    found = {name: state == "yes" for name, state in re.findall(r"^feature (\w+): (yes|no)$", told, re.M)}
    claim(found == documented(version), f"docs/kernels.md differs from what is there: {found}")

    runs = re.findall(r"^@@ begin (\S+) (\S+)\n(.*?)^@@ end (\d+)$", told, re.M | re.S)
    bad = []
    skipped = 0
    for program, backend, said, code in runs:
        # The ring's own tests ask for io_uring, and say why there is none.
        may_skip = release < OLDEST and backend == "auto" and program.startswith("test_ring_")
        skipped += code == "77"
        if code != "0" and not (code == "77" and may_skip):
            bad.append(f"{program} ({backend}): exit code {code}\n{said[-1500:]}")
    print(f"# {len(runs)} programs, {skipped} skipped")
    claim(not bad, "\n".join(bad))


def main():
    cache, ringtail, *programs = sys.argv[1:]
    chosen = os.environ.get("RINGTAIL_TEST_KERNELS", "").split()

    def make_tests(work):
        root = Root(base_archive(cache), os.path.join(work, "root"))
        root.run(
            "apt-get update -q && apt-get install -y -q --no-install-recommends "
            "qemu-system-x86 busybox-static ubuntu-keyring debootstrap"
        )
        make_initramfs(root, ringtail, programs)
        return [
            (f"Linux {kernel[0]} has what docs/kernels.md says, and the tests pass on it",
             lambda kernel=kernel: test_kernel(root, cache, kernel))
            for kernel in KERNELS if not chosen or kernel[0] in chosen
        ]

    return run_in_roots(make_tests)


if __name__ == "__main__":
    sys.exit(main())
