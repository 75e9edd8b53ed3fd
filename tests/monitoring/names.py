#!/usr/bin/env python3
"""Compares dashboard and rules with the metrics that there are, and has promtool test the rules.

names.py RINGTAIL PROMTOOL
"""

import sys

sys.dont_write_bytecode = True

import os
import re
import subprocess

import monitoring

# Panels that the program before had; their expressions are a contract with its users.
CONTRACT = {
    "Stream rotations": ("rate(log_capturer_container_stream_rotations_total", "[5m])"),
    "Time since last rotation": ("time() - log_capturer_container_last_rotation_timestamp",),
    "Activities per stream": ("log_capturer_goroutines", " / log_capturer_container_streams_active"),
    "Rotation errors": ("rate(log_capturer_container_stream_errors_total", 'error_type="rotation_stuck"', "[5m])"),
}


def known_metrics(ringtail):
    """Names as they may stand in an expression."""
    page = subprocess.run([ringtail, "metrics"], stdout=subprocess.PIPE, text=True, check=True).stdout
    known = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.M):
        known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return known


def names_problems(ringtail):
    known = known_metrics(ringtail)
    recorded = {name for kind, name, _ in monitoring.rules() if kind == "record"}
    places = [(f"rule {name}", expression) for _, name, expression in monitoring.rules()]
    for file, dashboard in monitoring.dashboards().items():
        places += [(f"{file}: {title}", text) for title, text in monitoring.expressions(dashboard)]
        places += [(f"{file}: variable", str(v["query"])) for v in dashboard["templating"]["list"]]
    assert len(known) > 50 and recorded and len(places) > 50, "nothing was compared"
    for place, expression in places:
        for name in monitoring.METRIC.findall(expression):
            if name not in known:
                yield f"{place}: there is no metric {name}"
        for name in monitoring.RECORDED.findall(expression):
            if name not in recorded:
                yield f"{place}: no rule records {name}"


def dashboard_problems():
    for file, dashboard in monitoring.dashboards().items():
        ids = [panel["id"] for panel in dashboard["panels"]]
        if len(ids) != len(set(ids)):
            yield f"{file}: a panel's id is there twice"
        cells = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            if own & cells or max(x for x, _ in own) > 23:
                yield f"{file}: {panel['title']} lies over another panel, or beside the page"
            cells |= own
    said = dict(monitoring.expressions(monitoring.dashboards()["container-stream-health.json"]))
    for title, parts in CONTRACT.items():
        for part in parts:
            if part not in said.get(title, ""):
                yield f"the panel {title} has no {part}"


def promtool_problems(promtool):
    directory = os.path.dirname(monitoring.RULES)
    for arguments in (
        ("check", "rules", os.path.basename(monitoring.RULES)),
        ("test", "rules", "ringtail.rules_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ):
        result = subprocess.run(
            [promtool, *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )
        if result.returncode != 0:
            yield f"promtool {' '.join(arguments)}: {result.stdout}"


def untested_problems():
    """Every alert fires in a test of promtool's."""
    with open(os.path.join(os.path.dirname(monitoring.RULES), "ringtail.rules_test.yml"), encoding="utf-8") as file:
        tests = file.read()
    for kind, name, _ in monitoring.rules():
        if (f'alertname="{name}"' if kind == "alert" else f"expr: {name}\n") not in tests:
            yield f"no test has {name}"


def main():
    ringtail, promtool = sys.argv[1:]
    if not os.access(promtool, os.X_OK):
        print("no promtool (scripts/install test)")
        return 77
    checks = (
        ("every metric of dashboard and rules exists", names_problems(ringtail)),
        ("the dashboard has the panels that users know, none over another", dashboard_problems()),
        ("promtool accepts rules and configuration, and its tests of the rules pass", promtool_problems(promtool)),
        ("every alert and every recorded series has a test", untested_problems()),
    )
    failed = False
    print(f"1..{len(checks)}")
    for number, (title, problems) in enumerate(checks, 1):
        told = list(problems)
        failed = failed or bool(told)
        print(f"{'not ok' if told else 'ok'} {number} - {title}")
        for problem in told:
            print("# " + problem.replace("\n", "\n# "))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
