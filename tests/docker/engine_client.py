"""A private Engine (engine.sh) and a client of its API, for tests that are not in C."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATIENCE_S = 120


class Skip(Exception):
    """The machine lacks something; the program exits 77 with the reason."""


class Failed(Exception):
    """A claim that does not hold."""


def claim(holds, what):
    if not holds:
        raise Failed(what)


def wait_for(what, look, patience_s=PATIENCE_S):
    """Calls look until it gives something that counts as true, and returns that."""
    end = time.monotonic() + patience_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"waited for {patience_s} s: {what}")
        time.sleep(0.02)


def run_tests(tests, *arguments):
    """Runs (title, function) pairs one after the other and prints TAP. Returns the exit code."""
    failed = 0
    print(f"1..{len(tests)}")
    for number, (title, test) in enumerate(tests, 1):
        try:
            test(*arguments)
            print(f"ok {number} - {title}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {title} # SKIP {reason}", flush=True)
        except Failed as reason:
            failed += 1
            print(f"not ok {number} - {title}", flush=True)
            for line in str(reason).splitlines():
                print(f"# {line}", flush=True)
    return 1 if failed else 0


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine", timeout=1800)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    def __init__(self, directory):
        self.directory = directory
        self.socket = os.path.join(directory, "docker.sock")

    def ask(self, method, path, body=None, content="application/json", **query):
        """The reply's status and bytes. body: bytes, a file, or something that becomes JSON."""
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "read"):
            body = json.dumps(body).encode()
        connection = UnixConnection(self.socket)
        address = path + ("?" + urllib.parse.urlencode(query) if query else "")
        try:
            connection.request(method, address, body, {"Content-Type": content} if body else {})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def get(self, path, **query):
        status, text = self.ask("GET", path, **query)
        claim(status == 200, f"GET {path}: {status} {text[:500]}")
        return json.loads(text)

    def post(self, path, body=None, **query):
        status, text = self.ask("POST", path, body, **query)
        claim(status < 400, f"POST {path}: {status} {text[:500]}")
        return json.loads(text) if text.strip().startswith(b"{") else None

    def run(self, name, image, command, health=None, **host):
        """Creates a container and starts it. Returns its id."""
        spec = {"Image": image, "HostConfig": {"NetworkMode": "none", **host}}
        if command is not None:
            spec["Cmd"] = command
        if health is not None:
            spec["Healthcheck"] = health
        made = self.post("/containers/create", spec, name=name)["Id"]
        self.post(f"/containers/{made}/start")
        return made

    def version(self):
        return self.get("/version")["Version"]

    def log_lines(self, container):
        """What the container wrote, as the Engine has it (no TTY)."""
        status, data = self.ask("GET", f"/containers/{container}/logs", stdout=1, stderr=1)
        claim(status == 200, f"logs: {status} {data[:500]}")
        lines = []
        while data:
            size = int.from_bytes(data[4:8], "big")
            lines.append(data[8 : 8 + size].decode().rstrip("\n"))
            data = data[8 + size :]
        return lines

    def remove(self, container):
        self.ask("DELETE", f"/containers/{container}", force=1, v=1)


@contextlib.contextmanager
def private_engine(*dockerd_arguments, path=None):
    """path: a directory whose dockerd, containerd and runc are used instead of the system's."""
    directory = os.path.join(tempfile.mkdtemp(prefix="ringtail-image-"), "engine")
    script = os.path.join(HERE, "engine.sh")
    environment = dict(os.environ)
    if path:
        environment["PATH"] = path + os.pathsep + environment["PATH"]
    start = [script, "start", directory]
    if "RINGTAIL_TEST_WRITER" in environment:
        start += ["--writer", environment["RINGTAIL_TEST_WRITER"]]
    begun = subprocess.run(
        ["bash", *start, "--", *dockerd_arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    if begun.returncode == 77:
        raise Skip(begun.stdout.strip())
    claim(begun.returncode == 0, f"no Engine: {begun.stdout}")
    try:
        yield Engine(directory)
    finally:
        subprocess.run(["bash", script, "stop", directory], env=environment, check=False)
        os.rmdir(os.path.dirname(directory))
