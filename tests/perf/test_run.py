#!/usr/bin/env python3
"""perf/run's own parts: what finds a wrong output, what counts ages, what shows results."""

import sys

sys.dont_write_bytecode = True

import os
import struct
import tempfile
import unittest
import xml.dom.minidom

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../perf"))

from lib import check, frames, histogram, plots, report, tables
from lib.engine import Container, Writer

LINES = 20


def line(name, letter, number, size=40):
    text = f"{name} {letter} {number} ".encode()
    return text + bytes(ord("a") + i % 26 for i in range(len(text), size))


def written(name):
    """What a container writes: every fifth line is stderr's."""
    numbers = {"o": 0, "e": 0}
    for i in range(1, LINES + 1):
        letter = "e" if i % 5 == 0 else "o"
        numbers[letter] += 1
        yield letter.encode(), line(name, letter, numbers[letter])


class Outputs(unittest.TestCase):
    def setUp(self):
        self.containers = [Container("0", Writer(name, LINES, 40)) for name in ("c0", "c1")]
        self.right = self.taken(self.lines())

    @staticmethod
    def lines():
        return [(b"c0", *entry) for entry in written("c0")] + [
            (b"c1", *entry) for entry in written("c1")
        ]

    def taken(self, lines):
        found = check.Check(self.containers)
        for name, stream, text in lines:
            found.take(text, name, stream)
        return found

    def wrong(self, lines, one_order=True):
        found = self.taken(lines).compared(self.right, one_order)
        return {kind: count for kind, count in found.items() if count}

    def test_the_same_lines_are_right(self):
        self.assertEqual({}, self.wrong(self.lines()))
        self.assertEqual(2 * LINES, self.right.count())

    def test_a_lost_line_is_found(self):
        lines = self.lines()
        del lines[7]
        self.assertEqual({"lost": 1}, self.wrong(lines))

    def test_a_doubled_line_is_found(self):
        lines = self.lines()
        lines.insert(9, lines[3])
        self.assertEqual({"doubled": 1}, self.wrong(lines))

    def test_a_moved_line_is_found(self):
        lines = self.lines()
        lines.insert(0, lines.pop(2))
        self.assertEqual(2, self.wrong(lines)["out_of_order"])

    def test_streams_in_another_order_are_found_where_that_is_kept(self):
        lines = self.lines()
        lines[3], lines[4] = lines[4], lines[3]
        self.assertEqual({"out_of_order": 2}, self.wrong(lines))
        self.assertEqual({}, self.wrong(lines, one_order=False))

    def test_one_wrong_byte_garbles_a_line(self):
        for at in range(40):
            lines = self.lines()
            name, stream, text = lines[0]
            lines[0] = (name, stream, text[:at] + b"#" + text[at + 1 :])
            self.assertEqual({"garbled": 1, "lost": 1}, self.wrong(lines), at)

    def test_another_name_or_stream_garbles_a_line(self):
        for name, stream in ((b"c1", b"o"), (b"c0", b"e")):
            lines = self.lines()
            lines[0] = (name, stream, lines[0][2])
            self.assertEqual({"garbled": 1, "lost": 1}, self.wrong(lines))


class Frames(unittest.TestCase):
    def lines_of(self, data):
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            return list(frames.lines(file.name))

    @staticmethod
    def frame(kind, text):
        payload = b"2006-01-02T15:04:05.000000000Z " + text
        return struct.pack(">BxxxI", kind, len(payload)) + payload

    def test_parts_of_a_stream_are_one_line(self):
        data = self.frame(1, b"ab") + self.frame(2, b"x\n") + self.frame(1, b"c\n")
        self.assertEqual([(b"e", b"x"), (b"o", b"abc")], self.lines_of(data))

    def test_every_cut_ends_with_the_last_whole_line(self):
        data = self.frame(1, b"ab\n") + self.frame(1, b"c\n")
        for cut in range(len(data)):
            whole = [(b"o", b"ab")] if cut >= len(self.frame(1, b"ab\n")) else []
            self.assertEqual(whole, self.lines_of(data[:cut]))


class Histograms(unittest.TestCase):
    def test_every_number_is_in_the_first_bucket_that_reaches_it(self):
        for number in [*range(5000), 2**40 - 1, 2**40, 2**40 + 1]:
            bucket = histogram.bucket_of(number)
            self.assertGreaterEqual(histogram.upper_of(bucket), number)
            if bucket:
                self.assertLess(histogram.upper_of(bucket - 1), number)

    def test_percentiles_are_within_a_bucket(self):
        counted = histogram.Histogram()
        for number in range(1, 10001):
            counted.add(number)
        for percent in (50, 90, 99, 99.9):
            exact = 100 * percent
            self.assertGreaterEqual(counted.percentile(percent), exact)
            self.assertLessEqual(counted.percentile(percent), exact * (1 + 2 / histogram.PARTS))
        self.assertEqual(10000, counted.percentile(100))


def result(program, values, **params):
    return {
        "benchmark": "W1",
        "program": program,
        "params": params,
        "metric": "wall_s",
        "unit": "s",
        "values": values,
        "better": "less",
        "checked": {"lost": 0, "doubled": 2},
    }


class Reports(unittest.TestCase):
    def data(self, results):
        return {
            "machine": {"cpu": "<x>", "cores": 2},
            "date": "",
            "commit": "",
            "results": results,
            "histograms": [],
        }

    def test_the_table_has_median_spread_best_and_faults(self):
        text = tables.markdown(
            self.data([result("curl", [4.0, 2.0, 3.0]), result("ringtail", [1.5])])
        )
        self.assertIn("|  | ringtail | curl | ringtail ÷ best other |", text)
        self.assertIn("| wall time, s | **1.50** | 3.00 (2.00–4.00) | 0.50 |", text)
        self.assertIn("| lost, doubled | 2 doubled | 2 doubled |  |", text)

    def test_every_drawing_is_well_formed(self):
        results = [result("ringtail", [1.5, 1.6]), result("a<b", [0])]
        grown = [result("ringtail", [float(n)], streams=n) for n in (1, 10, 100)]
        for some in (results, grown):
            drawings = plots.of_benchmark(self.data(some), "W1")
            self.assertEqual(["wall_s"], list(drawings))
            xml.dom.minidom.parseString(drawings["wall_s"])

    def test_drawings_to_show_are_files_of_their_own(self):
        programs = (result("ringtail", [1.5]), result("curl", [2.5]))
        data = self.data([{**program, "metric": "cpu_us_per_line"} for program in programs])
        with tempfile.TemporaryDirectory() as directory:
            written = report.write_drawings(data, directory)
            self.assertEqual(["w1-cpu-us-per-line.svg"], [os.path.basename(path) for path in written])
            xml.dom.minidom.parse(written[0])


if __name__ == "__main__":
    unittest.main()
