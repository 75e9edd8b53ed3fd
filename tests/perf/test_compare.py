#!/usr/bin/env python3
"""perf/compare with results made by hand: what counts as a change, and what a file must look like."""

import sys

sys.dont_write_bytecode = True

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

LOADER = importlib.machinery.SourceFileLoader("compare", f"{ROOT}/perf/compare")
COMPARE = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", LOADER))
LOADER.exec_module(COMPARE)


def result(values, **other):
    whole = {
        "benchmark": "micro/x",
        "program": "ringtail",
        "params": {"streams": 1},
        "metric": "ns_per_line",
        "unit": "ns",
        "values": values,
        "better": "less",
        "checked": {},
    }
    whole.update(other)
    return whole


class Compare(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def compare_texts(self, old, new):
        out, err = io.StringIO(), io.StringIO()
        arguments = [self.write("a.json", old), self.write("b.json", new)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = COMPARE.main(arguments)
        return code, out.getvalue(), err.getvalue()

    def compare(self, old, new):
        """Exit code and output for two lists of results."""
        texts = [json.dumps({"schema": 1, "results": some}) for some in (old, new)]
        code, out, err = self.compare_texts(*texts)
        self.assertEqual("", err)
        return code, out

    def refusal(self, old, new='{"results": []}'):
        code, out, err = self.compare_texts(old, new)
        self.assertEqual((2, ""), (code, out))
        return err

    def test_more_time_beyond_noise_is_worse_and_exits_with_1(self):
        code, out = self.compare([result([100, 101, 99])], [result([110, 111, 109])])
        self.assertEqual(1, code)
        self.assertIn("worse:\n  micro/x ringtail streams=1: ns_per_line 100 -> 110 ns (+10.0 %", out)
        self.assertIn("1 worse, 0 better, 0 the same", out)

    def test_less_time_beyond_noise_is_better(self):
        code, out = self.compare([result([100, 101, 99])], [result([90, 91, 89])])
        self.assertEqual(0, code)
        self.assertIn("better:\n", out)

    def test_where_more_is_better_less_is_worse(self):
        old, new = result([10], better="more"), result([9], better="more")
        self.assertEqual(1, self.compare([old], [new])[0])
        self.assertEqual(0, self.compare([new], [old])[0])

    def test_three_percent_is_no_change(self):
        code, out = self.compare([result([100])], [result([103])])
        self.assertEqual(0, code)
        self.assertIn("0 worse, 0 better, 1 the same", out)

    def test_a_change_within_the_spread_of_either_side_is_none(self):
        steady, scattered = [100, 100, 100], [90, 110, 130]
        self.assertIn("1 the same", self.compare([result(steady)], [result(scattered)])[1])
        self.assertIn("1 the same", self.compare([result(scattered)], [result(steady)])[1])

    def test_one_outlier_among_many_runs_hides_nothing(self):
        old = [100, 100, 100, 100, 100, 100, 100, 100, 900]
        self.assertEqual(1, self.compare([result(old)], [result([110] * 9)])[0])

    def test_one_percent_more_instructions_is_worse(self):
        old, new = (result([n], unit="instructions") for n in (1000, 1010))
        self.assertEqual(1, self.compare([old], [new])[0])
        self.assertEqual(0, self.compare([old], [dict(new, values=[1004])])[0])

    def test_from_nothing_to_something_is_worse(self):
        code, out = self.compare([result([0])], [result([2])])
        self.assertEqual(1, code)
        self.assertIn("from 0", out)

    def test_results_without_better_are_never_worse(self):
        self.assertEqual(0, self.compare([result([1], better=None)], [result([9], better=None)])[0])

    def test_entries_of_one_side_are_named_and_fail_nothing(self):
        code, out = self.compare(
            [result([1]), result([1], program="curl")], [result([1]), result([1], metric="rss")]
        )
        self.assertEqual(0, code)
        self.assertIn("only in the first:\n  micro/x curl streams=1 ns_per_line\n", out)
        self.assertIn("only in the second:\n  micro/x ringtail streams=1 rss\n", out)

    def test_other_params_are_another_entry(self):
        err = self.refusal(
            json.dumps({"results": [result([1])]}),
            json.dumps({"results": [result([9], params={"streams": 2})]}),
        )
        self.assertIn("nothing in common", err)

    def test_other_units_are_not_compared(self):
        code, out = self.compare([result([1])], [result([1000], unit="ps")])
        self.assertEqual(0, code)
        self.assertIn("other units:\n  micro/x ringtail streams=1 ns_per_line: ns -> ps\n", out)

    def test_bad_files_are_refused_with_the_reason(self):
        def whole(*some):
            return json.dumps({"results": some})

        for text, reason in (
            ("", "not JSON"),
            ("[]", "no list 'results'"),
            ('{"results": {}}', "no list 'results'"),
            ('{"schema": 2, "results": []}', "schema 2 is not 1"),
            (whole(3), "result 0 is not an object"),
            (whole(result([1]), result([])), "result 1 has no list of numbers 'values'"),
            (whole(result([True])), "has no list of numbers 'values'"),
            (whole(result([1], program=None)), "has no text 'program'"),
            (whole(result([1], params=[])), "'params' that are not an object"),
            (whole(result([1], better="bigger")), "neither 'less' nor 'more'"),
            (whole(result([1]), result([2])), "result 1 is there twice"),
        ):
            with self.subTest(text=text):
                self.assertIn(reason, self.refusal(text))

    def test_a_file_that_is_not_there_is_named(self):
        done = subprocess.run(
            [f"{ROOT}/perf/compare", "/nowhere/a.json", "/nowhere/b.json"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(2, done.returncode)
        self.assertIn("/nowhere/a.json: No such file or directory", done.stderr)

    def test_help_tells_the_exit_codes(self):
        done = subprocess.run(
            [f"{ROOT}/perf/compare", "--help"], capture_output=True, text=True, check=True
        )
        self.assertIn("1 something did", done.stdout)


if __name__ == "__main__":
    unittest.main()
