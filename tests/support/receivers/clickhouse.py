#!/usr/bin/env python3
"""A ClickHouse server for a test, with two tables for our NDJSON; see beside.py.

    clickhouse.py PROGRAM

The table `lines` takes every record. `numbered` makes a number of what follows "refused " at a line's
beginning, and so refuses what is none. Both make a number of nanoseconds of `ts`, from which it is
written anew when the records are told.
"""

import json
import socket
import sys
import time
import urllib.request

from beside import Beside

CONFIG = """<yandex>
<logger><level>none</level><log>{dir}/log</log></logger>
<listen_host>127.0.0.1</listen_host><http_port>{port}</http_port>
<path>{dir}/data/</path><tmp_path>{dir}/tmp/</tmp_path><users_config>{dir}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>1048576</mark_cache_size><timezone>UTC</timezone>
</yandex>"""
USERS = """<yandex>
<profiles><default/></profiles><quotas><default/></quotas>
<users><default>
<password></password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota>
</default></users>
</yandex>"""
# The engine Log keeps rows in the order in which they come.
TABLE = """CREATE TABLE {name} (
    ts String,
    stream Enum8('stdout' = 1, 'stderr' = 2),
    container_id FixedString(64),
    container_name String,
    image String,
    line String,
    line_b64 String,
    partial UInt8,
    ts_ns UInt64 MATERIALIZED
        toUInt64(toUnixTimestamp(toDateTime(replaceOne(substring(ts, 1, 19), 'T', ' ')))) * 1000000000
        + toUInt64(substring(ts, 21, 9))
    {more}
) ENGINE = Log"""
NUMBER = ", number UInt64 MATERIALIZED toUInt64(if(line LIKE 'refused %', substring(line, 9), '0'))"
TAKEN = """SELECT
    concat(replaceOne(toString(toDateTime(toUInt32(intDiv(ts_ns, 1000000000)))), ' ', 'T'), '.',
           substring(toString(1000000000 + ts_ns % 1000000000), 2), 'Z') AS ts,
    stream, container_id, container_name, image, line, line_b64, partial
FROM {name} FORMAT JSONEachRow"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, query):
    url = f"http://127.0.0.1:{port}/?max_threads=1"
    with urllib.request.urlopen(url, query.encode(), timeout=60) as reply:
        return reply.read().decode()


def start(beside, program):
    """Returns its port, or None: somebody else has taken that meanwhile."""
    port = free_port()
    for name, text in ("config.xml", CONFIG), ("users.xml", USERS):
        with open(f"{beside.dir}/{name}", "w", encoding="ascii") as file:
            file.write(text.format(dir=beside.dir, port=port))
    server = beside.start(program, f"--config-file={beside.dir}/config.xml", stdout=sys.stderr)
    while server.poll() is None:
        try:
            ask(port, "SELECT 1")
            return port
        except OSError:
            time.sleep(0.02)
    return None


def record_of(row):
    """The row as the record that it was: what a record leaves out is empty."""
    record = json.loads(row)
    if record["line_b64"]:
        need_empty = record.pop("line")
        if need_empty:
            raise ValueError(f"a line and its base64: {row}")
    else:
        del record["line_b64"]
    if record.pop("partial"):
        record["partial"] = True
    return record


def main():
    beside = Beside()
    port = None
    for _ in range(5):
        port = port or start(beside, sys.argv[1])
    if not port:
        beside.end()
    ask(port, TABLE.format(name="lines", more=""))
    ask(port, TABLE.format(name="numbered", more=NUMBER))
    # Rows end with a newline, and strings may have other ends of lines in them.
    beside.serve(port, lambda of, doubles: map(record_of, ask(port, TAKEN.format(name=of)).split("\n")[:-1]))


if __name__ == "__main__":
    main()
