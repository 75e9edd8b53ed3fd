"""Fluent Bit, which reads the Engine's log files past its API. Measured where `fluent-bit` is on PATH."""

import json
import os
import shutil

from peers.base import Peer, text_lines

CONFIGURATION = """\
[SERVICE]
    flush        1
    parsers_file {out}/parsers.conf
[INPUT]
    name              tail
    path              {logs}/*/*-json.log
    multiline.parser  docker
    read_from_head    true
    refresh_interval  1
    buffer_max_size   2M
    db                {out}/positions.db
[OUTPUT]
    name   file
    match  *
    path   {out}
    file   lines
    format plain
"""
PARSERS = """\
[PARSER]
    name        docker
    format      json
    time_key    time
    time_format %Y-%m-%dT%H:%M:%S.%L
    time_keep   on
"""


class FluentBit(Peer):
    name = "fluent-bit"

    @classmethod
    def missing(cls):
        return None if shutil.which("fluent-bit") else "fluent-bit is not on PATH"

    def start(self, containers, resume_at=None):
        configuration = os.path.join(self.out_dir, "fluent-bit.conf")
        logs = os.path.join(self.engine.home, "data/containers")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(out=self.out_dir, logs=logs))
        with open(os.path.join(self.out_dir, "parsers.conf"), "w", encoding="ascii") as file:
            file.write(PARSERS)
        self.spawn(["fluent-bit", "--quiet", "--config", configuration])

    def paths(self, containers):
        return [os.path.join(self.out_dir, "lines")]

    def feed(self, containers, check):
        letters = {"stdout": b"o", "stderr": b"e"}
        for line in text_lines(self.paths(containers)[0]):
            record = json.loads(line)
            text = record["log"].encode().rstrip(b"\n")
            check.take(text, stream=letters.get(record.get("stream")))
