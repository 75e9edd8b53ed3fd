#!/usr/bin/env python3
"""perf/outage's receiver: test_outage.py PATH_OF_OUTAGE_RECEIVER. What it takes, and what it finds wrong."""

import gzip
import http.client
import json
import subprocess
import sys
import unittest

RECEIVER = sys.argv.pop()


def body(container, numbers):
    values = [["1", f"c={container} s=o n={n} text", {"container_id": container}] for n in numbers]
    return json.dumps({"streams": [{"stream": {"host": "h"}, "values": values}]}).encode()


class OutageReceiver(unittest.TestCase):
    def setUp(self):
        self.process = subprocess.Popen([RECEIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.answer()["port"], timeout=60)

    def tearDown(self):
        self.connection.close()
        self.process.stdin.close()
        self.assertEqual(0, self.process.wait(60))
        self.process.stdout.close()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def tell(self, command):
        self.process.stdin.write(command + b"\n")
        self.process.stdin.flush()

    def stats(self):
        self.tell(b"stats")
        return self.answer()

    def push(self, content, path="/loki/api/v1/push", **headers):
        self.connection.request("POST", path, content, headers)
        reply = self.connection.getresponse()
        reply.read()
        return reply.status

    def test_lines_in_order_are_counted(self):
        for first in range(0, 100, 10):
            for container in ("a", "b"):
                self.assertEqual(204, self.push(body(container, range(first, first + 10))))
        packed = gzip.compress(body("a", range(100, 20000)))
        self.assertEqual(204, self.push(packed, **{"Content-Encoding": "gzip"}))
        self.assertEqual(
            {"requests": 21, "lines": 20100, "containers": 2, "repeated": 0, "missing": 0, "bad": 0}, self.stats()
        )

    def test_what_comes_again_or_not_at_all_is_seen(self):
        self.assertEqual(204, self.push(body("a", [0, 1, 2, 1, 2, 3, 6])))
        found = self.stats()
        self.assertEqual((5, 2, 2), (found["lines"], found["repeated"], found["missing"]))

    def test_what_is_no_push_is_refused(self):
        for content in (b"", b"{}", b"[", body("a", [0]).replace(b"n=0", b"n=x"), body("a", [0]) + b"x"):
            self.assertEqual(400, self.push(content))
        self.assertEqual(400, self.push(body("a", [0]), "/other"))
        self.assertEqual(400, self.push(body("a", [0]), **{"Content-Encoding": "gzip"}))
        self.assertEqual((7, 0), (self.stats()["bad"], self.stats()["lines"]))

    def test_what_waits_is_not_taken_and_is_hung_up_on(self):
        self.tell(b"hang")
        self.stats()
        self.connection.request("POST", "/loki/api/v1/push", body("a", [0]))
        self.tell(b"ok")
        while True:
            try:
                status = self.connection.getresponse().status
            except (ConnectionError, http.client.HTTPException):
                break
            # The request came only when it was over.
            self.assertEqual(204, status)
            return
        self.assertEqual(0, self.stats()["lines"])
        self.connection.close()
        self.assertEqual(204, self.push(body("a", [0])))


if __name__ == "__main__":
    unittest.main()
