"""ringtail itself, as it comes: one file per container, positions, metrics."""

import io
import json
import os
import re
import subprocess
import tarfile
import time

from lib.engine import ROOT
from lib.say import Trouble
from peers.base import Peer, text_lines
from peers.docker_logs import DockerLogs

BUILD = os.path.join(ROOT, "build-perf")
PROGRAM = os.environ.get("RINGTAIL_BIN", os.path.join(BUILD, "ringtail"))


class Ringtail(Peer):
    name = "ringtail"
    template = "{container_name}.ndjson"
    backend = "auto"

    @classmethod
    def missing(cls):
        return None if os.path.exists(PROGRAM) else f"there is no {PROGRAM}"

    def start(self, containers, resume_at=None):
        command = [PROGRAM, "run", "--engine", self.engine.url, "--output", self.out_dir]
        command += ["--since", "all", "--set", "admin.port=0", "--backend", self.backend]
        command += ["--set", "output.template=" + self.template]
        self.spawn(command)

    def paths(self, containers):
        return [os.path.join(self.out_dir, c.name + ".ndjson") for c in containers]

    def feed(self, containers, check):
        letters = {"stdout": b"o", "stderr": b"e"}
        for path in self.paths(containers):
            for line in text_lines(path):
                try:
                    record = json.loads(line)
                    text, name = record["line"].encode(), record["container_name"].encode()
                    stream = letters[record["stream"]]
                except (ValueError, KeyError):
                    check.take(line)
                    continue
                check.take(text, name, stream)


class RingtailOne(Ringtail):
    """All containers into one file, as rsyslog is measured: fewer and larger writes."""

    name = "ringtail-one"
    template = "all.ndjson"
    unfit = {w: "one file or many is one with so few containers" for w in ("W1", "W3", "W4", "W7")}
    unfit.update({w: "ringtail shows it" for w in ("W5", "W6")})

    def paths(self, containers):
        return [os.path.join(self.out_dir, self.template)]


class RingtailEpoll(Ringtail):
    """On epoll, as where io_uring is refused."""

    name = "ringtail-epoll"
    backend = "epoll"
    unfit = {w: "ringtail shows it" for w in ("W4", "W5", "W6", "W7")}


class RingtailContainer(Ringtail):
    """In a container of the Engine that it reads, with all that docker/README.md takes from it."""

    name = "ringtail-container"
    unfit = {w: "ringtail shows it" for w in ("W3", "W4", "W5", "W6", "W7")}
    image, user = "ringtail-perf", 65532

    @classmethod
    def missing(cls):
        return super().missing() or DockerLogs.missing()

    @staticmethod
    def libraries():
        """What the program loads; an image needs no more of a system than that."""
        told = subprocess.run(["ldd", PROGRAM], stdout=subprocess.PIPE, text=True, check=True)
        return re.findall(r"(/\S+) \(0x", told.stdout)

    def make_image(self):
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(PROGRAM, "ringtail")
            for path in self.libraries():
                # The loader's place is written down in the program; the others are all in one.
                place = path if "/ld-linux" in path else "/libraries/" + os.path.basename(path)
                tar.add(os.path.realpath(path), place.lstrip("/"))
        command = [DockerLogs.program(), "-H", self.engine.url, "import", "-", self.image]
        done = subprocess.run(
            command, input=layer.getvalue(), stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            raise Trouble("the Engine takes no image")

    def start(self, containers, resume_at=None):
        self.make_image()
        os.chown(self.out_dir, self.user, self.user)
        socket_group = os.stat(self.engine.socket).st_gid
        container = f"ringtail-perf-{os.getpid()}"
        command = [DockerLogs.program(), "-H", self.engine.url, "run", "--rm", "--name", container]
        command += ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        command += ["--security-opt", "seccomp=" + os.path.join(ROOT, "docker/seccomp.json")]
        command += ["--network", "none", "--user", f"{self.user}:{self.user}"]
        command += ["--group-add", str(socket_group)]
        command += ["-v", f"{self.engine.socket}:/docker.sock:ro", "-v", f"{self.out_dir}:/out"]
        command += ["--env", "LD_LIBRARY_PATH=/libraries"]
        command += [self.image, "/ringtail", "run", "--engine", "unix:///docker.sock"]
        command += ["--output", "/out", "--since", "all", "--set", "admin.port=0"]
        command += ["--set", "output.template=" + self.template]
        with open(self.errors_path(), "ab") as errors:
            companion = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
            )
        try:
            self.accounts.adopt(self.pid_of(container, companion), companion)
        except ProcessLookupError:
            raise Trouble(f"the container ended: {self.complaints()}") from None

    def pid_of(self, container, companion):
        """On the host, once the container runs."""
        while companion.poll() is None:
            try:
                pid = self.engine.api("GET", f"/containers/{container}/json")["State"]["Pid"]
            except Trouble:
                pid = 0
            if pid > 0:
                return pid
            time.sleep(0.01)
        raise Trouble(f"the container did not start: {self.complaints()}")
