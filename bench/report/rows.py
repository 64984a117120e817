"""Rows: what was measured, a JSON object a line.

{"part": "files", "work": "storm", "case": "file behaviours", "round": 3, "metric": "vcpu_seconds", "value": 0.55}

Round 0 warms up and counts for nothing. The case that others are compared with is called `without`. A row with
"missing" instead of a metric says why something was not measured; one with "facts" says where and when the
others of its file were taken.
"""

import json

WITHOUT = "without"
EMPTY = "QEMU's empty plugin"  # what QEMU charges for being watchable at all


def parse(text):
    """The rows among lines of text; other lines are left out."""
    rows = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue  # a line that was cut off
    return rows


def make(part, work, case, number, metric, value, **more):
    return {"part": part, "work": work, "case": case, "round": number, "metric": metric, "value": value, **more}


def missing(part, case, reason):
    return {"part": part, "case": case, "missing": reason}


def save(path, rows):
    """What was measured before is kept where now nothing was."""
    if path.exists() and not has_values(rows) and has_values(parse(path.read_text())):
        return
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def has_values(rows):
    return any("value" in row for row in rows)


def load(directory):
    """All rows kept in a directory, by the name of the run that made them."""
    return {path.stem: parse(path.read_text()) for path in sorted(directory.glob("*.jsonl"))}


class Part:
    """The rows of one part and metric, by work, case and round."""

    def __init__(self, rows, part, metric):
        self.part, self.metric = part, metric
        self._columns = {}
        self.rows = []
        for row in rows:
            if row.get("part") == part and row.get("metric") == metric and row.get("round", 0) > 0:
                self._columns.setdefault((row["work"], row["case"]), {})[row["round"]] = row["value"]
                self.rows.append(row)

    def __bool__(self):
        return bool(self._columns)

    def works(self):
        return list(dict.fromkeys(work for work, _ in self._columns))

    def cases(self, work=None):
        """What the others are compared with first."""
        found = dict.fromkeys(c for w, c in self._columns if work in (None, w))
        return sorted(found, key=lambda case: {WITHOUT: 0, EMPTY: 1}.get(case, 2))

    def column(self, work, case):
        """Value by round; empty when there is none."""
        return self._columns.get((work, case), {})

    def rounds(self):
        return max((len(column) for column in self._columns.values()), default=0)
