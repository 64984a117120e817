"""The rows of peers.py as Markdown."""

ADDED = ("qemu_seconds", "monitor_seconds")  # the guest's work, all QEMU does for it, and who watches
HOOK, BEHAVIOURS = "Glasshook, -e kernel!do_filp_open", "Glasshook, file behaviours"


def quartile(values):
    """What most disturbs a run only adds to it: the value that a quarter of the runs stay under."""
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) / 4)]


class Costs:
    """What one work took, by case."""

    def __init__(self, rows, work):
        self.rounds, self.made = {}, {}
        for row in rows:
            if row["work"] == work and row["metric"].endswith("_seconds"):
                of_round = self.rounds.setdefault(row["case"], {}).setdefault(row["round"], {})
                of_round[row["metric"]] = row["value"]
                self.made[row["case"]] = row.get("made", 1)

    def taken(self, case, metrics, rounds=None):
        """Seconds for one open, or for the work where opens are not counted."""
        values = [sum(of_round[m] for m in metrics) for number, of_round in self.rounds[case].items()
                  if rounds is None or number in rounds]
        return quartile(values) / self.made[case]

    def added(self, case, metrics=ADDED, rounds=None):
        return self.taken(case, metrics, rounds) - self.taken("without", metrics, rounds)

    def spread(self, case):
        """The same in each half of the rounds."""
        numbers = sorted(self.rounds[case])
        if len(numbers) < 2:
            return self.added(case), self.added(case)
        halves = numbers[:len(numbers) // 2], numbers[len(numbers) // 2:]
        found = [self.added(case, ADDED, half) for half in halves]
        return min(found), max(found)

    def times(self, case, other):
        """How many times what `other` adds this case adds."""
        if other not in self.rounds or case == other or self.added(other) <= 0:
            return ""
        return f"{self.added(case) / self.added(other):.1f}"


def cost_table(rows, work, unit, factor):
    costs = Costs(rows, work)
    lines = [f"| {work} | vCPU, times `without` | added, {unit} (in each half of the rounds) "
             "| times what the hook adds | times what file behaviours add |", "|---|---|---|---|---|"]
    for case in costs.rounds:
        if case == "without":
            continue
        ratio = costs.taken(case, ("vcpu_seconds",)) / costs.taken("without", ("vcpu_seconds",))
        low, high = (value * factor for value in costs.spread(case))
        lines.append(f"| {case} | {ratio:.2f} | {costs.added(case) * factor:.3g} ({low:.3g} to {high:.3g})"
                     f" | {costs.times(case, HOOK)} | {costs.times(case, BEHAVIOURS)} |")
    return lines


def told_table(rows):
    """Of each kind of file, how many each case named; of the storm, how many of its opens."""
    counted = {}
    for row in rows:
        if row["metric"] != "events" or "made" not in row:
            continue
        seen, made = counted.setdefault(row["case"], {}).get(row.get("kind", "storm"), (0, 0))
        counted[row["case"]][row.get("kind", "storm")] = seen + row["value"], made + row["made"]
    counted.pop("without", None)
    lost = {case: sum(row["value"] for row in rows if row["case"] == case and row["metric"] == "lost")
            for case in counted}
    kinds = list(dict.fromkeys(kind for seen in counted.values() for kind in seen))
    lines = ["| told of its own opens | " + " | ".join(counted) + " |", "|---" * (len(counted) + 1) + "|"]
    for kind in kinds:
        cells = ["{} of {}".format(*seen[kind]) if kind in seen else "" for seen in counted.values()]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines + ["| events lost, as the tool says | " + " | ".join(map(str, lost.values())) + " |"]


def table(rows):
    lines = []
    for work, unit, factor in (("storm", "µs an open", 1e6), ("applications", "s", 1)):
        if any(row["work"] == work for row in rows):
            lines += [*cost_table(rows, work, unit, factor), ""]
    lines += told_table(rows)
    missing = [f"- {row['case']}: left out. {row['value']}" for row in rows if row["metric"] == "missing"]
    return lines + ([""] + missing if missing else [])
