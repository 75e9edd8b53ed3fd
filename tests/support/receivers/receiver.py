#!/usr/bin/env python3
"""A strict receiver for tests: Loki, Elasticsearch, Splunk HEC, OTLP/HTTP and plain HTTP, in one.

It checks every field of every request by the protocols' documentation, answers as the real receivers
do, fails by script, and tells what it has taken. Python's standard library only; zstd bodies need the
program `zstd`.

Starting it

    receiver.py [--port N] [--control-port N] [--no-keep] [--token T] [--cert FILE --key FILE]

It listens on 127.0.0.1 (port 0, the default: one that is free) and prints one line of JSON when it is
ready: {"port": 41000, "control_port": 41001, "pid": 123}. It ends by SIGTERM, and when its standard
input ends if that is a pipe. With --cert and --key the data port speaks TLS.

Data port: what a sink is pointed at

    POST /loki/api/v1/push           JSON
    POST /_bulk, /INDEX/_bulk        NDJSON, "create" actions only
    POST /services/collector/event   Splunk; the header "Authorization: Splunk ..." must be there, and
                                     with --token have that token
    POST /v1/logs                    OTLP as JSON or as protobuf
    POST /ndjson, /json, /text       what the codecs NDJSON, JSON array and text make

What breaks a protocol's rules gets the answer that the real receiver would give (400 and so on), and
is written down as a violation. A test ends with: violations is empty.

Duplicates are left out where the real receiver does it: Loki drops an entry equal in stream labels,
time and line; Elasticsearch answers 409 to an _id that the index has. The others keep everything.

Control port

    GET  /taken[?protocol=loki]   NDJSON, one line for each record that was taken, in the order of
                                  arrival: [container, stream, timestamp in ns, line]. The container is
                                  its full id. A line that is not UTF-8 comes as {"b64": "..."} where
                                  the protocol carries the bytes (Loki has none but U+FFFD). For
                                  /text only the line is known, the others are null.
                                  For Loki the container is metadata or label container_id, and the
                                  stream metadata or label stream: configure them.
    GET  /stats                   {"requests", "accepted", "repeated" (left out as duplicates), "refused",
                                  "connections", "bytes" (of bodies as sent), "out_of_order" (entries
                                  of a Loki stream older than the last), "violations": ["..."],
                                  "waiting" (requests that hang now), "script" (steps left)}
    POST /script                  a JSON list of steps, appended to those that are left. Each data
                                  request takes the next step; without one, the mode holds.
    POST /mode                    a JSON object: {"do": "ok"}, or any step without "times": it holds
                                  until another mode is set. "poison" and "max_body" may stand beside.
    POST /release                 lets go of all requests that hang: their connections are closed
    POST /forget                  forgets what was taken, the counters, and the violations

Steps

    {"do": "ok"}                              checks, takes, answers
    {"do": "status", "status": 503,           answers that and takes nothing
     "headers": {"Retry-After": "1"}, "body": "text" or "body_b64": "..."}
    {"do": "close"}                           reads the request, takes nothing, closes
    {"do": "take_and_close"}                  takes it, and closes without an answer: a lost reply
    {"do": "hang"}                            reads the request, takes nothing, never answers (/release)
    {"do": "take_and_hang"}                   takes it, and never answers
    {"do": "slow", "delay_ms": 200}           waits, then as "ok"
    {"do": "refuse"}                          mode only: the port is closed (connection refused), and
                                              connections that are open are cut; the next mode opens it
    {"do": "items", "status": 429,            Elasticsearch: every nth item of the request fails so
     "every": 2, "type": "es_rejected_execution_exception"}
    {"do": "partial", "rejected": 1}          OTLP: takes all but the last so many, and says so

    "times": 3      the step holds for so many requests (default 1)

    "poison": "text"    (mode) a record whose line has this in it is refused as its protocol does it: Loki
                        400 with the others taken, Elasticsearch 400 for the item, Splunk 400 with its
                        number and nothing taken, OTLP and plain HTTP 400 with nothing taken
    "max_body": 1000    (mode) 413 for decoded bodies that are longer

Ports keep their numbers for as long as it runs. Without --no-keep all taken records stay in memory
(some 300 bytes each); with it there are counters only, and duplicates are still left out.
"""

import argparse
import base64
import binascii
import datetime
import decimal
import gzip
import http.server
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

MAX_BODY = 256 * 1024 * 1024
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
CONTAINER_ID = re.compile(r"[0-9a-f]{64}\Z")
RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{9})Z\Z")
INDEX = re.compile(r"[^A-Z\\/*?\"<>| ,#:\x00-\x20]{1,255}\Z")
EPOCH = datetime.datetime(1970, 1, 1)


class Refused(Exception):
    """An answer other than success; `violation` says that the request broke the protocol."""

    def __init__(self, status, body, content_type="application/json", headers=None, violation=None):
        super().__init__(status)
        self.status, self.content_type = status, content_type
        self.body = body if isinstance(body, bytes) else body.encode()
        self.headers = headers or {}
        self.violation = violation


def need(condition, what):
    if not condition:
        raise ValueError(what)


def only_keys(value, what, required, optional=()):
    need(isinstance(value, dict), f"{what} is no object")
    for key in value:
        need(key in required or key in optional, f"{what} has an unknown member {key}")
    for key in required:
        need(key in value, f"{what} has no {key}")


def text_of(value, what):
    need(isinstance(value, str), f"{what} is no string")
    return value


def no_double_keys(pairs):
    result = dict(pairs)
    need(len(result) == len(pairs), "an object has a member twice")
    return result


def load_json(text):
    return json.loads(text, object_pairs_hook=no_double_keys, parse_constant=bad_constant)


def bad_constant(name):
    raise ValueError(f"{name} is no JSON")


def timestamp_ns(text, what):
    match = RFC3339.match(text_of(text, what))
    need(match, f"{what} is no timestamp of nanoseconds: {text!r}")
    *parts, fraction = (int(part) for part in match.groups())
    whole = datetime.datetime(*parts) - EPOCH
    return (whole.days * 86400 + whole.seconds) * 10**9 + fraction


def decimal_ns(text, what):
    need(isinstance(text, str) and text.isascii() and text.isdigit(), f"{what} is no string of digits")
    value = int(text)
    need(value < 2**63, f"{what} is too large")
    return value


def from_base64(text, what):
    try:
        return base64.b64decode(text_of(text, what), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{what} is no base64: {error}") from None


def line_of(lossy, exact_b64):
    """What is told of a line: its text, or its bytes where they are known and are not text."""
    return lossy if exact_b64 is None else {"b64": exact_b64}


def check_b64(value, what):
    """The exact bytes beside a text: only where these are not UTF-8."""
    exact = value.get("line_b64")
    if exact is not None:
        try:
            from_base64(exact, what).decode("utf-8")
        except UnicodeDecodeError:
            return exact
        raise ValueError(f"{what} is given although the line is UTF-8")
    return None


def check_stream(value, what):
    need(value in ("stdout", "stderr"), f"{what} is neither stdout nor stderr")
    return value


class Record:
    """One record of a request: what is told of it, and by what it is known as the same again."""

    __slots__ = ("told", "key", "line")

    def __init__(self, container, stream, ts_ns, line, key=None):
        self.told = (container, stream, ts_ns, line)
        self.key = key
        self.line = line if isinstance(line, str) else ""


# ---- Loki: Grafana Loki, "Loki HTTP API", "Ingest logs"; limits_config for the bounds ----


def check_labels(labels, what):
    need(isinstance(labels, dict), f"{what} is no object")
    need(len(labels) <= 15, f"{what} has more than 15 names")
    for name, value in labels.items():
        need(LABEL_NAME.match(name), f"{what}: {name!r} is no name")
        need(not name.startswith("__"), f"{what}: {name} is one of Loki's own")
        need(len(name) <= 1024, f"{what}: a name is longer than 1024")
        text_of(value, f"{what}: {name}")
        need(value != "", f"{what}: {name} has no value")
        need(len(value.encode()) <= 2048, f"{what}: {name} is longer than 2048 bytes")


def read_loki(body, content_type):
    need(content_type == "application/json", f"content type {content_type}")
    whole = load_json(body.decode("utf-8"))
    only_keys(whole, "the request", ("streams",))
    need(isinstance(whole["streams"], list) and whole["streams"], "there are no streams")
    records, seen = [], set()
    for stream in whole["streams"]:
        only_keys(stream, "a stream", ("stream", "values"))
        labels = stream["stream"]
        check_labels(labels, "labels")
        need(labels, "a stream has no labels")
        name = json.dumps(labels, sort_keys=True)
        need(name not in seen, "a stream comes twice")
        seen.add(name)
        need(isinstance(stream["values"], list) and stream["values"], "a stream has no values")
        last = -1
        for value in stream["values"]:
            need(isinstance(value, list) and len(value) in (2, 3), "an entry has 2 or 3 elements")
            ts_ns = decimal_ns(value[0], "an entry's time")
            line = text_of(value[1], "an entry's line")
            metadata = value[2] if len(value) == 3 else {}
            if metadata:
                check_labels(metadata, "structured metadata")
            need(ts_ns >= last, "a stream's entries are not in the order of their times")
            last = ts_ns
            container = metadata.get("container_id", labels.get("container_id"))
            which = metadata.get("stream", labels.get("stream"))
            records.append(Record(container, which, ts_ns, line, (name, ts_ns, line)))
    return records


# ---- Elasticsearch: "Bulk API", "Create index API", "Common options" ----


def es_error(reason, status=400, kind="illegal_argument_exception"):
    error = {"type": kind, "reason": reason}
    return json.dumps({"error": {"root_cause": [error], **error}, "status": status})


def read_document(source):
    document = load_json(source)
    only_keys(document, "a document", ("@timestamp", "message", "log", "container"), ("line_b64", "host"))
    log, container = document["log"], document["container"]
    only_keys(log, "log", ("iostream",), ("partial",))
    need(log.get("partial", True) is True, "log.partial is not true")
    only_keys(container, "container", ("id", "name", "image"))
    only_keys(container["image"], "container.image", ("name",))
    need(CONTAINER_ID.match(text_of(container["id"], "container.id")), "container.id is no id")
    text_of(container["name"], "container.name")
    text_of(container["image"]["name"], "container.image.name")
    if "host" in document:
        only_keys(document["host"], "host", ("name",))
        text_of(document["host"]["name"], "host.name")
    line = text_of(document["message"], "message")
    exact = check_b64(document, "line_b64")
    return (
        container["id"],
        check_stream(log["iostream"], "log.iostream"),
        timestamp_ns(document["@timestamp"], "@timestamp"),
        line_of(line, exact),
    )


def read_elastic(body, content_type):
    need(content_type in ("application/x-ndjson", "application/json"), f"content type {content_type}")
    need(body.endswith(b"\n"), "The bulk request must be terminated by a newline [\\n]")
    lines = body.decode("utf-8").split("\n")[:-1]
    need(len(lines) % 2 == 0 and lines, "an action without its document")
    records = []
    for i in range(0, len(lines), 2):
        action = load_json(lines[i])
        only_keys(action, "an action", ("create",))
        only_keys(action["create"], "create", ("_index", "_id"))
        index, identity = action["create"]["_index"], action["create"]["_id"]
        need(INDEX.match(text_of(index, "_index")), f"_index {index!r} is no name")
        need(index[0] not in "-_+" and index not in (".", ".."), f"_index {index!r} is no name")
        need(0 < len(text_of(identity, "_id").encode()) <= 512, "_id is empty or too long")
        records.append(Record(*read_document(lines[i + 1]), key=(index, identity)))
    return records


# ---- Splunk: "Format events for HTTP Event Collector", "Troubleshoot HTTP Event Collector" ----


def splunk_error(status, text, code, number=None):
    body = {"text": text, "code": code}
    if number is not None:
        body["invalid-event-number"] = number
    violation = None if code in (1, 2, 3, 4) else f"Splunk: {text}, event {number}"
    return Refused(status, json.dumps(body), violation=violation)


def read_splunk_event(event, number):
    try:
        only_keys(event, "an event", ("event",), ("time", "host", "source", "sourcetype", "index", "fields"))
    except ValueError as error:
        if isinstance(event, dict) and "event" not in event:
            raise splunk_error(400, "Event field is required", 12, number) from None
        raise ValueError(str(error)) from None
    what = event["event"]
    if what == "" or (isinstance(what, str) and what.strip() == ""):
        raise splunk_error(400, "Event field cannot be blank", 13, number)
    for key in ("host", "source", "sourcetype", "index"):
        need(text_of(event.get(key, "x"), key) != "", f"{key} is empty")
    if isinstance(what, dict):
        only_keys(what, "event", ("line",))
        what = text_of(what["line"], "event.line")
        need(what.strip() == "", "event is an object although its line is not blank")
    text_of(what, "event")
    fields = event.get("fields", {})
    only_keys(fields, "fields", ("container_id", "container_name", "image", "stream"), ("partial", "line_b64"))
    for name, value in fields.items():
        text_of(value, f"fields.{name}")
    need(CONTAINER_ID.match(fields["container_id"]), "fields.container_id is no id")
    when = event.get("time")
    need(isinstance(when, (int, decimal.Decimal)) and not isinstance(when, bool), "time is no number")
    ts_ns = int(when.scaleb(9)) if isinstance(when, decimal.Decimal) else when * 10**9
    exact = check_b64(fields, "fields.line_b64")
    return Record(
        fields["container_id"], check_stream(fields["stream"], "fields.stream"), ts_ns, line_of(what, exact)
    )


def read_splunk(body, content_type):
    text = body.decode("utf-8")
    decoder = json.JSONDecoder(object_pairs_hook=no_double_keys, parse_float=decimal.Decimal)
    records, at = [], 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        try:
            event, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            raise splunk_error(400, "Invalid data format", 6, len(records)) from None
        records.append(read_splunk_event(event, len(records)))
    if not records:
        raise splunk_error(400, "No data", 5)
    return records


# ---- OTLP: specification 1.9; opentelemetry-proto's logs.proto, common.proto, resource.proto ----
#
# Field tables of protobuf: number -> (name, kind, message or None, repeated).

ANY = {
    1: ("stringValue", "string", None, False),
    2: ("boolValue", "varint", None, False),
    3: ("intValue", "varint", None, False),
    4: ("doubleValue", "fixed64", None, False),
    7: ("bytesValue", "bytes", None, False),
}
KEY_VALUE = {1: ("key", "string", None, False), 2: ("value", "message", ANY, False)}
RESOURCE = {1: ("attributes", "message", KEY_VALUE, True), 2: ("droppedAttributesCount", "varint", None, False)}
SCOPE = {
    1: ("name", "string", None, False),
    2: ("version", "string", None, False),
    3: ("attributes", "message", KEY_VALUE, True),
    4: ("droppedAttributesCount", "varint", None, False),
}
LOG = {
    1: ("timeUnixNano", "fixed64", None, False),
    2: ("severityNumber", "varint", None, False),
    3: ("severityText", "string", None, False),
    5: ("body", "message", ANY, False),
    6: ("attributes", "message", KEY_VALUE, True),
    7: ("droppedAttributesCount", "varint", None, False),
    8: ("flags", "fixed32", None, False),
    9: ("traceId", "bytes", None, False),
    10: ("spanId", "bytes", None, False),
    11: ("observedTimeUnixNano", "fixed64", None, False),
    12: ("eventName", "string", None, False),
}
SCOPE_LOGS = {
    1: ("scope", "message", SCOPE, False),
    2: ("logRecords", "message", LOG, True),
    3: ("schemaUrl", "string", None, False),
}
RESOURCE_LOGS = {
    1: ("resource", "message", RESOURCE, False),
    2: ("scopeLogs", "message", SCOPE_LOGS, True),
    3: ("schemaUrl", "string", None, False),
}
REQUEST = {1: ("resourceLogs", "message", RESOURCE_LOGS, True)}
WIRE = {"varint": 0, "fixed64": 1, "string": 2, "bytes": 2, "message": 2, "fixed32": 5}


def read_varint(data, at, end):
    value = shift = 0
    while True:
        need(at < end and shift < 70, "a varint without end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def read_message(data, at, end, fields):
    message = {}
    while at < end:
        tag, at = read_varint(data, at, end)
        need(tag >> 3 in fields, f"protobuf: unknown field {tag >> 3}")
        name, kind, inner, repeated = fields[tag >> 3]
        need(tag & 7 == WIRE[kind], f"protobuf: {name} has wire type {tag & 7}")
        if kind == "varint":
            value, at = read_varint(data, at, end)
        elif kind in ("fixed64", "fixed32"):
            size = 8 if kind == "fixed64" else 4
            need(at + size <= end, f"protobuf: {name} is cut")
            value = struct.unpack_from("<Q" if size == 8 else "<I", data, at)[0]
            at += size
        else:
            size, at = read_varint(data, at, end)
            need(at + size <= end, f"protobuf: {name} is cut")
            if kind == "message":
                value = read_message(data, at, at + size, inner)
            else:
                value = data[at : at + size]
                value = value.decode("utf-8") if kind == "string" else bytes(value)
            at += size
        if repeated:
            message.setdefault(name, []).append(value)
        else:
            need(name not in message, f"protobuf: {name} twice")
            message[name] = value
    return message


def from_otlp_json(value, fields, what):
    """The JSON encoding, as the protobuf reader would have given it."""
    need(isinstance(value, dict), f"{what} is no object")
    by_name = {name: (kind, inner, repeated) for name, kind, inner, repeated in fields.values()}
    message = {}
    for name, member in value.items():
        need(name in by_name, f"{what} has an unknown member {name}")
        kind, inner, repeated = by_name[name]
        if repeated:
            need(isinstance(member, list), f"{name} is no array")
            message[name] = [from_otlp_json(one, inner, name) for one in member]
        elif kind == "message":
            message[name] = from_otlp_json(member, inner, name)
        elif kind == "fixed64":
            message[name] = decimal_ns(member, name)
        elif kind == "bytes":
            message[name] = from_base64(member, name)
        elif kind == "string":
            message[name] = text_of(member, name)
        elif name == "boolValue":
            need(isinstance(member, bool), "boolValue is no boolean")
            message[name] = int(member)
        else:
            need(isinstance(member, int) and not isinstance(member, bool), f"{name} is no number")
            message[name] = member
    return message


def attributes_of(message, what):
    result = {}
    for pair in message.get("attributes", []):
        key = pair.get("key")
        need(key, f"{what}: an attribute without a key")
        need(key not in result, f"{what}: attribute {key} twice")
        need(len(pair.get("value", {})) == 1, f"{what}: attribute {key} has not one value")
        result[key] = next(iter(pair["value"].values()))
    return result


def read_log(log, container):
    attributes = attributes_of(log, "a record")
    for key in attributes:
        need(key in ("log.iostream", "log.record.uid", "ringtail.partial"), f"unknown attribute {key}")
    body = log.get("body", {})
    need(len(body) == 1, "a body has not one value")
    kind, line = next(iter(body.items()))
    need(kind in ("stringValue", "bytesValue"), f"a body is a {kind}")
    if kind == "bytesValue":
        exact = base64.b64encode(line).decode()
        check_b64({"line_b64": exact}, "bytesValue")
        line = {"b64": exact}
    need(log.get("timeUnixNano", 0) > 0 and "observedTimeUnixNano" in log, "a record has not both times")
    need(text_of(attributes.get("log.record.uid"), "log.record.uid"), "log.record.uid is empty")
    return Record(
        container, check_stream(attributes.get("log.iostream"), "log.iostream"), log["timeUnixNano"], line
    )


def read_otlp(body, content_type):
    if content_type == "application/json":
        request = from_otlp_json(load_json(body.decode("utf-8")), REQUEST, "the request")
    else:
        need(content_type == "application/x-protobuf", f"content type {content_type}")
        request = read_message(body, 0, len(body), REQUEST)
    records = []
    need(request.get("resourceLogs"), "there are no resourceLogs")
    for resource_logs in request["resourceLogs"]:
        resource = attributes_of(resource_logs.get("resource", {}), "a resource")
        for key in ("container.id", "container.name", "container.image.name"):
            need(isinstance(resource.get(key), str), f"a resource has no {key}")
        for key in resource:
            need(key.startswith("container.") or key == "host.name", f"unknown attribute {key}")
        need(CONTAINER_ID.match(resource["container.id"]), "container.id is no id")
        need(resource_logs.get("scopeLogs"), "there are no scopeLogs")
        for scope_logs in resource_logs["scopeLogs"]:
            need(scope_logs.get("scope", {}).get("name"), "the scope has no name")
            need(scope_logs.get("logRecords"), "there are no logRecords")
            records += [read_log(log, resource["container.id"]) for log in scope_logs["logRecords"]]
    return records


# ---- plain HTTP: what record/ndjson.h says ----


def read_object(value):
    only_keys(
        value,
        "a record",
        ("ts", "stream", "container_id", "container_name", "image"),
        ("line", "line_b64", "partial"),
    )
    need(("line" in value) != ("line_b64" in value), "a record has not one line")
    need(CONTAINER_ID.match(text_of(value["container_id"], "container_id")), "container_id is no id")
    exact = check_b64(value, "line_b64")
    line = line_of(text_of(value.get("line", ""), "line"), exact)
    return Record(value["container_id"], check_stream(value["stream"], "stream"), timestamp_ns(value["ts"], "ts"), line)


def read_ndjson(body, content_type):
    need(content_type == "application/x-ndjson", f"content type {content_type}")
    need(body.endswith(b"\n"), "the last line has no end")
    return [read_object(load_json(line)) for line in body.decode("utf-8").split("\n")[:-1]]


def read_json_array(body, content_type):
    need(content_type == "application/json", f"content type {content_type}")
    whole = load_json(body.decode("utf-8"))
    need(isinstance(whole, list) and whole, "the body is no array, or an empty one")
    return [read_object(value) for value in whole]


def read_text(body, content_type):
    need(content_type.startswith("text/plain"), f"content type {content_type}")
    need(body.endswith(b"\n"), "the last line has no end")
    records = []
    for line in body.split(b"\n")[:-1]:
        try:
            records.append(Record(None, None, None, line.decode("utf-8")))
        except UnicodeDecodeError:
            records.append(Record(None, None, None, {"b64": base64.b64encode(line).decode()}))
    return records


# ---- what was taken ----


class Store:
    """All state, under one lock. Requests are read outside of it."""

    def __init__(self, keep):
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.keep = keep
        self.mode = {"do": "ok"}
        self.script = []
        self.waiting = 0
        self.releases = 0
        self.connections = 0
        self.forget()

    def forget(self):
        self.order = []
        self.known = set()
        self.newest = {}
        self.violations = []
        self.requests = self.accepted = self.repeated = self.refused = self.bytes = self.out_of_order = 0

    def next_step(self):
        with self.lock:
            mode = dict(self.mode)
            if not self.script:
                return mode
            step = dict(self.script[0])
            self.script[0]["times"] = step.get("times", 1) - 1
            if self.script[0]["times"] <= 0:
                self.script.pop(0)
            for key in ("poison", "max_body"):
                if key in mode:
                    step.setdefault(key, mode[key])
            return step

    def violate(self, what):
        with self.lock:
            self.refused += 1
            if len(self.violations) < 100:
                self.violations.append(what)

    def refuse(self, count=1):
        with self.lock:
            self.refused += count

    def take(self, protocol, records):
        """Returns, for each record, whether it is new."""
        fresh = []
        with self.lock:
            for record in records:
                if record.key is not None:
                    key = hash((protocol, record.key))
                    if key in self.known:
                        self.repeated += 1
                        fresh.append(False)
                        continue
                    self.known.add(key)
                fresh.append(True)
                self.accepted += 1
                if protocol == "loki":
                    name, ts_ns = record.key[0], record.told[2]
                    if ts_ns < self.newest.get(name, 0):
                        self.out_of_order += 1
                    else:
                        self.newest[name] = ts_ns
                if self.keep:
                    self.order.append((protocol, record.told))
        return fresh

    def hang(self):
        """Until /release."""
        with self.changed:
            before = self.releases
            self.waiting += 1
            while self.releases == before:
                self.changed.wait()
            self.waiting -= 1

    def release(self):
        with self.changed:
            self.releases += 1
            self.changed.notify_all()

    def stats(self):
        with self.lock:
            names = ("requests", "accepted", "repeated", "refused", "connections", "bytes", "out_of_order")
            result = {name: getattr(self, name) for name in names}
            result.update(violations=list(self.violations), waiting=self.waiting, script=len(self.script))
            return result


# ---- protocols: reading, answering ----


def is_poisoned(step, record):
    return "poison" in step and step["poison"] in record.line


def answer_loki(handler, step, records):
    good = [record for record in records if not is_poisoned(step, record)]
    handler.store.take("loki", good)
    if len(good) < len(records):
        handler.store.refuse(len(records) - len(good))
        # Loki answers 400 although it has taken the other entries.
        raise Refused(400, "entry refused: it has poison in it\n", "text/plain; charset=utf-8")
    return 204, b"", None


def elastic_item(status, kind=None, reason=None):
    item = {"status": status}
    if kind:
        item["error"] = {"type": kind, "reason": reason}
    return {"create": item}


def answer_elastic(handler, step, records):
    items = []
    for i, record in enumerate(records):
        if is_poisoned(step, record):
            handler.store.refuse()
            items.append(elastic_item(400, "document_parsing_exception", "failed to parse: poison"))
        elif step["do"] == "items" and (i + 1) % step.get("every", 1) == 0:
            kind = step.get("type", "es_rejected_execution_exception")
            items.append(elastic_item(step.get("status", 429), kind, "by script"))
        elif handler.store.take("elastic", [record])[0]:
            items.append(elastic_item(201))
        else:
            items.append(elastic_item(409, "version_conflict_engine_exception", "document already exists"))
    reply = {"errors": any("error" in item["create"] for item in items), "items": items}
    if "filter_path" not in handler.query:
        reply = {"took": 1, **reply}
        for record, item in zip(records, items):
            item["create"].update(_index=record.key[0], _id=record.key[1])
    return 200, json.dumps(reply).encode(), "application/json"


def answer_splunk(handler, step, records):
    for i, record in enumerate(records):
        if is_poisoned(step, record):
            handler.store.refuse()
            error = {"text": "Invalid data format", "code": 6, "invalid-event-number": i}
            raise Refused(400, json.dumps(error))
    handler.store.take("splunk", records)
    return 200, b'{"text":"Success","code":0}', "application/json"


def encode_varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def answer_otlp(handler, step, records):
    rejected, reason = 0, "by script"
    if any(is_poisoned(step, record) for record in records):
        handler.store.refuse()
        raise Refused(400, b"\x08\x03\x12\x06poison", "application/x-protobuf")
    if step["do"] == "partial":
        rejected = min(step.get("rejected", 1), len(records))
        handler.store.refuse(rejected)
    handler.store.take("otlp", records[: len(records) - rejected])
    if handler.content_type == "application/json":
        partial = {"rejectedLogRecords": str(rejected), "errorMessage": reason}
        reply = json.dumps({"partialSuccess": partial} if rejected else {}).encode()
    elif rejected:
        inner = b"\x08" + encode_varint(rejected) + b"\x12" + encode_varint(len(reason)) + reason.encode()
        reply = b"\x0a" + encode_varint(len(inner)) + inner
    else:
        reply = b""
    return 200, reply, handler.content_type


def answer_plain(handler, step, records):
    if any(is_poisoned(step, record) for record in records):
        handler.store.refuse()
        raise Refused(400, "poison\n", "text/plain")
    handler.store.take("http", records)
    return 200, b"ok\n", "text/plain"


def protocol_of(path):
    if path == "/loki/api/v1/push":
        return "Loki", read_loki, answer_loki
    if path == "/_bulk" or re.fullmatch(r"/[^/]+/_bulk", path):
        return "Elasticsearch", read_elastic, answer_elastic
    if path in ("/services/collector/event", "/services/collector"):
        return "Splunk", read_splunk, answer_splunk
    if path == "/v1/logs":
        return "OTLP", read_otlp, answer_otlp
    plain = {"/ndjson": read_ndjson, "/json": read_json_array, "/text": read_text}
    if path in plain:
        return "HTTP", plain[path], answer_plain
    raise Refused(404, "404 page not found\n", "text/plain", violation=f"no such path: {path}")


def decoded(body, encoding):
    if not encoding:
        return body
    if encoding == "gzip":
        try:
            return gzip.decompress(body)
        except (OSError, EOFError) as error:
            raise Refused(400, str(error), "text/plain", violation=f"gzip: {error}") from None
    if encoding == "zstd":
        done = subprocess.run(["zstd", "-dcq"], input=body, capture_output=True, check=False)
        if done.returncode == 0:
            return done.stdout
        raise Refused(400, done.stderr, "text/plain", violation=f"zstd: {done.stderr!r}")
    raise Refused(415, encoding, "text/plain", violation=f"content encoding {encoding}")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = None

    @property
    def store(self):
        return self.server.store

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.store.lock:
            self.store.connections += 1

    def read_body(self):
        if self.headers.get("Transfer-Encoding"):
            raise Refused(411, "", violation="a body without Content-Length")
        length = int(self.headers.get("Content-Length", "-1"))
        if not 0 <= length <= MAX_BODY:
            raise Refused(411, "", violation="no usable Content-Length")
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError
        with self.store.lock:
            self.store.requests += 1
            self.store.bytes += length
        return body

    def answer(self, status, body=b"", content_type=None, headers=None):
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        for name, value in (headers or {}).items():
            self.send_header(name, str(value))
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def check_authorization(self):
        authorization = self.headers.get("Authorization", "")
        if authorization == "":
            raise splunk_error(401, "Token is required", 2)
        if not authorization.startswith("Splunk "):
            raise splunk_error(401, "Invalid authorization", 3)
        if self.server.token and authorization != f"Splunk {self.server.token}":
            raise splunk_error(403, "Invalid token", 4)

    def run_step(self, step, body):
        """Returns the answer, or None when there is to be none."""
        name, read, answer = protocol_of(self.path_only)
        if step["do"] == "status":
            text = base64.b64decode(step["body_b64"]) if "body_b64" in step else step.get("body", "").encode()
            raise Refused(step["status"], text, step.get("type", "text/plain"), step.get("headers"))
        if step["do"] == "close":
            return None
        if step["do"] == "hang":
            self.store.hang()
            return None
        if step["do"] == "slow":
            time.sleep(step.get("delay_ms", 100) / 1000)
        self.content_type = self.headers.get("Content-Type", "")
        body = decoded(body, self.headers.get("Content-Encoding"))
        if len(body) > step.get("max_body", MAX_BODY):
            raise Refused(413, "request entity too large\n", "text/plain")
        if name == "Splunk":
            self.check_authorization()
        try:
            records = read(body, self.content_type)
        except ValueError as error:
            text = es_error(str(error)) if name == "Elasticsearch" else str(error)
            raise Refused(400, text, violation=f"{name}: {error}") from None
        result = answer(self, step, records)
        if step["do"] == "take_and_hang":
            self.store.hang()
        return None if step["do"].startswith("take_and") else result

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        self.path_only, self.query = url.path, urllib.parse.parse_qs(url.query)
        try:
            body = self.read_body()
            result = self.run_step(self.store.next_step(), body)
            if result is None:
                self.close_connection = True
            else:
                self.answer(*result)
        except Refused as refused:
            if refused.violation:
                self.store.violate(refused.violation)
            self.answer(refused.status, refused.body, refused.content_type, refused.headers)
        except ConnectionError:
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True
    token = None
    context = None

    def __init__(self, port, handler, store):
        self.store = store
        self.open = set()
        super().__init__(("127.0.0.1", port), handler)

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.store.violate(f"the receiver itself failed: {error!r}")

    def process_request_thread(self, request, client_address):
        # On the connection's own thread, so that a slow handshake holds up nobody.
        if self.context:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                request.close()
                return
        self.open.add(request)
        super().process_request_thread(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def cut_all(self):
        for request in list(self.open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class DataPort:
    """The data port, which can be closed and opened again under the same number."""

    def __init__(self, options, store):
        self.options, self.store = options, store
        self.port, self.server = options.port, None
        self.open()

    def open(self):
        if self.server:
            return
        self.server = Server(self.port, Handler, self.store)
        self.server.token = self.options.token
        if self.options.cert:
            self.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.server.context.load_cert_chain(self.options.cert, self.options.key)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        server, self.server = self.server, None
        if server:
            server.shutdown()
            server.socket.close()
            server.cut_all()


STEPS = {"ok", "status", "close", "take_and_close", "hang", "take_and_hang", "slow", "items", "partial"}


class Control(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        store = self.server.store
        if url.path == "/stats":
            self.reply(200, json.dumps(store.stats()).encode() + b"\n")
        elif url.path == "/taken":
            wanted = urllib.parse.parse_qs(url.query).get("protocol", [None])[0]
            with store.lock:
                order = list(store.order)
            lines = (json.dumps(told) + "\n" for protocol, told in order if wanted in (None, protocol))
            self.reply(200, "".join(lines).encode())
        else:
            self.reply(404, b"{}\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            self.command_of(self.path, json.loads(body) if body else None)
            self.reply(200, b"{}\n")
        except (ValueError, KeyError, TypeError) as error:
            self.reply(400, json.dumps({"error": str(error)}).encode() + b"\n")

    def command_of(self, path, value):
        store, data = self.server.store, self.server.data
        if path == "/script":
            for step in value:
                need(step["do"] in STEPS, f"no such step: {step['do']}")
            with store.lock:
                store.script += value
        elif path == "/mode":
            need(value["do"] in STEPS or value["do"] == "refuse", f"no such mode: {value['do']}")
            with store.lock:
                store.mode = value
            if value["do"] == "refuse":
                data.close()
                store.release()
            else:
                data.open()
        elif path == "/release":
            store.release()
        elif path == "/forget":
            with store.lock:
                store.forget()
        else:
            raise ValueError(f"no such path: {path}")


def end_with_input():
    """Whoever has started us has ended."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main():
    parser = argparse.ArgumentParser(description="A strict receiver for tests; see its beginning.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--no-keep", action="store_true")
    parser.add_argument("--token")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *args: os._exit(0))
    store = Store(keep=not options.no_keep)
    data = DataPort(options, store)
    control = Server(options.control_port, Control, store)
    control.data = data
    ready = {"port": data.port, "control_port": control.server_address[1], "pid": os.getpid()}
    print(json.dumps(ready), flush=True)
    if not os.isatty(0) and os.fstat(0).st_mode & 0o170000 == 0o010000:
        threading.Thread(target=end_with_input, daemon=True).start()
    control.serve_forever()


if __name__ == "__main__":
    main()
