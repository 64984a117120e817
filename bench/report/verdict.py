"""Whether a goal is met: said only when the spread of what was measured leaves no doubt."""

import dataclasses

MET, MISSED, NONE = "met", "missed", "no verdict"


@dataclasses.dataclass(frozen=True)
class Verdict:
    goal: str
    word: str
    why: str

    def line(self):
        return f"**{self.word}**: {self.goal} ({self.why})"


def judge(goal, found, limit, at_most, text):
    """`found`: an Estimate, or None when nothing to compare with stands out of the spread. `at_most`: whether it should
    stay under the limit, or reach it. `text` writes a figure."""
    if found is None:
        return Verdict(goal, NONE, "what it is compared with is within the spread, or was not measured")
    spread = f"{text(found.low)} to {text(found.high)}"
    if not found.enough():
        return Verdict(goal, NONE, f"{text(found.value)}, but {found.rounds} rounds are too few")
    if found.low != found.low or found.high != found.high:
        return Verdict(goal, NONE, "the spread hides whether anything is added at all")
    good, bad = (found.high <= limit, found.low > limit) if at_most else (found.low >= limit, found.high < limit)
    if good or bad:
        return Verdict(goal, MET if good else MISSED, f"{text(found.value)}, {spread}")
    return Verdict(goal, NONE, f"{text(found.value)}; the spread of {spread} hides it")
