"""The programs that are measured, in the order in which they are shown."""

from peers.curl import Curl
from peers.docker_logs import DockerLogs
from peers.fluent_bit import FluentBit
from peers.promtail import Promtail
from peers.ringtail import Ringtail, RingtailContainer, RingtailEpoll, RingtailOne
from peers.rsyslog import Rsyslog
from peers.vector import Vector

ALL = {
    p.name: p
    for p in (
        *(Ringtail, RingtailOne, RingtailEpoll, RingtailContainer),
        *(Curl, DockerLogs, Rsyslog, FluentBit, Promtail, Vector),
    )
}
