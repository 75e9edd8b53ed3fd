"""Results as rows and columns: the numbers in words, and the tables in Markdown."""

import statistics

from lib import check
from lib.workloads import METRICS
from lib.workloads import ALL as WORKLOADS

FIRST = "ringtail"


def number(value):
    """Three digits that count, without an exponent."""
    size = abs(value)
    if size >= 100 or isinstance(value, int) or value == 0:
        return f"{value:,.0f}".replace(",", "\u202f")
    for least, digits in ((10, 1), (1, 2), (0.1, 3), (0.01, 4)):
        if size >= least:
            return f"{value:.{digits}f}"
    return f"{value:.5f}"


def spread(values):
    """The median, and between which values it lies."""
    middle = number(statistics.median(values))
    low, high = number(min(values)), number(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def metric_name(metric, unit):
    name = METRICS[metric][2] if metric in METRICS else metric.replace("_", " ")
    return f"{name}, {unit}" if unit and unit not in name else name


def benchmarks(data):
    """Names of the benchmarks in the order in which they were run."""
    return list(dict.fromkeys(result["benchmark"] for result in data["results"]))


def programs(results):
    names = list(dict.fromkeys(result["program"] for result in results))
    return sorted(names, key=lambda name: name != FIRST)


def params_words(params, keys):
    return ", ".join(f"{key.replace('_', ' ')} {params[key]}" for key in keys if key in params)


def params_split(results):
    """Names of the parameters that are the same in all results, and of those that are not."""
    keys = list(dict.fromkeys(key for result in results for key in result["params"]))
    same = [k for k in keys if len({str(r["params"].get(k)) for r in results}) == 1]
    return same, [key for key in keys if key not in same]


def title(name):
    return f"{name}: {WORKLOADS[name].title}" if name in WORKLOADS else name


def rows(results):
    """(label, better, {program: values}) for each measure of a benchmark."""
    _, varying = params_split(results)
    found = {}
    for result in results:
        words = params_words(result["params"], varying)
        label = metric_name(result["metric"], result["unit"])
        key = (words, label)
        found.setdefault(key, (result["better"], {}))[1][result["program"]] = result["values"]
    for (words, label), (better, values) in found.items():
        yield (f"{words}: {label}" if words else label), better, values


def checked(results):
    """{program: {kind: count}} of what was found wrong."""
    return {r["program"]: r["checked"] for r in results if r.get("checked")}


def ratio(values, better):
    """The first program's median against the best of the others, or None."""
    others = [statistics.median(v) for name, v in values.items() if name != FIRST]
    if FIRST not in values or not others:
        return None
    best = min(others) if better == "less" else max(others)
    return statistics.median(values[FIRST]) / best if best else None


def best_of(values, better):
    """The programs with the best median, if there is anything to choose between."""
    middles = {name: statistics.median(v) for name, v in values.items()}
    if len(middles) < 2:
        return []
    best = min(middles.values()) if better == "less" else max(middles.values())
    return [name for name, middle in middles.items() if middle == best]


def cells(results):
    """The table of one benchmark: a head, and rows of (text, is it the best)."""
    names = programs(results)
    compared = len(names) > 1 and FIRST in names
    head = ["", *names] + ([f"{FIRST} ÷ best other"] if compared else [])
    body = []
    for label, better, values in rows(results):
        best = best_of(values, better)
        row = [(label, False)]
        row += [(spread(values[n]) if n in values else "–", n in best) for n in names]
        if compared:
            quotient = ratio(values, better)
            row.append((f"{quotient:.2f}" if quotient is not None else "–", False))
        body.append(row)
    wrong = checked(results)
    if wrong:
        row = [(" / ".join(check.KINDS).replace("_", " "), False)]
        for name in names:
            kinds = wrong.get(name)
            text = " / ".join(str(kinds[kind]) for kind in check.KINDS) if kinds else "–"
            row.append((text, False))
        body.append(row + [("", False)] * compared)
    return head, body


def about(data):
    """Where and when, in one line."""
    machine = data["machine"]
    parts = [machine.get("cpu", ""), f"{machine.get('cores', '?')} cores"]
    parts += [f"{machine.get('memory_mb', 0) // 1024} GB", f"Linux {machine.get('kernel', '?')}"]
    parts += [machine.get("system", "")]
    if machine.get("engine"):
        parts.append(f"Docker Engine {machine['engine']}")
    parts += [data["date"], f"commit {data['commit'][:12]}" if data["commit"] else ""]
    return " · ".join(part for part in parts if part)


def heading(name, results):
    """The benchmark's title, and what all its results have in common."""
    same, _ = params_split(results)
    runs = sorted({len(result["values"]) for result in results})
    counts = "–".join(str(count) for count in dict.fromkeys((runs[0], runs[-1])))
    words = params_words(results[0]["params"], same)
    return title(name), "; ".join(part for part in (words, f"runs: {counts}") if part)


def markdown(data):
    text = [about(data), "", "Medians, and the least and the most in parentheses; the best is bold.", ""]
    for name in benchmarks(data):
        results = [result for result in data["results"] if result["benchmark"] == name]
        what, how = heading(name, results)
        head, body = cells(results)
        text += [f"### {what}", "", how, "", "| " + " | ".join(head) + " |"]
        text.append("|---" * len(head) + "|")
        for row in body:
            words = (f"**{word}**" if best else word for word, best in row)
            text.append("| " + " | ".join(words) + " |")
        text.append("")
    return "\n".join(text).rstrip() + "\n"
