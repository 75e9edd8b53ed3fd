"""rsyslog with imdocker, of Debian 13, writing the name of the container and the line into one file.

It is unpacked below .deps with all libraries that it needs, its libc too, so that it runs on an older
Debian, and because an installed one would start a server.
"""

import glob
import os

from lib import packages
from lib.engine import ROOT
from peers.base import Peer, text_lines

HOME = os.path.join(ROOT, ".deps/perf/rsyslog")
PACKAGE = "rsyslog-docker"

# Long lines are to pass. All else is as it comes: a message is written when its batch is.
CONFIGURATION = """\
global(workDirectory="{out}" maxMessageSize="1m" parser.escapeControlCharactersOnReceive="off")
module(load="imdocker" DockerApiUnixSockAddr="{socket}" ApiVersionStr="v1.41"
       GetContainerLogOptions="timestamps=0&follow=1&stdout=1&stderr=1&tail={tail}")
template(name="line" type="list") {{
    property(name="$!metadata!Names")
    constant(value=" ")
    property(name="msg")
    constant(value="\\n")
}}
action(type="omfile" file="{out}/lines" template="line")
"""


class Rsyslog(Peer):
    name = "rsyslog"

    @classmethod
    def prepare(cls):
        if not os.path.exists(HOME):
            packages.unpack_closure(PACKAGE, HOME)

    @classmethod
    def missing(cls):
        if not glob.glob(os.path.join(HOME, "usr/lib/*/rsyslog/imdocker.so")):
            return f"there is no {PACKAGE} in this release's archive"
        return None

    def start(self, containers, resume_at=None):
        configuration = os.path.join(self.out_dir, "rsyslog.conf")
        # It remembers nothing: started again, it has to choose between all and nothing of a log.
        tail = "0" if resume_at else "all"
        with open(configuration, "w", encoding="ascii") as file:
            file.write(
                CONFIGURATION.format(out=self.out_dir, socket=self.engine.socket, tail=tail)
            )
        libraries = os.path.dirname(glob.glob(os.path.join(HOME, "usr/lib/*/rsyslog"))[0])
        loader = glob.glob(os.path.join(HOME, "usr/lib*/ld-linux-*"))[0]
        command = [loader, "--library-path", libraries, os.path.join(HOME, "usr/sbin/rsyslogd")]
        command += ["-n", "-f", configuration, "-i", os.path.join(self.out_dir, "pid")]
        self.spawn([*command, "-M", os.path.join(libraries, "rsyslog")])

    def paths(self, containers):
        return [os.path.join(self.out_dir, "lines")]

    def feed(self, containers, check):
        for line in text_lines(self.paths(containers)[0]):
            name, _, text = line.partition(b" ")
            # The Engine's names begin with a slash.
            check.take(text, name.lstrip(b"/"))
