"""Statistics: how much, and how sure.

What disturbs a timed run only adds to it: where the kernel puts a program's pages alone can double the time that
QEMU takes. So timed cases are compared by the time that a quarter of their runs stay under. Counted instructions are
compared by the mean of the middle half of their runs.
"""

import dataclasses
import random
import statistics

RESAMPLES = 400
SURE = 0.95
COUNTED = {"host_instructions", "guest_instructions", "instructions"}


def quantile(values, q):
    """With linear interpolation between neighbours."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def middle_mean(values):
    """The mean without the least and the largest quarter."""
    cut = round(len(values) / 4)
    return statistics.mean(sorted(values)[cut:len(values) - cut])


def centre(metric):
    """What stands for many runs of one case."""
    return middle_mean if metric in COUNTED else lambda values: quantile(values, 0.25)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure, and where it lies when the rounds are drawn again (95 %)."""
    value: float
    low: float
    high: float
    rounds: int
    counted: bool = False

    def enough(self):
        """Whether a verdict may rest on it: instructions are nearly the same each time, times are not."""
        return self.rounds >= (3 if self.counted else 5)


def estimate(function, columns, metric):
    """`function` of lists, one a column, each of the rounds that all columns have; None without any."""
    rounds = sorted(set.intersection(*(set(column) for column in columns))) if columns else []
    if not rounds:
        return None

    def of(chosen):
        return function(*([column[number] for number in chosen] for column in columns))

    draw = random.Random(len(rounds))
    again = [of(draw.choices(rounds, k=len(rounds))) for _ in range(RESAMPLES)]
    edge = (1 - SURE) / 2
    return Estimate(of(rounds), quantile(again, edge), quantile(again, 1 - edge), len(rounds), metric in COUNTED)


def sum_of(part, works, case):
    """Round by round, what several works took together; a round that lacks one is left out."""
    columns = [part.column(work, case) for work in works]
    rounds = set.intersection(*(set(column) for column in columns)) if columns else set()
    return {number: sum(column[number] for column in columns) for number in rounds}


def ratio(part, works, case, base):
    middle = centre(part.metric)
    return estimate(lambda a, b: middle(a) / middle(b), [sum_of(part, works, case), sum_of(part, works, base)],
                    part.metric)


def added(part, works, case, base):
    middle = centre(part.metric)
    return estimate(lambda a, b: middle(a) - middle(b), [sum_of(part, works, case), sum_of(part, works, base)],
                    part.metric)


def less_added(part, works, case, other, base):
    """How much less `case` adds to `base` than `other` does: 0.9 is a tenth of it. None when `other` adds nothing."""
    middle = centre(part.metric)

    def share(ours, theirs, plain):
        costs = middle(theirs) - middle(plain)
        return 1 - (middle(ours) - middle(plain)) / costs if costs else float("nan")

    found = estimate(share, [sum_of(part, works, name) for name in (case, other, base)], part.metric)
    theirs = added(part, works, other, base)
    return found if found and theirs.low > 0 else None


def noise(part, case):
    """How much the same work of one case differs between rounds: the middle half of the rounds, of their median."""
    spreads = []
    for work in part.works():
        values = list(part.column(work, case).values())
        if len(values) > 1:
            spreads.append((quantile(values, 0.75) - quantile(values, 0.25)) / statistics.median(values))
    return max(spreads, default=0.0)
