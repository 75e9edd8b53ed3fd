"""The file of results: perf/results/<date>.json.

    {"schema": 1, "machine": {…}, "date": "…", "commit": "…",
     "results": [{"benchmark": "W1", "program": "ringtail", "params": {…}, "metric": "cpu_us_per_line",
                  "unit": "µs", "values": […], "better": "less" | "more", "checked": {"lost": 0, …}}],
     "histograms": [{"benchmark": "W2", "program": "ringtail", "unit": "µs", "buckets": [[upper, count], …]}]}

Values are one per run; faults are summed over the runs. Who measures without an Engine may say in
words what was checked. Histograms are of all runs together.
"""

import datetime
import json
import os
import statistics

from lib import machine
from lib.say import Trouble

SCHEMA = 1


def new():
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "schema": SCHEMA,
        "machine": machine.describe(),
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(),
        "results": [],
        "histograms": [],
    }


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError) as error:
        raise Trouble(f"{path} can't be read: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise Trouble(f"{path} is not a file of results of schema {SCHEMA}")
    data.setdefault("histograms", [])
    return data


def merged(paths):
    """One set of results from several files; the first says of which machine and date they are."""
    first, *others = [load(path) for path in paths]
    for other in others:
        first["results"] += other["results"]
        first["histograms"] += other["histograms"]
    return first


def save(data, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.write("\n")
    os.replace(path + ".new", path)


def middle(result):
    return statistics.median(result["values"])
