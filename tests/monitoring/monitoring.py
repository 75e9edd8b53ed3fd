"""What dashboard and rules say, for the tests of them."""

import glob
import json
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RULES = os.path.join(ROOT, "monitoring/prometheus/ringtail.rules.yml")
DASHBOARDS = os.path.join(ROOT, "monitoring/grafana/dashboards")

METRIC = re.compile(r"(?<![\w:])(?:log_capturer|process)_\w+")
RECORDED = re.compile(r"(?<![\w:])\w+:log_capturer_\w+:\w+")
# An entry of a rule file begins with one of these; its expression is a line, or an indented block.
RULE = re.compile(r"^ +- (alert|record): (\S+)\n((?: {8}.*\n| *#.*\n)+)", re.M)
EXPRESSION = re.compile(r"^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", re.M)


def rules():
    """(alert or record, name, expression) of every rule."""
    with open(RULES, encoding="utf-8") as file:
        text = file.read()
    found = []
    for kind, name, body in RULE.findall(text):
        block, line = EXPRESSION.search(body).groups()
        found.append((kind, name, " ".join((block or line).split())))
    return found


def dashboards():
    """{file name: the dashboard}"""
    found = {}
    for path in sorted(glob.glob(os.path.join(DASHBOARDS, "*.json"))):
        with open(path, encoding="utf-8") as file:
            found[os.path.basename(path)] = json.load(file)
    return found


def panels(dashboard):
    """All panels that are no rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard):
    """(panel's title, expression) of every target."""
    return [(panel["title"], target["expr"]) for panel in panels(dashboard) for target in panel["targets"]]
