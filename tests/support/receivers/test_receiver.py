#!/usr/bin/env python3
"""That receiver.py is strict: each good request is taken, and each small change for the worse is not."""

import sys

sys.dont_write_bytecode = True

import copy
import gzip
import http.client
import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ID = "1" * 64
NS = 1795250000123456789
RFC = "2026-11-21T10:53:20.123456789Z"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
SPLUNK = {"Authorization": "Splunk 0123", **JSON}

LOKI = {
    "streams": [
        {
            "stream": {"container": "web", "stream": "stdout"},
            "values": [[str(NS), "a", {"container_id": ID}], [str(NS), "b", {"container_id": ID}]],
        }
    ]
}
DOCUMENT = {
    "@timestamp": RFC,
    "message": "a",
    "log": {"iostream": "stdout"},
    "container": {"id": ID, "name": "web", "image": {"name": "i"}},
}
EVENT = {
    "time": NS // 10**9,
    "event": "a",
    "fields": {"container_id": ID, "container_name": "web", "image": "i", "stream": "stderr"},
}


def attribute(key, value):
    return {"key": key, "value": {"stringValue": value}}


OTLP = {
    "resourceLogs": [
        {
            "resource": {
                "attributes": [
                    attribute("container.id", ID),
                    attribute("container.name", "web"),
                    attribute("container.image.name", "i"),
                ]
            },
            "scopeLogs": [
                {
                    "scope": {"name": "ringtail", "version": "1"},
                    "logRecords": [
                        {
                            "timeUnixNano": str(NS),
                            "observedTimeUnixNano": str(NS),
                            "body": {"stringValue": "a"},
                            "attributes": [attribute("log.iostream", "stdout"), attribute("log.record.uid", "u")],
                        }
                    ],
                }
            ],
        }
    ]
}
PLAIN = {"ts": RFC, "stream": "stdout", "container_id": ID, "container_name": "web", "image": "i", "line": "a"}
# Field 1 of the request: a ResourceLogs without anything.
EMPTY_PROTOBUF = b"\x0a\x00"


def changed(value, path, new):
    """A copy with the member at the path replaced, or (None) removed."""
    result = copy.deepcopy(value)
    at = result
    for step in path[:-1]:
        at = at[step]
    if new is None:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return result


class Tester:
    def __init__(self):
        self.child = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "receiver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        ready = json.loads(self.child.stdout.readline())
        self.port, self.control_port = ready["port"], ready["control_port"]
        self.failures = self.checks = 0

    def request(self, port, method, path, body=b"", headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        result = reply.status, reply.read()
        connection.close()
        return result

    def stats(self):
        return json.loads(self.request(self.control_port, "GET", "/stats")[1])

    def expect(self, what, holds):
        self.checks += 1
        if not holds:
            self.failures += 1
            print(f"not so: {what}")

    def good(self, what, path, body, headers, records):
        self.request(self.control_port, "POST", "/forget")
        status, reply = self.request(self.port, "POST", path, body, headers)
        stats = self.stats()
        self.expect(f"{what} is taken ({status} {reply!r})", 200 <= status < 300)
        self.expect(f"{what} breaks no rule: {stats['violations']}", not stats["violations"])
        self.expect(f"{what} is {records} records", stats["accepted"] == records)

    def bad(self, what, path, body, headers, wanted=400):
        self.request(self.control_port, "POST", "/forget")
        status, _ = self.request(self.port, "POST", path, body, headers)
        stats = self.stats()
        self.expect(f"{what} is refused with {wanted}, not {status}", status == wanted)
        self.expect(f"{what} is written down", stats["violations"] or wanted in (401, 403))
        self.expect(f"{what} leaves nothing", stats["accepted"] == 0)

    def bad_changes(self, what, path, headers, encode, value, changes):
        for where, new in changes:
            self.bad(f"{what} with {where} = {new!r}", path, encode(changed(value, where, new)), headers)


def encode(value):
    return json.dumps(value).encode()


def bulk(document, action=None):
    action = action or {"create": {"_index": "logs", "_id": "1"}}
    return encode(action) + b"\n" + encode(document) + b"\n"


def check_loki(t):
    path, stream, value = "/loki/api/v1/push", ["streams", 0, "stream"], ["streams", 0, "values"]
    t.good("Loki", path, encode(LOKI), JSON, 2)
    t.good("Loki in gzip", path, gzip.compress(encode(LOKI)), {**JSON, "Content-Encoding": "gzip"}, 2)
    t.bad("Loki's other type", path, encode(LOKI), NDJSON)
    t.bad("Loki in broken gzip", path, gzip.compress(encode(LOKI))[:-9], {**JSON, "Content-Encoding": "gzip"})
    t.bad("Loki with an unknown encoding", path, encode(LOKI), {**JSON, "Content-Encoding": "br"}, 415)
    t.bad("Loki's text", path, b"{", JSON)
    t.bad("Loki with a member twice", path, encode(LOKI)[:-1] + b',"streams":[]}', JSON)
    t.bad_changes(
        "Loki", path, JSON, encode, LOKI,
        [
            (["other"], 1),
            (["streams"], []),
            (stream, {}),
            (stream + ["container"], ""),
            (stream + ["container"], 5),
            (stream + ["container"], "x" * 2049),
            (stream + ["1a"], "x"),
            (stream + ["__a"], "x"),
            (stream, {f"a{i}": "x" for i in range(16)}),
            (value, []),
            (value + [0], [str(NS)]),
            (value + [0, 0], NS),
            (value + [0, 0], "-1"),
            (value + [0, 0], str(NS + 1)),
            (value + [0, 1], None),
            (value + [0, 2], {"a": 1}),
        ],
    )  # fmt: skip


def check_elastic(t):
    t.good("a bulk", "/_bulk", bulk(DOCUMENT), NDJSON, 1)
    t.bad("a bulk without its last newline", "/_bulk", bulk(DOCUMENT)[:-1], NDJSON)
    t.bad("a bulk of an action alone", "/_bulk", bulk(DOCUMENT).split(b"\n")[0] + b"\n", NDJSON)
    for action in (
        {"index": {"_index": "logs", "_id": "1"}},
        {"create": {"_index": "Logs", "_id": "1"}},
        {"create": {"_index": "-logs", "_id": "1"}},
        {"create": {"_index": "logs", "_id": ""}},
        {"create": {"_index": "logs", "_id": "x" * 513}},
        {"create": {"_index": "logs"}},
    ):
        t.bad(f"the action {action}", "/_bulk", bulk(DOCUMENT, action), NDJSON)
    t.bad_changes(
        "a document", "/_bulk", NDJSON, bulk, DOCUMENT,
        [
            (["@timestamp"], None),
            (["@timestamp"], RFC[:-4] + "Z"),
            (["@timestamp"], NS),
            (["message"], 5),
            (["line_b64"], "YQ=="),
            (["line_b64"], "/w"),
            (["log", "iostream"], "stdin"),
            (["log", "partial"], False),
            (["container", "id"], "1" * 63),
            (["container", "image"], "i"),
            (["other"], 1),
        ],
    )  # fmt: skip


def check_splunk(t):
    path = "/services/collector/event"
    t.good("events", path, encode(EVENT) * 2, SPLUNK, 2)
    t.bad("events without a token", path, encode(EVENT), JSON, 401)
    t.bad("events with another scheme", path, encode(EVENT), {"Authorization": "Bearer 0123"}, 401)
    t.bad("no events", path, b"", SPLUNK)
    t.bad_changes(
        "an event", path, SPLUNK, encode, EVENT,
        [
            (["event"], None),
            (["event"], ""),
            (["event"], " \t"),
            (["event"], {"line": "not blank"}),
            (["time"], str(NS)),
            (["time"], None),
            (["host"], ""),
            (["fields", "stream"], "stdin"),
            (["fields", "other"], {}),
            (["fields", "image"], 5),
            (["other"], 1),
        ],
    )  # fmt: skip


def check_otlp(t):
    log = ["resourceLogs", 0, "scopeLogs", 0, "logRecords", 0]
    t.good("OTLP", "/v1/logs", encode(OTLP), JSON, 1)
    t.bad("OTLP without anything", "/v1/logs", EMPTY_PROTOBUF, {"Content-Type": "application/x-protobuf"})
    for body in (b"", b"\x12\x00", b"\x0a\x05", b"\x08\x01", b"\x0a", b"\xff" * 12):
        t.bad(f"protobuf {body!r}", "/v1/logs", body, {"Content-Type": "application/x-protobuf"})
    t.bad("OTLP's other type", "/v1/logs", encode(OTLP), NDJSON)
    t.bad_changes(
        "OTLP", "/v1/logs", JSON, encode, OTLP,
        [
            (log + ["timeUnixNano"], NS),
            (log + ["timeUnixNano"], None),
            (log + ["time_unix_nano"], "1"),
            (log + ["observedTimeUnixNano"], None),
            (log + ["body"], {}),
            (log + ["body"], {"intValue": 1}),
            (log + ["body"], {"stringValue": "a", "bytesValue": "/w=="}),
            (log + ["body"], {"bytesValue": "YQ=="}),
            (log + ["body"], {"bytesValue": "/w"}),
            (log + ["attributes", 0, "value"], {"stringValue": "stdin"}),
            (log + ["attributes", 1], None),
            (log + ["attributes", 1, "key"], "log.iostream"),
            (["resourceLogs", 0, "resource", "attributes", 0], None),
            (["resourceLogs", 0, "scopeLogs", 0, "scope"], None),
            (["resourceLogs", 0, "scopeLogs"], []),
            (["resourceLogs"], []),
        ],
    )  # fmt: skip


def check_plain(t):
    t.good("NDJSON", "/ndjson", (encode(PLAIN) + b"\n") * 2, NDJSON, 2)
    t.good("a JSON array", "/json", encode([PLAIN, PLAIN]), JSON, 2)
    t.good("text", "/text", b"a\nb\n", {"Content-Type": "text/plain"}, 2)
    t.bad("NDJSON without its last newline", "/ndjson", encode(PLAIN), NDJSON)
    t.bad("an empty array", "/json", b"[]", JSON)
    t.bad("text without its last newline", "/text", b"a", {"Content-Type": "text/plain"})
    t.bad("an unknown path", "/nowhere", b"a", JSON, 404)
    t.bad_changes(
        "a record", "/ndjson", NDJSON, lambda value: encode(value) + b"\n", PLAIN,
        [
            (["ts"], "2026-11-21 10:53:20"),
            (["line"], None),
            (["line_b64"], "/w=="),
            (["stream"], "STDOUT"),
            (["container_id"], "web"),
            (["other"], 1),
        ],
    )  # fmt: skip


def main():
    t = Tester()
    for check in (check_loki, check_elastic, check_splunk, check_otlp, check_plain):
        check(t)
    status, _ = t.request(t.control_port, "POST", "/script", b'[{"do":"dance"}]')
    t.expect("an unknown step is refused", status == 400)
    t.child.stdin.close()
    t.expect("it ends with its input", t.child.wait(60) == 0)
    print(f"{t.checks} checks, {t.failures} failures")
    return 1 if t.failures else 0


if __name__ == "__main__":
    sys.exit(main())
