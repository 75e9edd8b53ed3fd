"""The HTML report: tables and drawings in one file that needs no other."""

import html
import os

from lib import plots, tables

COLOURS = """
:root { --paper: #fff; --ink: #1c2024; --faint: #60676e; --rule: #d9dde1; --best: #e8f3ec;
  --p0: #0b7a4b; --p1: #2f6fb5; --p2: #c2571a; --p3: #7a4fb0; --p4: #a8781a; --p5: #b03a66;
  --p6: #22808a; --p7: #6b7075; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --ink: #e4e7ea; --faint: #9aa2aa;
  --rule: #343a40; --best: #1d3428; --p0: #35c286; --p1: #6fa8e6; --p2: #ee8d52; --p3: #b08be6;
  --p4: #d6ab52; --p5: #e2759f; --p6: #58bcc6; --p7: #a3a9af; } }
"""
STYLE = """
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  max-width: 1480px; margin: 2em auto; padding: 0 1.5em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin: 2.2em 0 0; } p { color: var(--faint); margin: .3em 0; }
table { border-collapse: collapse; margin: .8em 0; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .25em .9em .25em 0; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--faint); font-weight: 600; }
td.best { background: var(--best); font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 1.2em 2em; }
"""
DRAWING_STYLE = """
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .t { font-weight: 600; font-size: 13px; } svg .a, svg .v { fill: var(--faint); }
.w { stroke: var(--ink); } .g { stroke: var(--rule); } .l { fill: none; stroke-width: 2; }
""" + "".join(f".c{i} {{ fill: var(--p{i}); }} .l{i} {{ stroke: var(--p{i}); }}\n" for i in range(8))
# Those of docs/performance.md.
SHOWN = (
    ("W1", "cpu_us_per_line"),
    ("W2", "cpu_percent"),
    ("W2", "latency"),
    ("W3", "rss_mb"),
    ("engineless/firehose-line", "cpu_ns_per_line"),
    ("engineless/firehose-bulk", "cpu_ns_per_line"),
)


def table(results):
    head, body = tables.cells(results)
    text = ["<div class=wide><table><tr>"]
    text += [f"<th>{html.escape(word)}</th>" for word in head]
    text.append("</tr>")
    for row in body:
        text.append("<tr>")
        for word, best in row:
            text.append(f'<td{" class=best" if best else ""}>{html.escape(word)}</td>')
        text.append("</tr>")
    return "".join(text) + "</table></div>"


def page(data):
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'><title>ringtail, measured</title>",
        f"<style>{COLOURS}{STYLE}{DRAWING_STYLE}</style><h1>ringtail, measured</h1><p>{html.escape(tables.about(data))}</p>",
        "<p>Medians, and the least and the most in parentheses. Bars are medians, whiskers the runs.</p>",
    ]
    for name, results in tables.groups(data).items():
        what, how = tables.heading(name, results)
        parts.append(f"<h2>{html.escape(what)}</h2><p>{html.escape(how)}</p>{table(results)}")
        for benchmark in dict.fromkeys(result["benchmark"] for result in results):
            drawings = "".join(plots.of_benchmark(data, benchmark).values())
            parts.append(f"<div class=plots>{drawings}</div>" if drawings else "")
    return "\n".join(parts) + "</html>\n"


def write(data, path):
    """The table and the page beside a file of results; their paths."""
    stem = os.path.splitext(path)[0]
    written = []
    for ending, text in ((".md", tables.markdown(data)), (".html", page(data))):
        with open(stem + ending, "w", encoding="utf-8") as file:
            file.write(text)
        written.append(stem + ending)
    return written


def write_drawings(data, directory):
    """Those to show elsewhere, each a file of its own; their paths."""
    os.makedirs(directory, exist_ok=True)
    written = []
    for benchmark, metric in SHOWN:
        drawing = plots.of_benchmark(data, benchmark).get(metric)
        if not drawing:
            continue
        name = f"{benchmark.rpartition('/')[2]}-{metric.replace('_', '-')}.svg".lower()
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            style = f"<style>{COLOURS}{DRAWING_STYLE}svg {{ background: var(--paper); }}\n</style>"
            file.write(drawing.replace(">", ">" + style, 1) + "\n")
        written.append(path)
    return written
