#!/usr/bin/env python3
"""A real Prometheus scrapes three ringtails and evaluates all that dashboard and rules say.

live.py RINGTAIL RINGTAIL-SIM PROMETHEUS

All follow a simulated Engine; one writes files, what the second writes is read too slowly, and what the
third writes nobody reads. Every expression has to give data. Then things are made to go wrong, and have to fire their alerts. A minute in the rules
is two seconds here.
"""

import sys

sys.dont_write_bytecode = True

import contextlib
import http.server
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import monitoring

MINUTE_S = 2
PATIENCE_S = 120


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def quick(text):
    """Minutes as durations of a test."""
    text = re.sub(r"(\[|offset |for: )(\d+)m\b", lambda m: f"{m[1]}{int(m[2]) * MINUTE_S}s", text)
    return text.replace("$__rate_interval", f"{5 * MINUTE_S}s")


def wait_for(what, look):
    end = time.monotonic() + PATIENCE_S
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"waited for {PATIENCE_S} s: {what()}" if callable(what) else f"waited: {what}")
        time.sleep(0.2)


class Case:
    """The processes, all ended with it."""

    def __init__(self, ringtail, sim, prometheus):
        self.programs = (ringtail, sim, prometheus)
        self.work = tempfile.mkdtemp(prefix="ringtail-live-")
        self.socket = os.path.join(self.work, "engine.sock")
        self.children = []

    def start(self, name, *command, **how):
        with open(os.path.join(self.work, name), "wb") as log:
            how.setdefault("stdout", log)
            child = subprocess.Popen(command, stderr=log, start_new_session=True, **how)
        self.children.append(child)
        return child

    def log(self, name):
        with open(os.path.join(self.work, name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def start_sim(self):
        sim = self.start(
            "sim.log", self.programs[1], "--socket", self.socket, "--containers", "4", "--rate", "40",
            "--bytes", "2000", "--stderr-percent", "20", "--log-opt", "max-size=60k", "--log-opt", "max-file=1",
        )
        wait_for("the simulated Engine", lambda: os.path.exists(self.socket))
        return sim

    def start_receiver(self):
        """The address of one that accepts whatever is posted."""
        class Accept(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Accept)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    def start_ringtail(self, name, output, *more, **how):
        """The process, and the instance that Prometheus calls it."""
        settings = (
            "admin.port=0", "stream.rotation_interval=3s", "stream.stuck_grace=5s", "queue.max_bytes=1MiB",
            "metrics.heartbeat_interval=1s", "discovery.resync_interval=1s", "run.grace_period=0",
            "log.format=json", *more,
        )
        child = self.start(
            f"{name}.log", self.programs[0], "run", "--engine", f"unix://{self.socket}", "--output", output,
            *(word for setting in settings for word in ("--set", setting)), **how,
        )
        look = lambda: re.search(r'"Admin endpoint".*"port":(\d+)', self.log(f"{name}.log"))
        return child, "127.0.0.1:" + wait_for("ringtail's admin endpoint", look)[1]

    def read_slowly(self, pipe, bytes_per_s):
        """Until the other end closes."""

        def read():
            while os.read(pipe, bytes_per_s // 10):
                time.sleep(0.1)

        threading.Thread(target=read, daemon=True).start()

    def start_prometheus(self, instances):
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        with open(monitoring.RULES, encoding="utf-8") as file:
            rules = quick(file.read())
        with open(os.path.join(self.work, "rules.yml"), "w", encoding="utf-8") as file:
            file.write(rules)
        with open(os.path.join(self.work, "prometheus.yml"), "w", encoding="utf-8") as file:
            # What is JSON is YAML.
            json.dump({
                "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
                "rule_files": ["rules.yml"],
                "scrape_configs": [{"job_name": "ringtail", "static_configs": [{"targets": instances}]}],
            }, file)
        self.start(
            "prometheus.log", self.programs[2], f"--config.file={self.work}/prometheus.yml",
            f"--storage.tsdb.path={self.work}/data", f"--web.listen-address=127.0.0.1:{port}",
        )
        wait_for(lambda: "Prometheus; " + self.log("prometheus.log")[-1000:], self.is_up)

    def is_up(self):
        try:
            return len(self.query("up == 1")) == 3
        except (OSError, urllib.error.URLError):
            return False

    def api(self, path, **query):
        address = f"{self.address}/api/v1/{path}?" + urllib.parse.urlencode(query)
        with urllib.request.urlopen(address, timeout=10) as reply:
            return json.load(reply)["data"]

    def query(self, expression):
        """The samples; a query that Prometheus refuses raises."""
        data = self.api("query", query=expression)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return data["result"]

    def has_data(self, expression):
        return any(not math.isnan(float(sample["value"][1])) for sample in self.query(expression))

    def firing(self):
        return {
            (alert["labels"]["alertname"], alert["labels"]["instance"])
            for alert in self.api("alerts")["alerts"] if alert["state"] == "firing"
        }

    def close(self):
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        shutil.rmtree(self.work)


def selectors(expression):
    """What an alert looks at: every metric with its labels, without ranges, offsets and comparisons."""
    return re.findall(r"(?:log_capturer_\w+|\bup)(?:\{[^}]*\})?", expression)


def without_data(case, expressions):
    """Of (place, expression) pairs those that give nothing, once each had the time to."""
    missing = list(expressions)
    end = time.monotonic() + PATIENCE_S
    while missing and time.monotonic() < end:
        missing = [pair for pair in missing if not case.has_data(pair[1])]
        time.sleep(0.5)
    return missing


def main():
    ringtail, sim, prometheus = sys.argv[1:]
    if not os.access(prometheus, os.X_OK):
        print("no prometheus (scripts/install test)")
        return 77
    case = Case(ringtail, sim, prometheus)
    number = 0

    def passed(title):
        nonlocal number
        number += 1
        print(f"ok {number} - {title}", flush=True)

    print("1..7")
    try:
        engine = case.start_sim()
        _, good = case.start_ringtail(
            "good", os.path.join(case.work, "out"), "sinks.web.type=http", f"sinks.web.url={case.start_receiver()}",
            f"spool.path={case.work}/spool",
        )
        unread, write_end = os.pipe()
        dead_process, dead = case.start_ringtail("dead", "stdout", stdout=write_end)
        os.close(write_end)
        slowly_read, write_end = os.pipe()
        _, slow = case.start_ringtail("slow", "stdout", stdout=write_end)
        os.close(write_end)
        case.read_slowly(slowly_read, 100_000)
        case.start_prometheus([good, dead, slow])

        panels = [
            (f"panel {title}", quick(re.sub(r"\$(instance|container)\b", ".*", text)))
            for dashboard in monitoring.dashboards().values() for title, text in monitoring.expressions(dashboard)
        ]
        assert len(panels) > 50
        missing = without_data(case, panels)
        assert not missing, "no data: " + "; ".join(f"{place}: {text}" for place, text in missing)
        passed(f"each of {len(panels)} expressions of the dashboard gives data")

        looked_at = [
            (f"{kind} {name}", text if kind == "record" else part)
            for kind, name, text in monitoring.rules() for part in ([text] if kind == "record" else selectors(text))
        ]
        looked_at = [(place, quick(text)) for place, text in looked_at]
        missing = without_data(case, looked_at)
        assert not missing, "no data: " + "; ".join(f"{place}: {text}" for place, text in missing)
        health = [rule for group in case.api("rules")["groups"] for rule in group["rules"]]
        wrong = [f"{rule['name']}: {rule.get('lastError')}" for rule in health if rule["health"] != "ok"]
        assert len(health) == len(monitoring.rules()) and not wrong, "; ".join(wrong)
        passed(f"each of {len(health)} rules is evaluated, and there is data of all that it looks at")

        wait_for(lambda: f"the alert of a dead output; firing: {case.firing()}",
                 lambda: ("RingtailOutputStalled", dead) in case.firing())
        passed("an output that takes nothing fires its alert")
        wait_for(lambda: f"the alert of a container at risk; firing: {case.firing()}",
                 lambda: ("RingtailContainerAtRisk", slow) in case.firing())
        passed("a container whose lines are read too late fires its alert")
        assert not {name for name, instance in case.firing() if instance == good}, f"{case.firing()}"
        passed("where all is well nothing fires")

        os.killpg(engine.pid, signal.SIGSTOP)
        wait_for(lambda: f"the alert of a stuck stream; firing: {case.firing()}",
                 lambda: ("RingtailStreamStuck", good) in case.firing())
        passed("an Engine that answers no more makes stuck streams, which fire their alert")

        os.killpg(dead_process.pid, signal.SIGKILL)
        wait_for(lambda: f"the alert of a ringtail that is gone; firing: {case.firing()}",
                 lambda: ("RingtailDown", dead) in case.firing())
        passed("a ringtail that is gone fires its alert")
        os.close(unread)
        return 0
    except AssertionError as reason:
        print(f"not ok {number + 1} - {reason}")
        for name in ("good.log", "dead.log", "slow.log"):
            print("".join(f"# {name}: {line}\n" for line in case.log(name).splitlines()[-10:]))
        return 1
    finally:
        case.close()


if __name__ == "__main__":
    sys.exit(main())
