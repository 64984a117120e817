"""Hooks on functions of Windows beside Wine's own log of calls: what each adds to a call."""

import figures
import tables
from rows import EMPTY, WITHOUT, Part, make
from verdict import judge

HOOKS, RELAY, LIMITED = "hooks on these functions", "Wine's +relay", "Wine's +relay of these functions only"
METRIC, CALL = "host_instructions", "a call"


def a_call(rows):
    """What one call took; how many there were is what the hooks told."""
    whole, calls = Part(rows, "relay", METRIC), Part(rows, "relay", "counted_events").column("calls", HOOKS)
    return Part([make("relay", CALL, case, number, METRIC, value / calls[number]) for case in whole.cases()
                 for number, value in whole.column("calls", case).items() if calls.get(number)], "relay", METRIC)


def less(part, other, base):
    """How much less the hooks add to `base` than `other` does."""
    return figures.less_added(part, [CALL], HOOKS, other, base)


def costs(rows):
    """What each case adds to a call, and how much less the hooks add."""
    part, lines = a_call(rows), []
    for case in part.cases():
        if case == WITHOUT:
            continue
        added = [figures.added(part, [CALL], case, base) if case != base else None for base in (WITHOUT, EMPTY)]
        by = less(part, case, WITHOUT) if case in (RELAY, LIMITED) else None
        lines.append([case, *(f"{of.value:,.0f} ({of.low:,.0f} to {of.high:,.0f})" if of else "" for of in added),
                      f"{tables.percent(by.value)} ({tables.percent(by.low)} to {tables.percent(by.high)})"
                      if by else ""])
    return tables.table(["instructions of the vCPU's thread a call", "added", "added to the empty plugin",
                         "the hooks add less by"], lines) if lines else []


def verdicts(rows):
    part = a_call(rows)
    return [judge(f"a call of Windows, counted: to {base}, the hooks add at least 20 times less (95 %) than {other}",
                  less(part, other, base), 0.95, False, tables.percent)
            for base in (WITHOUT, EMPTY) for other in (RELAY, LIMITED)] if part else []
