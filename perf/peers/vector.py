"""Vector's docker_logs source into a file of JSON lines. Measured where `vector` is on PATH."""

import json
import os
import shutil

from peers.base import Peer, text_lines

CONFIGURATION = """\
data_dir = "{out}/data"
[sources.engine]
type = "docker_logs"
docker_host = "{url}"
[sinks.lines]
type = "file"
inputs = ["engine"]
path = "{out}/lines"
encoding.codec = "json"
"""


class Vector(Peer):
    name = "vector"

    @classmethod
    def missing(cls):
        return None if shutil.which("vector") else "vector is not on PATH"

    def start(self, containers, resume_at=None):
        os.makedirs(os.path.join(self.out_dir, "data"), exist_ok=True)
        configuration = os.path.join(self.out_dir, "vector.toml")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(out=self.out_dir, url=self.engine.url))
        self.spawn(["vector", "--quiet", "--config", configuration])

    def paths(self, containers):
        return [os.path.join(self.out_dir, "lines")]

    def feed(self, containers, check):
        letters = {"stdout": b"o", "stderr": b"e"}
        for line in text_lines(self.paths(containers)[0]):
            record = json.loads(line)
            name = record["container_name"].encode()
            check.take(record["message"].encode(), name, letters.get(record.get("stream")))
