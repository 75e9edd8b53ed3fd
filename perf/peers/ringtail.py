"""ringtail itself, as it comes: one file per container, positions, metrics."""

import json
import os

from lib.engine import ROOT
from peers.base import Peer, text_lines

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
