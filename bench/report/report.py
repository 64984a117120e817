"""The report: Markdown, JSON and plots, of rows that were kept."""

import json
import pathlib
import re
import sys

import figures
import goals
import places
import plots
import relay
import tables
from rows import WITHOUT, Part

TEMPLATE = pathlib.Path(__file__).resolve().parent / "performance.md"
COMPARED = ("guest", "files", "single", "registry")
SCALES = {"hooks": "hooked functions", "vCPUs": "vCPUs", "VMs": "VMs at once", "events": "calls",
          "processes": "processes alive"}
SCALED = {"vcpu_ns_an_event": ("vCPU, ns an event", "{:,.0f}"),
          "monitor_ns_an_event": ("monitor, ns an event", "{:,.0f}"),
          "wake_ups_an_event": ("its wake-ups an event", "{:.3f}"),
          "bytes": ("monitor's own memory, MiB", "{:,.1f}")}


def measured(runs):
    return [row for rows in runs.values() for row in rows if "metric" in row]


def facts_of(rows):
    return next((row["facts"] for row in rows if "facts" in row), {})


def machine(runs):
    """What all runs have in common; of the last run where they differ."""
    facts = {}
    for rows in runs.values():
        facts.update(facts_of(rows))
    if not facts:
        return []
    kind = "virtual, " if facts["virtual"] else ""
    lines = [f"- {facts['processor']} ({kind}{facts['processors']} processors), {facts['kernel']}",
             f"- {facts['qemu']}", f"- {facts['glasshook']}"]
    return lines + [f"- guest {image}" for image in facts["images"].values()]


def quiet(name, rows):
    """How quiet the host was during a run, and what that did to the unwatched case."""
    facts = facts_of(rows)
    part = next((Part(rows, part, "vcpu_seconds") for part in COMPARED if Part(rows, part, "vcpu_seconds")), None)
    differed = f"{figures.noise(part, WITHOUT):.0%}" if part else ""
    return [name, facts.get("date", ""), max((row.get("round", 0) for row in rows), default=0),
            f"{facts.get('load_before', '')}, {facts.get('load_after', '')}", f"{facts.get('others', 0):.0%}",
            f"{facts.get('stolen', 0):.0%}", differed]


def noise(runs):
    return tables.table(["run", "date", "rounds", "load before, after", "others took", "hypervisor took",
                         "unwatched runs differ by"], [quiet(name, rows) for name, rows in runs.items()])


def gaps(runs, part):
    return [f"- {row['case']}: not measured: {row['missing']}" for rows in runs.values() for row in rows
            if row.get("part") == part and "missing" in row]


def points(rows, work, metric):
    """What several runs of each point gave, by how much there was of something."""
    part = Part(rows, "scale", metric)
    unit = 2**20 if metric == "bytes" else 1
    return {case: [value / unit for value in part.column(work, case).values()] for case in part.cases(work)}


def scale(rows):
    lines = []
    for work in dict.fromkeys(row["work"] for row in rows if row["part"] == "scale"):
        columns = {metric: points(rows, work, metric) for metric in SCALED}
        lines += ["", *tables.table([SCALES.get(work, work), *(title for title, _ in SCALED.values())],
                                    [[f"{case:,}", *(tables.spread(columns[metric][case], form.format)
                                                     for metric, (_, form) in SCALED.items())]
                                     for case in columns["bytes"]])]
        lines += ["", f"![{work}](performance/scale-{work.lower()}.svg)",
                  f"![{work}: memory](performance/scale-{work.lower()}-memory.svg)"]
    return lines


def peers(rows):
    """The tables that belong to bench/peers.py, which made the rows."""
    if not rows:
        return []
    sys.path.append(str(places.DATA / "bench"))
    from peer.table import table
    return table(rows)


def section(name, runs, judged):
    """What the template's @name@ stands for."""
    rows = measured(runs)
    if name == "machine":
        return machine(runs)
    if name == "noise":
        return noise(runs)
    lines = []
    if name in COMPARED:
        for metric in tables.UNITS:
            table = tables.overheads(rows, name, metric)
            lines += ["", *table] if table else []
            if name in ("single", "registry") and table:
                lines += ["", *tables.hits(rows, name, metric)]
            if name == "files" and table:
                lines += ["", *tables.less(rows, name, metric, goals.OURS, (goals.ALL_CALLS, goals.FILE_CALLS))]
        if Part(rows, name, "vcpu_seconds") or Part(rows, name, "host_instructions"):
            lines += ["", *plots_of(name, rows)]
    elif name == "scale":
        lines += scale(rows)
    elif name == "peers":
        lines += peers([row for row in rows if row["part"] == name])
    elif name == "relay":
        lines += relay.costs(rows)
    elif any(row["part"] == name for row in rows):
        lines += ["", *tables.plain(rows, name)]
    lines += ["", *(f"- {verdict.line()}" for verdict in judged.get(name, []))]
    lines += gaps(runs, name)
    return lines if any(lines) else ["Not measured."]


def plots_of(name, rows):
    return [f"![{name}](performance/{file})" for file in drawn(rows) if file.startswith(name + "-")]


def drawn(rows):
    """File name -> SVG."""
    files = {}
    for name in COMPARED:
        for metric, (about, *_) in tables.UNITS.items():
            part = Part(rows, name, metric)
            works = part.works()
            cases = [case for case in part.cases() if case != WITHOUT] if part else []
            values = {case: figures.added(part, works, case, WITHOUT) for case in cases}
            values = {case: found for case, found in values.items() if found}
            if values:
                kind = "counted" if metric in figures.COUNTED else "timed"
                files[f"{name}-{kind}.svg"] = plots.bars(f"{name}: added over all works", about, values)
    for work in dict.fromkeys(row["work"] for row in rows if row["part"] == "scale"):
        of = {metric: [(case, figures.quantile(values, 0.5)) for case, values in points(rows, work, metric).items()]
              for metric in SCALED}
        axis = SCALES.get(work, work)
        files[f"scale-{work.lower()}.svg"] = plots.lines(
            f"cost of an event by {axis}", axis, "ns", {"vCPU": of["vcpu_ns_an_event"],
                                                        "monitor": of["monitor_ns_an_event"]})
        files[f"scale-{work.lower()}-memory.svg"] = plots.lines(
            f"the monitor's memory by {axis}", axis, "MiB", {"own memory": of["bytes"]})
    return files


def as_json(runs, judged):
    rows = measured(runs)
    summary = []
    for name in COMPARED:
        for metric in tables.UNITS:
            part = Part(rows, name, metric)
            for work in part.works():
                for case in part.cases(work):
                    values = list(part.column(work, case).values())
                    against = figures.ratio(part, [work], case, WITHOUT)
                    summary.append({"part": name, "work": work, "case": case, "metric": metric,
                                    "median": figures.quantile(values, 0.5), "least": min(values), "most": max(values),
                                    "rounds": len(values), "ratio": against and [against.value, against.low,
                                                                                 against.high]})
    return {"runs": {name: facts_of(rows) for name, rows in runs.items()}, "summary": summary,
            "verdicts": {name: [vars(v) for v in found] for name, found in judged.items()},
            "rows": [row for rows in runs.values() for row in rows]}


def markdown(runs):
    judged = goals.verdicts(measured(runs))
    text = re.sub(r"^@([a-z]+)@$", lambda found: "\n".join(section(found.group(1), runs, judged)).strip(),
                  TEMPLATE.read_text(), flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text)


def write(runs, file):
    """The report as Markdown into `file`, its plots into a directory `performance` beside it."""
    folder = file.parent / "performance"
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn(measured(runs)).items():
        (folder / name).write_text(svg)
    file.write_text(markdown(runs))


def write_json(runs, file):
    file.write_text(json.dumps(as_json(runs, goals.verdicts(measured(runs))), indent=1) + "\n")
