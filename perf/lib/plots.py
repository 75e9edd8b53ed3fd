"""SVG drawings of results, as text to be put into a page. Colours are the page's, by class."""

import html
import math
import statistics

from lib import tables

WIDTH = 460
LABEL_WIDTH = 84
VALUE_WIDTH = 70
BAR = 22
PLOT_HEIGHT = 240
MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_TOP = 58, 34, 30
LINE_WIDTH = 285
MARKS_MOST = 6
# Where a curve of percentiles is marked.
PERCENTS = (50, 75, 90, 95, 99, 99.5, 99.9, 99.99)


def svg(height, title, parts):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
        f'<text class="t" x="0" y="15">{html.escape(title)}</text>{"".join(parts)}</svg>'
    )


def text(x, y, words, classes="", anchor="start"):
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def line(x1, y1, x2, y2, classes):
    return f'<line class="{classes}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def colour(names, name):
    """A number of the page's palette; the first is ringtail's."""
    others = [other for other in names if other != tables.FIRST]
    return 0 if name == tables.FIRST else 1 + others.index(name) % 7


def bars(title, names, values):
    """A bar for each program's median, with a whisker over its runs."""
    most = max(max(v) for v in values.values()) or 1
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    parts = []
    y = MARGIN_TOP
    for name in names:
        if name not in values:
            continue
        middle = statistics.median(values[name])
        width = max(1.0, middle / most * room)
        low, high = (LABEL_WIDTH + v / most * room for v in (min(values[name]), max(values[name])))
        parts.append(text(LABEL_WIDTH - 6, y + 15, name, "n", "end"))
        parts.append(
            f'<rect class="c{colour(names, name)}" x="{LABEL_WIDTH}" y="{y + 3}" width="{width:.1f}"'
            f' height="{BAR - 6}" rx="2"/>'
        )
        if high - low > 1:
            centre = y + BAR / 2
            parts.append(line(low, centre, high, centre, "w"))
            parts += [line(x, centre - 4, x, centre + 4, "w") for x in (low, high)]
        at = max(LABEL_WIDTH + width, high) + 6
        parts.append(text(at, y + 15, tables.number(middle), "v"))
        y += BAR
    return svg(y + 4, title, parts)


def powers(low, high):
    """Marks of a logarithmic axis: 1, 2 and 5 of each power of ten, or only 1 when there are many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    marks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [mark for mark in marks if low <= mark <= high]


def steps(high):
    """Marks of an axis that begins at 0: a round number apart, the last not below high."""
    rough = high / (MARKS_MOST - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [step * i for i in range(math.ceil(high / step) + 1)]


def curves(title, series, x_marks, x_of, y_log, names, x_title):
    """Lines through points. series: {label: (program, [(x, y), …])}. x_of: 0 to 1 for an x."""
    ys = [y for _, points in series.values() for _, y in points]
    high = max(ys) or 1
    low = max(min(ys), high / 1e6) if y_log else 0
    marks = powers(low, high) if y_log else steps(high)
    high = max(high, marks[-1]) if marks else high
    bottom = MARGIN_TOP + PLOT_HEIGHT - MARGIN_BOTTOM

    def x_at(x):
        return MARGIN_LEFT + x_of(x) * LINE_WIDTH

    def y_at(y):
        if y_log:
            part = math.log(max(y, low) / low) / math.log(high / low) if high > low else 0.5
        else:
            part = y / high
        return bottom - part * (bottom - MARGIN_TOP)

    parts = []
    for mark in marks:
        parts.append(line(MARGIN_LEFT, y_at(mark), MARGIN_LEFT + LINE_WIDTH, y_at(mark), "g"))
        parts.append(text(MARGIN_LEFT - 6, y_at(mark) + 4, tables.number(mark), "a", "end"))
    for mark in x_marks:
        parts.append(text(x_at(mark), bottom + 16, f"{mark:g}", "a", "middle"))
    parts.append(text(MARGIN_LEFT + LINE_WIDTH / 2, bottom + 30, x_title, "a", "middle"))
    ends = []
    for label, (program, points) in series.items():
        number = colour(names, program)
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="l l{number}" points="{path}"/>')
        parts += [
            f'<circle class="c{number}" cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="2.5"/>'
            for x, y in points
        ]
        ends.append((y_at(points[-1][1]), label))
    # Names stand at the ends of their lines, pushed apart where these are close.
    y = 0
    for end, label in sorted(ends):
        y = max(y + 13, end)
        parts.append(text(MARGIN_LEFT + LINE_WIDTH + 6, y + 4, label, "n"))
    height = max(MARGIN_TOP + PLOT_HEIGHT + 4, y + 12)
    return svg(height, title, parts)


def percentile_points(buckets):
    total = sum(count for _, count in buckets)
    points, reached, wanted = [], 0, list(PERCENTS)
    for upper, count in buckets:
        reached += count
        while wanted and reached >= total * wanted[0] / 100:
            points.append((wanted.pop(0), upper / 1000))
    return points


def latency(data, benchmark, names):
    """Percentiles of each program's latency, or None."""
    series = {
        h["program"]: (h["program"], percentile_points(h["buckets"]))
        for h in data["histograms"]
        if h["benchmark"] == benchmark and h["buckets"]
    }
    if not series:
        return None
    span = math.log10(1 / (1 - PERCENTS[-1] / 100)) - math.log10(2)

    def x_of(percent):
        return (math.log10(1 / (1 - percent / 100)) - math.log10(2)) / span

    marks = (50, 90, 99, 99.9, 99.99)
    return curves("latency, ms, by percentile", series, marks, x_of, True, names, "percentile")


def growth(metric, unit, results, names):
    """A measure against the one number that it was taken for, or None if there is no such number."""
    _, varying = tables.params_split(results)
    numeric = [
        key
        for key in varying
        if all(isinstance(r["params"].get(key), (int, float)) for r in results)
        and len({r["params"][key] for r in results}) >= 3
        and min(r["params"][key] for r in results) > 0
    ]
    if len(numeric) != 1:
        return None
    key = numeric[0]
    series = {}
    for result in results:
        words = tables.params_words(result["params"], [k for k in varying if k != key])
        label = ", ".join(part for part in (result["program"], words) if part)
        points = series.setdefault(label, (result["program"], []))[1]
        points.append((result["params"][key], statistics.median(result["values"])))
    for _, points in series.values():
        points.sort()
    xs = sorted({x for _, points in series.values() for x, _ in points})
    span = math.log(xs[-1] / xs[0])

    def x_of(x):
        return math.log(x / xs[0]) / span

    title = tables.metric_name(metric, unit)
    return curves(title, series, xs, x_of, False, names, key.replace("_", " "))


def of_benchmark(data, benchmark):
    """All drawings of one benchmark, by metric."""
    results = [r for r in data["results"] if r["benchmark"] == benchmark]
    names = tables.programs(results)
    drawings = {}
    for metric in dict.fromkeys(r["metric"] for r in results):
        of_metric = [r for r in results if r["metric"] == metric]
        unit = of_metric[0]["unit"]
        drawing = growth(metric, unit, of_metric, names)
        if drawing is None and len({str(r["params"]) for r in of_metric}) == 1 and len(of_metric) > 1:
            values = {r["program"]: r["values"] for r in of_metric}
            drawing = bars(tables.metric_name(metric, unit), names, values)
        if drawing:
            drawings[metric] = drawing
    curve = latency(data, benchmark, names)
    return {**drawings, "latency": curve} if curve else drawings
