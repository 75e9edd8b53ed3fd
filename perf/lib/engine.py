"""A private Engine with writing containers in it; tests/docker/engine.sh starts and ends it."""

import concurrent.futures
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from lib.accounts import process_cpu_s, read
from lib.say import Trouble

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "tests/docker/engine.sh")
SKIPPED = 77
# Containers that are made at the same time.
AT_ONCE = 4
WRITTEN_WITHIN_S = 900
PIECE_BYTES = 1 << 20


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Writer:
    """What the program in a container is told to write; see tests/docker/writer.c."""

    def __init__(self, name, count, line_bytes, rate=0, stamp=False, wait=False, stderr_every=5):
        self.name = name
        self.count = count
        self.line_bytes = line_bytes
        self.rate = rate
        self.stamp = stamp
        self.wait = wait
        self.stderr_every = stderr_every

    def command(self):
        words = ["/writer", "--prefix", self.name, "--count", self.count]
        words += ["--bytes", self.line_bytes, "--stderr-every", self.stderr_every]
        words += ["--rate", self.rate] if self.rate else ["--burst"]
        words += ["--stamp"] if self.stamp else []
        words += ["--wait"] if self.wait else []
        return [str(word) for word in [*words, "--linger", 86400]]

    def last_heads(self):
        """How the last line of each stream begins."""
        errors = self.count // self.stderr_every if self.stderr_every else 0
        counts = (("o", self.count - errors), ("e", errors))
        return [f"{self.name} {letter} {n} ".encode() for letter, n in counts if n]


class Container:
    def __init__(self, identity, writer):
        self.id = identity
        self.name = writer.name
        self.writer = writer


class Engine:
    def __init__(self):
        # A socket's path has 107 bytes, and containerd's sockets lie deep.
        self.dir = tempfile.mkdtemp(prefix="rp", dir="/tmp")
        self.home = os.path.join(self.dir, "e")
        self.socket = os.path.join(self.home, "docker.sock")
        self.url = "unix://" + self.socket
        self.containers = []

    def script(self, *arguments):
        code = subprocess.run(["bash", SCRIPT, *arguments], check=False).returncode
        if code == SKIPPED:
            raise Trouble("there can be no Engine here")
        if code != 0:
            raise Trouble(f"engine.sh {' '.join(arguments)} ended with {code}")

    def start(self):
        # The containers are to outlive a restart of the daemon.
        self.script("start", self.home, "--live-restore")

    def stop(self):
        try:
            self.script("stop", self.home)
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def down(self):
        self.script("down", self.home)

    def up(self):
        self.script("up", self.home)

    def api(self, method, path, body=None):
        connection = UnixConnection(self.socket)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status >= 400:
            raise Trouble(f"{method} {path}: {reply.status} {data.decode(errors='replace')}")
        return json.loads(data) if data.startswith((b"{", b"[")) else data

    def version(self):
        return self.api("GET", "/version")["Version"]

    def cpu_s(self):
        """Of the daemon that runs now."""
        return process_cpu_s(int(read(os.path.join(self.home, "pid"))))

    def run(self, writers):
        """One running container for each."""

        def one(writer):
            reply = self.api(
                "POST",
                f"/containers/create?name={writer.name}",
                {
                    "Image": "busybox",
                    "Cmd": writer.command(),
                    "HostConfig": {"NetworkMode": "none", "LogConfig": {"Type": "json-file"}},
                },
            )
            self.api("POST", f"/containers/{reply['Id']}/start")
            return Container(reply["Id"], writer)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            made = list(pool.map(one, writers))
        self.containers += made
        return made

    def begin(self, containers):
        """Lets writers begin that wait for it. They then write at different moments of a millisecond."""
        pids = [self.api("GET", f"/containers/{c.id}/json")["State"]["Pid"] for c in containers]
        begun = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)
            time.sleep(0.0003)
        return begun

    def remove(self, containers):
        def one(container):
            self.api("DELETE", f"/containers/{container.id}?force=1&v=1")

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, containers))
        self.containers = [c for c in self.containers if c not in containers]

    def logs_command(self, container, query):
        url = f"http://engine/containers/{container.id}/logs?stdout=1&stderr=1&timestamps=1{query}"
        return ["curl", "-sS", "--unix-socket", self.socket, url]

    def log_save(self, container, path):
        """All that the Engine has of a container, as its log stream."""
        with open(path, "wb") as file:
            subprocess.run(self.logs_command(container, ""), stdout=file, check=True)

    def wait_written(self, containers):
        """Waits until the last line of both streams is in each log; they get there by different ways."""
        until = time.monotonic() + WRITTEN_WITHIN_S
        for container in containers:
            path = os.path.join(
                self.home, "data/containers", container.id, container.id + "-json.log"
            )
            wanted = container.writer.last_heads()
            overlap = max(len(head) for head in wanted)
            rest = b""
            with open(path, "rb") as file:
                while wanted:
                    piece = file.read(PIECE_BYTES)
                    if piece:
                        rest += piece
                        wanted = [head for head in wanted if head not in rest]
                        rest = rest[-overlap:]
                    elif time.monotonic() > until:
                        raise Trouble(f"the Engine's log of {container.name} stays incomplete")
                    else:
                        time.sleep(0.05)
        # The parts of a long line follow its head at once.
        time.sleep(0.5)
