#!/usr/bin/env python3
"""A Kafka cluster for a test: kcat with librdkafka's mock of one, three brokers in a process of their
own; and kcat as the consumer of what was produced. See beside.py.

Of every message is looked at: the key, the headers, the time, and that a key has one partition.
"""

import calendar
import json
import re
import subprocess
import threading
import time

from beside import Beside

BROKERS = re.compile(r"bootstrap\.servers=(127\.0\.0\.1:(\d+)\S*)")
# Newer versions of librdkafka do not make a topic for who reads from it, and kcat ends then.
MAKING_TOPICS = ("-X", "allow.auto.create.topics=true")
HEADERS = ("container_id", "container_name", "image", "stream", "identity")


def need(condition, what):
    if not condition:
        raise ValueError(what)


def ms_of(ts):
    return calendar.timegm(time.strptime(ts[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(ts[20:23])


def record_of(message, seen, doubles):
    record = json.loads(message["payload"])
    names, values = message["headers"][::2], message["headers"][1::2]
    headers = dict(zip(names, values))
    where = f"{message['partition']}/{message['offset']}"
    need(tuple(names) == HEADERS, f"{where}: headers are {names}")
    need(message["key"] == record["container_id"], f"{where}: the key is {message['key']}")
    for name in HEADERS[:-1]:
        need(headers[name] == record[name], f"{where}: header {name} is {headers[name]}")
    need(seen.setdefault(headers["identity"], where) == where or doubles, f"{where}: an identity came twice")
    key = message["key"]
    need(seen.setdefault(key, message["partition"]) == message["partition"], f"{where}: {key} was elsewhere")
    need(message["tstype"] == "create", f"{where}: the time is not the writer's")
    need(message["ts"] == ms_of(record["ts"]), f"{where}: {record['ts']} has the time {message['ts']}")
    return record


def taken(brokers, topic, doubles):
    consumer = ["kcat", "-C", *MAKING_TOPICS, "-q", "-J", "-e", "-b", brokers, "-t", topic, "-o", "beginning"]
    out = subprocess.run(consumer, stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True).stdout
    seen = {}
    return [record_of(json.loads(message), seen, doubles) for message in out.split("\n")[:-1]]


def main():
    beside = Beside()
    # A consumer of nothing, as long as it runs; the log says where the cluster is.
    cluster = ["kcat", "-C", *MAKING_TOPICS, "-X", "test.mock.num.brokers=3", "-d", "mock", "-b", "none", "-t", "nothing"]
    server = beside.start(*cluster, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = None
    while not found:
        line = server.stderr.readline()
        if not line:
            beside.end()
        found = BROKERS.search(line)
    threading.Thread(target=server.stderr.read, daemon=True).start()
    beside.serve(int(found.group(2)), lambda topic, doubles: taken(found.group(1), topic, doubles))


if __name__ == "__main__":
    main()
