"""Results as rows and columns: the numbers in words, and the tables in Markdown."""

import statistics

from lib.workloads import METRICS
from lib.workloads import ALL as WORKLOADS

FIRST = "ringtail"
# What a check may have counted, whoever made it.
FAULTS = ("lost", "doubled", "repeated", "garbled", "out_of_order")


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
    middle = statistics.median(values)
    if middle in values:
        # Between two equal whole numbers lies a whole number, not a fraction that looks measured.
        middle = values[values.index(middle)]
    middle = number(middle)
    low, high = number(min(values)), number(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def metric_name(metric, unit):
    name = METRICS[metric][2] if metric in METRICS else metric.replace("_", " ")
    return f"{name}, {unit}" if unit and unit not in name else name


def groups(data):
    """{title of a table: its results}, in the order in which they were measured.

    A benchmark has a table of its own. A family (micro/a, micro/b) that only one program took part in
    is one table.
    """
    families = {}
    for result in data["results"]:
        family = result["benchmark"].partition("/")[0]
        families.setdefault(family, set()).add(result["program"])
    found = {}
    for result in data["results"]:
        family = result["benchmark"].partition("/")[0]
        name = family if len(families[family]) == 1 else result["benchmark"]
        found.setdefault(name, []).append(result)
    return found


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
        key = (metric_name(result["metric"], result["unit"]), words)
        found.setdefault(key, (result["better"], {}))[1][result["program"]] = result["values"]
    for (label, words), (better, values) in sorted_by_label(found):
        yield (f"{label}; {words}" if words else label), better, values


def sorted_by_label(found):
    """What belongs to one measure stands together, in the order of first mention."""
    labels = list(dict.fromkeys(label for label, _ in found))
    return sorted(found.items(), key=lambda item: labels.index(item[0][0]))


def faults(results):
    """{program: {fault: count}}; a program whose output nobody looked at is not there."""
    counts = {}
    for result in results:
        checked = {k: n for k, n in (result.get("checked") or {}).items() if k in FAULTS}
        if checked:
            # All metrics of a benchmark come from the same runs.
            where = (result["program"], result["benchmark"], str(result["params"]))
            counts[where] = checked
    found = {}
    for (program, *_), checked in counts.items():
        total = found.setdefault(program, {})
        for kind, count in checked.items():
            total[kind] = total.get(kind, 0) + count
    return found


def faults_words(kinds):
    if kinds is None:
        return "not looked for"
    words = [f"{number(count)} {kind.replace('_', ' ')}" for kind, count in kinds.items() if count]
    return ", ".join(words) or "none"


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


def cells_of_one(results):
    """The table of a family of benchmarks with one program: a column for each measure."""
    _, varying = params_split(results)
    metrics = list(dict.fromkeys((r["metric"], r["unit"]) for r in results))
    found = {}
    for result in results:
        own = result["benchmark"].partition("/")[2]
        words = params_words(result["params"], varying)
        label = ", ".join(part for part in (own, words) if part)
        found.setdefault(label, {})[result["metric"]] = spread(result["values"])
    head = ["", *(metric_name(*metric) for metric in metrics)]
    body = [
        [(label, False), *((values.get(metric, "–"), False) for metric, _ in metrics)]
        for label, values in found.items()
    ]
    return head, body


def cells(results):
    """The table of one benchmark: a head, and rows of (text, is it the best)."""
    names = programs(results)
    if len(names) == 1 and len({result["benchmark"] for result in results}) > 1:
        return cells_of_one(results)
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
    wrong = faults(results)
    if wrong:
        kinds = dict.fromkeys(kind for counts in wrong.values() for kind in counts)
        row = [(", ".join(kinds).replace("_", " "), False)]
        row += [(faults_words(wrong.get(name)), False) for name in names]
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
    for name, results in groups(data).items():
        what, how = heading(name, results)
        head, body = cells(results)
        text += [f"### {what}", "", how, "", "| " + " | ".join(head) + " |"]
        text.append("|---" * len(head) + "|")
        for row in body:
            words = (f"**{word}**" if best else word for word, best in row)
            text.append("| " + " | ".join(words) + " |")
        text.append("")
    return "\n".join(text).rstrip() + "\n"
