"""promtail in its dry run, which prints instead of pushing. Measured where `promtail` is on PATH."""

import os
import shutil

from peers.base import Peer, text_lines

CONFIGURATION = """\
server:
  http_listen_address: 127.0.0.1
  http_listen_port: 0
  grpc_listen_port: 0
positions:
  filename: {out}/positions.yaml
clients:
  - url: http://127.0.0.1:9/loki/api/v1/push
scrape_configs:
  - job_name: engine
    docker_sd_configs:
      - host: {url}
        refresh_interval: 1s
    relabel_configs:
      - source_labels: [__meta_docker_container_name]
        regex: /(.*)
        target_label: container
      - source_labels: [__meta_docker_container_log_stream]
        target_label: stream
"""


class Promtail(Peer):
    name = "promtail"

    # A dry run saves no positions.
    unfit = {"W5": "its dry run forgets where it was"}

    @classmethod
    def missing(cls):
        return None if shutil.which("promtail") else "promtail is not on PATH"

    def start(self, containers, resume_at=None):
        configuration = os.path.join(self.out_dir, "promtail.yaml")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(out=self.out_dir, url=self.engine.url))
        command = ["promtail", "-dry-run", "-log.level=error", f"-config.file={configuration}"]
        self.spawn(command, self.paths(containers)[0])

    def paths(self, containers):
        return [os.path.join(self.out_dir, "lines")]

    def feed(self, containers, check):
        for line in text_lines(self.paths(containers)[0]):
            # Time, labels in braces, and the line, with tabs between them.
            words = line.split(b"\t", 2)
            if len(words) == 3:
                check.take(words[2])
