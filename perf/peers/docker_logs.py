"""`docker logs --follow` of Debian's client, without timestamps. A process for each container."""

import os
import shutil

from peers.base import PerContainer, text_lines

# A machine may have another client before it in PATH.
DEBIANS = "/usr/bin/docker"


class DockerLogs(PerContainer):
    name = "docker"
    # In one file the parts of long lines of both streams would be mixed up.
    endings = ("out", "err")
    one_order = False

    @staticmethod
    def program():
        return DEBIANS if os.access(DEBIANS, os.X_OK) else shutil.which("docker")

    @classmethod
    def missing(cls):
        return None if cls.program() else "there is no docker client"

    def command(self, container, resume_at):
        since = ["--since", f"{resume_at:.9f}"] if resume_at else []
        return [self.program(), "-H", self.engine.url, "logs", "--follow", *since, container.id]

    def feed(self, containers, check):
        names = {container.name.encode() for container in containers}
        for path in self.paths(containers):
            for line in text_lines(path):
                # Between them stands what the client itself has to say when the Engine goes away.
                if line[: line.find(b" ")] in names:
                    check.take(line)
