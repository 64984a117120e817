"""The rows of peers.py as Markdown."""

ADDED = ("qemu_seconds", "monitor_seconds")  # the guest's work, all QEMU does for it, and who watches
HOOKS, BEHAVIOURS = "Glasshook, -e", "Glasshook, file behaviours"  # how names of cases begin
# Name, unit, what makes seconds of it. Calls of Windows are told here and counted in bench/report/relay.py: times
# differ more from round to round than the hooks add.
WORKS = (("storm", "µs an open", 1e6), ("applications", "s", 1))


def quartile(values):
    """What most disturbs a run only adds to it: the value that a quarter of the runs stay under."""
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) / 4)]


class Costs:
    """What one work took, by case."""

    def __init__(self, rows, work):
        self.rounds, self.made, self.instructions = {}, {}, {}
        for row in rows:
            if row["work"] == work and row["metric"] == "guest_instructions":
                self.instructions[row["case"]] = row["value"]
            elif row["work"] == work and row["metric"].endswith("_seconds"):
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

    def ratio(self, case, metric):
        return self.taken(case, (metric,)) / self.taken("without", (metric,))

    def spread(self, case):
        """The same in each half of the rounds."""
        numbers = sorted(set(self.rounds[case]) & set(self.rounds["without"]))
        if len(numbers) < 2:
            return self.added(case), self.added(case)
        halves = numbers[:len(numbers) // 2], numbers[len(numbers) // 2:]
        found = [self.added(case, ADDED, half) for half in halves]
        return min(found), max(found)

    def times(self, case, other):
        """How many times what `other` adds this case adds."""
        other = next((name for name in self.rounds if name.startswith(other)), case)
        if case == other or self.added(other) <= 0:
            return ""
        return f"{self.added(case) / self.added(other):.1f}"

    def cases(self):
        """Those that can be compared."""
        return [case for case in self.rounds if case != "without"] if "without" in self.rounds else []

    def instruction_ratio(self, case):
        """The guest's instructions; of what works outside, none."""
        if not {case, "without"} <= self.instructions.keys():
            return ""
        return f"{self.instructions[case] / self.instructions['without']:.2f}"


def cost_table(rows, work, unit, factor):
    costs = Costs(rows, work)
    columns = (work, "vCPU, times `without`", "wall, times `without`", "guest instructions, times `without`",
               f"added, {unit} (in each half of the rounds)", "times what the hook adds",
               "times what file behaviours add")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for case in costs.cases():
        low, high = (value * factor for value in costs.spread(case))
        cells = (case, f"{costs.ratio(case, 'vcpu_seconds'):.2f}", f"{costs.ratio(case, 'wall_seconds'):.2f}",
                 costs.instruction_ratio(case),
                 f"{costs.added(case) * factor:.3g} ({low:.3g} to {high:.3g})",
                 costs.times(case, HOOKS), costs.times(case, BEHAVIOURS))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def told_table(rows):
    """How many of its calls each case told; of files of several kinds, how many of each it named."""
    counted = {}
    for row in rows:
        if row["metric"] != "events" or "made" not in row:
            continue
        of_case, kind = counted.setdefault(row["case"], {}), row.get("kind", row["work"])
        seen, made = of_case.get(kind, (0, 0))
        of_case[kind] = seen + row["value"], made + row["made"]
    counted.pop("without", None)
    lost = {case: sum(row["value"] for row in rows if row["case"] == case and row["metric"] == "lost")
            for case in counted}
    kinds = list(dict.fromkeys(kind for seen in counted.values() for kind in seen))
    lines = ["| told of the calls it made | " + " | ".join(counted) + " |", "|---" * (len(counted) + 1) + "|"]
    for kind in kinds:
        cells = ["{} of {}".format(*seen[kind]) if kind in seen else "" for seen in counted.values()]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return lines + ["| events lost, as the tool says | " + " | ".join(map(str, lost.values())) + " |"]


def table(rows):
    lines = []
    for work, *how in WORKS:
        if any(row["work"] == work for row in rows):
            lines += [*cost_table(rows, work, *how), ""]
    for works in (("storm", "counted"), ("windows calls",)):
        if any(row["work"] in works for row in rows):
            lines += [*told_table([row for row in rows if row["work"] in works]), ""]
    return lines + [f"- {row['case']}, {row['work']}: {row['metric']}. {row['value']}"
                    for row in rows if row["metric"] in ("missing", "failed")]
