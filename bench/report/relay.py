"""Hooks on functions of Windows beside Wine's own log of calls: what each adds to a call."""

import figures
import tables
from rows import WITHOUT, Part, make
from verdict import judge

HOOKS, RELAY, LIMITED = "hooks on these functions", "Wine's +relay", "Wine's +relay of these functions only"
METRIC, CALL = "host_instructions", "a call"


def a_call(rows):
    """What one call took; how many there were is what the hooks told."""
    whole, calls = Part(rows, "relay", METRIC), Part(rows, "relay", "counted_events").column("calls", HOOKS)
    return Part([make("relay", CALL, case, number, METRIC, value / calls[number]) for case in whole.cases()
                 for number, value in whole.column("calls", case).items() if calls.get(number)], "relay", METRIC)


def less(part, other):
    """How much less than `other` the hooks add."""
    return figures.less_added(part, [CALL], HOOKS, other, WITHOUT)


def costs(rows):
    """What each case adds to a call, and how much less the hooks add."""
    part, lines = a_call(rows), []
    for case in part.cases():
        if case != WITHOUT:
            added = figures.added(part, [CALL], case, WITHOUT)
            by = less(part, case) if case in (RELAY, LIMITED) else None
            lines.append([case, f"{added.value:,.0f} ({added.low:,.0f} to {added.high:,.0f})",
                          f"{tables.percent(by.value)} ({tables.percent(by.low)} to {tables.percent(by.high)})"
                          if by else ""])
    return tables.table(["added to a call", "instructions of the vCPU's thread", "the hooks add less by"],
                        lines) if lines else []


def verdicts(rows):
    part = a_call(rows)
    return [judge(f"a call of Windows, counted: the hooks add at least 20 times less (95 %) than {other}",
                  less(part, other), 0.95, False, tables.percent) for other in (RELAY, LIMITED)] if part else []
