"""Results as perf's programs give them, and a table of them for people.

A result is one metric of one program in one benchmark, a value for each run:

    {"benchmark": "micro/ndjson-plain", "program": "ringtail", "params": {"bytes_per_line": 100},
     "metric": "ns_per_line", "unit": "ns", "values": [15.1, 15.0], "better": "less",
     "checked": {"output": "every line compared"}}
"""

import json
import statistics


def make(benchmark, metric, unit, values, better, checked, program="ringtail", params=None):
    return {
        "benchmark": benchmark,
        "program": program,
        "params": params or {},
        "metric": metric,
        "unit": unit,
        "values": values,
        "better": better,
        "checked": checked,
    }


def spread(values):
    """How far the values lie apart: the range of the middle half, or all of it when they are few."""
    if len(values) < 2:
        return 0.0
    if len(values) < 4:
        return max(values) - min(values)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def number(value):
    """Four digits that matter, and no exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def params_text(params):
    return " ".join(f"{key}={params[key]}" for key in sorted(params))


def print_table(results):
    rows = [("benchmark", "program", "parameters", "metric", "median", "spread", "unit")]
    for r in results:
        rows.append(
            (
                r["benchmark"],
                r["program"],
                params_text(r["params"]),
                r["metric"],
                number(statistics.median(r["values"])),
                number(spread(r["values"])),
                r["unit"],
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if i in (4, 5) else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())


def show(results, as_json):
    if as_json:
        print(json.dumps({"results": results}))
    else:
        print_table(results)
