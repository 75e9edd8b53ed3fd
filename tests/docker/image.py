#!/usr/bin/env python3
"""Builds the image on a real Engine and runs it beside other containers.

image.py CACHE

The base image is bootstrapped, because a test must not depend on a registry, and kept in the
directory CACHE for the next run. Prints the image's size and how long after its start it wrote the
first line that it followed. RINGTAIL_TEST_ENGINE_PATH in the environment is a directory with a newer
dockerd and containerd than the system's: if it is there, the image runs there too.
"""

import sys

sys.dont_write_bytecode = True

import contextlib
import datetime
import functools
import glob
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time

from base_root import base_archive
from engine_client import ROOT, Failed, Skip, claim, private_engine, run_tests, wait_for

IMAGE = "ringtail:test"
BASE = "debian:trixie-slim"
SIZE_OVER_LIBC_MAX = 40 << 20
LIBC = ("libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1")
COMPOSE = os.environ.get("RINGTAIL_TEST_COMPOSE", "")
CONFIG = "/etc/ringtail/ringtail.yaml"
# Much of what happens within hours.
BUSY = (
    "--set", "stream.rotation_interval=300ms", "--set", "positions.interval=50ms",
    "--set", "output.rotate_bytes=100KiB", "--set", "output.sync=positions",
)
QUICK_HEALTH = {
    "Test": ["CMD", "/usr/bin/ringtail", "health", "--config", CONFIG],
    "Interval": 500_000_000, "Timeout": 6_000_000_000, "Retries": 100,
}


def say(text):
    print(f"# {text}", flush=True)


def import_image(engine, archive, name):
    repository, tag = name.split(":")
    with open(archive, "rb") as file:
        status, text = engine.ask(
            "POST", "/images/create", file, content="application/x-tar",
            fromSrc="-", repo=repository, tag=tag,
        )
    claim(status == 200 and b"errorDetail" not in text, f"import of {name}: {text[-500:]}")


def sources():
    """The project's files as the tar of a build's context; nothing that was built."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE, check=True,
    ).stdout
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(set(os.fsdecode(listed).split("\0"))):
            if os.path.isfile(os.path.join(ROOT, path)):
                tar.add(os.path.join(ROOT, path), arcname=path)
    return out.getvalue()


def build_image(engine):
    # With the host's network, because the private Engine has none, for the packages that building needs.
    status, text = engine.ask(
        "POST", "/build", sources(), content="application/x-tar",
        dockerfile="docker/Dockerfile", t=IMAGE, networkmode="host",
        buildargs=json.dumps({"BASE": BASE}),
    )
    messages = [json.loads(line) for line in text.splitlines() if line.strip()]
    told = "".join(message.get("stream", "") for message in messages)
    claim(status == 200 and not any("error" in m for m in messages), f"build: {status}\n{told[-3000:]}{text[-500:]}")


def copy_image(source, target):
    status, archive = source.ask("GET", f"/images/{IMAGE}/get")
    claim(status == 200, f"image: {status}")
    status, told = target.ask("POST", "/images/load", archive, content="application/x-tar")
    claim(status == 200 and b"errorDetail" not in told, f"load: {status} {told[-500:]}")


class Beside:
    """ringtail in a container, as docker/README.md says to run it, and its neighbours' output."""

    def __init__(self, engine, work, seccomp):
        self.engine = engine
        self.out = os.path.join(work, "out")
        os.mkdir(self.out)
        os.chown(self.out, 65532, 65532)
        self.security = ["no-new-privileges"] + seccomp
        self.id = None

    def start(self, *arguments):
        engine = self.engine
        self.id = engine.run(
            "ringtail", IMAGE,
            ["run", "--config", CONFIG, "--output", "/var/log/ringtail", "--set",
             "output.template={container_name}.ndjson", "--set", "run.confine=strict", *arguments],
            health=QUICK_HEALTH,
            Binds=[f"{engine.socket}:/var/run/docker.sock:ro", f"{self.out}:/var/log/ringtail"],
            GroupAdd=[str(os.stat(engine.socket).st_gid)],
            ReadonlyRootfs=True, CapDrop=["ALL"], SecurityOpt=self.security,
        )
        return self.id

    def records(self, name):
        """Of the file and those that it was rotated to, in no order."""
        found = []
        for path in glob.glob(os.path.join(self.out, f"{name}.ndjson*")):
            with open(path, "rb") as file:
                found += [json.loads(line) for line in file.read().split(b"\n")[:-1]]
        return found

    def written_at(self, name):
        """When the file last changed; 0 before anything is in it."""
        for path in glob.glob(os.path.join(self.out, f"{name}.ndjson*")):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(path)
                if status.st_size > 0:
                    return status.st_mtime
        return 0

    def lines(self, name):
        return [record["line"] for record in self.records(name)]

    def told(self):
        return "\n".join(self.engine.log_lines(self.id)[-20:])

    def wait(self, what, look):
        def look_while_it_runs():
            seen = look()
            state = self.engine.get(f"/containers/{self.id}/json")["State"]
            claim(seen or state["Running"], f"ringtail ended with exit code {state['ExitCode']} before: {what}")
            return seen

        try:
            return wait_for(what, look_while_it_runs)
        except Failed as reason:
            raise Failed(f"{reason}\nringtail's log:\n{self.told()}") from None


def seccomp_profile():
    """The profile, but any other call ends ringtail instead of being refused: none is missing."""
    with open(os.path.join(ROOT, "docker/seccomp.json"), encoding="utf-8") as file:
        profile = json.load(file)
    profile["defaultAction"] = "SCMP_ACT_KILL_PROCESS"
    del profile["defaultErrnoRet"]
    return ["seccomp=" + json.dumps(profile)]


def talker(engine, name, count):
    script = f"i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo $i of {name}; echo $i err >&2; done; exec sleep 1000"
    return engine.run(name, "busybox:latest", ["sh", "-c", script])


def test_small_and_closed(engine, work):
    """Reads the image's description and its files, without running anything of it."""
    image = engine.get(f"/images/{IMAGE}/json")
    made = engine.post("/containers/create", {"Image": IMAGE})["Id"]
    status, data = engine.ask("GET", f"/containers/{made}/export")
    engine.remove(made)
    claim(status == 200, f"export: {status}")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: member.size for member in tar if member.isfile()}
        sbom = json.load(tar.extractfile("usr/share/doc/ringtail/sbom.spdx.json"))
    libc = sum(size for name, size in files.items() if os.path.basename(name) in LIBC)
    say(f"image: {image['Size'] / 2**20:.1f} MiB in {len(files)} files, "
        f"{(image['Size'] - libc) / 2**20:.1f} MiB over libc ({libc / 2**20:.1f} MiB)")
    claim(libc > 0, "it has no libc")
    claim(image["Size"] - libc <= SIZE_OVER_LIBC_MAX, f"{image['Size'] - libc} bytes over libc")
    config = image["Config"]
    claim(config["User"] == "65532:65532", f"user {config['User']}")
    claim(config["Healthcheck"]["Test"][1:3] == ["/usr/bin/ringtail", "health"], f"{config['Healthcheck']}")
    for label in ("title", "version", "licenses"):
        claim(config["Labels"].get(f"org.opencontainers.image.{label}"), f"label {label}")
    shells = [name for name in files if os.path.basename(name) in ("sh", "bash", "dash", "busybox")]
    claim(not shells, f"there is a shell: {shells}")
    names = {package["name"] for package in sbom["packages"]}
    claim({"libc6"} <= {name.split(":")[0] for name in names}, f"packages in the SBOM: {names}")


def follow_neighbours(engine, work, seccomp, arguments=()):
    beside = Beside(engine, work, seccomp)
    names = ("early", "late")
    containers = [talker(engine, "early", 500)]
    try:
        wait_for("the neighbour's lines", lambda: len(engine.log_lines(containers[0])) == 1000)
        began = time.time()
        beside.start("--since", "all", *arguments)
        first = beside.wait("the first line", lambda: beside.written_at("early"))
        state = engine.get(f"/containers/{beside.id}/json")["State"]
        started = datetime.datetime.fromisoformat(state["StartedAt"]).timestamp()
        say(f"first line followed {(first - started) * 1000:.0f} ms after the container's start, "
            f"{(first - began) * 1000:.0f} ms after it was asked for")
        containers.append(talker(engine, "late", 500))
        for name, container in zip(names, containers):
            beside.wait(f"all lines of {name}", lambda n=name: len(beside.lines(n)) >= 1000)
            claim(sorted(beside.lines(name)) == sorted(engine.log_lines(container)), f"lines of {name} differ")
        beside.wait("a good health check", lambda: engine.get(f"/containers/{beside.id}/json")["State"]["Health"]["Status"] == "healthy")
        told = engine.log_lines(beside.id)
        claim(told, "ringtail has said nothing, so that it does not follow itself proves nothing")
        confined = next(json.loads(line) for line in told if '"msg":"Confined"' in line)
        claim({confined[what] for what in ("no_new_privs", "capabilities", "system_calls")} == {"on"}, f"{confined}")
        engine.post(f"/containers/{beside.id}/stop", t=30)
        state = engine.get(f"/containers/{beside.id}/json")["State"]
        claim(state["ExitCode"] == 0, f"exit code {state['ExitCode']}:\n{beside.told()}")
        files = {os.path.basename(path).partition(".")[0] for path in glob.glob(f"{beside.out}/*")}
        claim(files == set(names), f"files: {files}")
        return told
    finally:
        for container in [*containers, beside.id]:
            if container:
                engine.remove(container)
        shutil.rmtree(beside.out)


def backend_told(lines):
    return next(json.loads(line) for line in lines if '"msg":"Starting"' in line)["backend"]


def test_default_profile(engine, work):
    """It allows io_uring before 25.0; from then on there has to be a way without."""
    backend = backend_told(follow_neighbours(engine, work, []))
    say(f"Engine {engine.version()}, default profile: {backend}")
    if int(engine.version().partition(".")[0]) < 25:
        claim(backend.startswith("io_uring"), f"backend {backend}")
    else:
        claim(backend.startswith("epoll") and "seccomp" in backend, f"backend {backend}")


def test_own_profile(engine, work):
    backend = backend_told(follow_neighbours(engine, work, seccomp_profile(), BUSY))
    claim(backend.startswith("io_uring"), f"backend {backend}")


def test_own_profile_without_ring(engine, work):
    told = follow_neighbours(engine, work, seccomp_profile(), (*BUSY, "--backend", "epoll"))
    claim(backend_told(told).startswith("epoll"), f"backend {backend_told(told)}")


# To nobody: what shows is that they start.
SINKS = (
    "--set", "sinks.web.type=http", "--set", "sinks.web.url=https://127.0.0.1:1",
    "--set", "sinks.bus.type=kafka", "--set", "sinks.bus.brokers=127.0.0.1:1", "--set", "sinks.bus.topic=logs",
)


def test_sinks_start(engine, work):
    """What they load is in the image, and makes no call that the profile does not have."""
    beside = Beside(engine, work, seccomp_profile())
    try:
        beside.start(*SINKS, "--set", "containers.include=nobody")
        beside.wait("the start", lambda: '"msg":"Following containers"' in beside.told())
        sinks = next(json.loads(line) for line in engine.log_lines(beside.id) if '"msg":"Starting"' in line)["sinks"]
        claim({"web", "bus"} <= set(sinks.split(",")), f"sinks {sinks}")
        engine.post(f"/containers/{beside.id}/stop", t=30)
        state = engine.get(f"/containers/{beside.id}/json")["State"]
        claim(state["ExitCode"] == 0, f"exit code {state['ExitCode']}:\n{beside.told()}")
    finally:
        if beside.id:
            engine.remove(beside.id)
        shutil.rmtree(beside.out)


def test_doctor_examines_the_host(engine, work):
    containers = [
        engine.run("mute", "busybox:latest", ["sleep", "1000"], LogConfig={"Type": "none"}),
        talker(engine, "loud", 10),
    ]
    try:
        doctor = engine.run(
            "doctor", IMAGE, ["doctor", "--json", "--config", CONFIG, *SINKS],
            Binds=[f"{engine.socket}:/var/run/docker.sock:ro"], GroupAdd=[str(os.stat(engine.socket).st_gid)],
            ReadonlyRootfs=True, CapDrop=["ALL"], SecurityOpt=["no-new-privileges"],
        )
        containers.append(doctor)
        wait_for("its end", lambda: not engine.get(f"/containers/{doctor}/json")["State"]["Running"])
        told = json.loads("\n".join(engine.log_lines(doctor)))
        found = {(f["check"], f["subject"]): f for f in told["findings"]}
        for subject in ("ping", "api", "version", "events"):
            claim(found.get(("engine", subject), {}).get("level") == "ok", f"{subject}: {told}")
        claim(found.get(("containers", "unreadable"), {}).get("containers") == ["mute"], f"unreadable: {told}")
        claim("connect" in found.get(("sinks", "web"), {}).get("text", ""), f"libcurl: {told}")
        claim("refused" in found.get(("sinks", "bus"), {}).get("text", ""), f"librdkafka: {told}")
        claim(not any(f["subject"] == "examination" for f in told["findings"]), f"died: {told}")
        claim(engine.get(f"/containers/{doctor}/json")["State"]["ExitCode"] == 1, "sinks that are not there are a problem")
    finally:
        for container in containers:
            engine.remove(container)


def test_compose_runs_it(engine, work):
    """The service of compose.yml; of the rest the machine may have no images and no network."""
    if not os.access(COMPOSE, os.X_OK):
        raise Skip("no docker compose (scripts/install test)")
    override = os.path.join(work, "override.yml")
    with open(override, "w", encoding="utf-8") as file:
        file.write(f"""
services:
  ringtail:
    image: {IMAGE}
    build: !reset null
    ports: !reset []
    network_mode: none
    volumes:
      - {engine.socket}:/var/run/docker.sock:ro
      - {ROOT}/docker/ringtail.yaml:{CONFIG}:ro
    healthcheck:
      interval: 500ms
      retries: 100
""")
    environment = {
        **os.environ, "DOCKER_HOST": f"unix://{engine.socket}",
        "DOCKER_GID": str(os.stat(engine.socket).st_gid),
    }
    command = [COMPOSE, "-f", os.path.join(ROOT, "docker/compose.yml"), "-f", override]
    neighbour = talker(engine, "composed", 100)
    try:
        up = subprocess.run(
            [*command, "up", "-d", "--no-deps", "--no-build", "ringtail"], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        claim(up.returncode == 0, up.stdout)
        state = lambda: engine.get("/containers/ringtail-ringtail-1/json")["State"]
        wait_for("a good health check", lambda: state()["Health"]["Status"] == "healthy")
        host = engine.get("/containers/ringtail-ringtail-1/json")["HostConfig"]
        claim(any("io_uring_enter" in option for option in host["SecurityOpt"]), f"{host['SecurityOpt']}")
        claim(host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"], f"{host}")
    finally:
        subprocess.run([*command, "down", "-v"], env=environment, stderr=subprocess.DEVNULL, check=False)
        engine.remove(neighbour)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if shutil.which("git") is None:
        print("no git")
        return 77
    tests = [
        ("the image is small and has no shell, no root, and a health check", test_small_and_closed),
        ("a container follows its neighbours through the socket and never itself", test_default_profile),
        ("so it does with a profile of the calls that it makes, and makes no other", test_own_profile),
        ("without a ring it does so too", test_own_profile_without_ring),
        ("sinks over HTTP and to Kafka start in it", test_sinks_start),
        ("ringtail doctor finds what there is", test_doctor_examines_the_host),
        ("compose runs it with that profile, and it is healthy", test_compose_runs_it),
    ]
    newer = os.environ.get("RINGTAIL_TEST_ENGINE_PATH", "")
    work = tempfile.mkdtemp(prefix="ringtail-beside-")
    os.chmod(work, 0o755)
    try:
        with contextlib.ExitStack() as stack:
            engines = [stack.enter_context(private_engine())]
            if os.access(f"{newer}/dockerd", os.X_OK):
                engines.append(stack.enter_context(private_engine(path=newer)))
            import_image(engines[0], base_archive(sys.argv[1]), BASE)
            began = time.monotonic()
            build_image(engines[0])
            say(f"the build took {time.monotonic() - began:.0f} s")
            for engine in engines[1:]:
                copy_image(engines[0], engine)
            return run_tests([
                (f"Engine {engine.version()}: {title}", functools.partial(test, engine))
                for engine in engines for title, test in tests
            ], work)
    except Skip as reason:
        print(f"skipped: {reason}")
        return 77
    except Failed as reason:
        print(f"not ok: {reason}")
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
