"""Markdown of figures."""

import figures
from rows import EMPTY, WITHOUT, Part


def seconds(value):
    return f"{value:.3f} s" if abs(value) >= 0.1 else f"{value * 1e3:.2f} ms"


def instructions(value):
    return f"{value / 1e6:,.1f} M"


# Metric: what it is called, how it is written, where the number of events is.
UNITS = {"vcpu_seconds": ("processor time of the vCPU", seconds, "events"),
         "host_instructions": ("instructions of the vCPU's thread", instructions, "counted_events")}


def percent(value):
    return f"{value * 100:.2f} %" if abs(value) < 0.1 else f"{value * 100:.1f} %"


def over(found):
    """A ratio as what it is over one, with its spread."""
    if found is None:
        return "not measured"
    return f"{percent(found.value - 1)} ({percent(found.low - 1)} to {percent(found.high - 1)})"


def table(head, lines):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
            *("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)]


def events_of(counts, work, case):
    """Of the last round."""
    column = counts.column(work, case)
    return f"{column[max(column)]:,.0f}" if column else ""


def overheads(rows, part, metric):
    """Work by work, what each case takes and adds; nothing when the metric was not measured."""
    measured = Part(rows, part, metric)
    if not measured:
        return []
    name, write, counted = UNITS[metric]
    events = Part(rows, part, counted)
    lines = []
    for work in measured.works():
        for case in measured.cases(work):
            column = list(measured.column(work, case).values())
            middle = figures.centre(metric)(column)
            cells = [work, case, write(middle)]
            for base in (WITHOUT, EMPTY):
                extra = figures.added(measured, [work], case, base) if case not in (WITHOUT, base) else None
                cells.append(f"{write(extra.value)} ({write(extra.low)} to {write(extra.high)})" if extra else "")
            cells.append(over(figures.ratio(measured, [work], case, WITHOUT)) if case != WITHOUT else "")
            lines.append([*cells, events_of(events, work, case)])
    return table(["work", "case", name, "added", "added to the empty plugin", "over " + WITHOUT, "events"], lines)


def less(rows, part, metric, ours, others):
    """How much less one case adds than others do, work by work, to either base."""
    measured = Part(rows, part, metric)
    lines = []
    for work in measured.works():
        for base in (WITHOUT, EMPTY):
            cells = []
            for other in others:
                found = figures.less_added(measured, [work], ours, other, base)
                cells.append(f"{percent(found.value)} ({percent(found.low)} to {percent(found.high)})" if found
                             else f"what {other} add is within the spread")
            lines.append([work, f"what is added to {base}", *cells])
    return table(["work", "", *(f"{ours} add less than {other} by" for other in others)], lines) if lines else []


def hits(rows, part, metric, case="one hook"):
    """What each hit of one hook adds, and how many there were."""
    measured, factor = Part(rows, part, metric), 1 if metric in figures.COUNTED else 1e9
    events, walls = Part(rows, part, UNITS[metric][2]), Part(rows, part, "wall_seconds")
    lines = []
    for work in measured.works():
        told = list(events.column(work, case).values())
        if not told or min(told) == 0:
            continue
        count = figures.quantile(told, 0.5)
        cells = [work, f"{count:,.0f}"]
        seconds_ = list(walls.column(work, case).values()) if metric not in figures.COUNTED else []
        cells.append(f"{count / figures.quantile(seconds_, 0.5):,.0f}" if seconds_ else "")
        for base in (WITHOUT, EMPTY):
            extra = figures.added(measured, [work], case, base)
            cells.append("{:,.0f} ({:,.0f} to {:,.0f})".format(*(value * factor / count for value in (
                extra.value, extra.low, extra.high))))
        lines.append(cells)
    unit = "instructions" if metric in figures.COUNTED else "ns"
    return table(["work", "hits", "hits a second", f"{unit} a hit, to {WITHOUT}", f"{unit} a hit, to the empty plugin"],
                 lines) if lines else []


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def spread(values, write=number):
    """Median, least and most."""
    return f"{write(figures.quantile(values, 0.5))} ({write(min(values))} to {write(max(values))})"


def plain(rows, part):
    """What stands for itself, whatever the metrics: median, least and most."""
    groups = {}
    for row in rows:
        if row.get("part") == part and row.get("round", 0) > 0 and "metric" in row:
            groups.setdefault((row["work"], row["case"], row["metric"]), []).append(row["value"])
    return table(["work", "case", "metric", "median (least to most)"],
                 [[work, case, metric, spread(values)] for (work, case, metric), values in groups.items()])
