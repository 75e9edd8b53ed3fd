"""curl, which saves the Engine's bytes as they come: the floor. A process for each container.

Where a log is only drained it reads without following, and writes a whole buffer at a time: as cheap
as it gets. Otherwise it writes what has come at once.
"""

import shutil

from lib import frames
from peers.base import PerContainer


class Curl(PerContainer):
    name = "curl"

    @classmethod
    def missing(cls):
        return None if shutil.which("curl") else "there is no curl"

    def command(self, container, resume_at):
        if self.drains:
            return self.engine.logs_command(container, "")
        since = f"&since={resume_at:.9f}" if resume_at else ""
        return [*self.engine.logs_command(container, "&follow=1" + since), "--no-buffer"]

    def feed(self, containers, check):
        for path in self.paths(containers):
            try:
                for stream, text in frames.lines(path):
                    check.take(text, stream=stream)
            except FileNotFoundError:
                pass
