"""What the measurements are to show, and whether they do."""

import figures
import relay
import tables
from rows import EMPTY, WITHOUT, Part
from verdict import judge

ALL_CALLS, FILE_CALLS, OURS = "all system calls", "file system calls", "file behaviours"
APPLICATIONS = ("python compiles", "archive", "web server")
MEASURES = (("host_instructions", "counted"), ("vcpu_seconds", "timed"))


def file_verdicts(rows):
    """Over all works together: single ones are in the table."""
    found = []
    for metric, how in MEASURES:
        part = Part(rows, "files", metric)
        for base in (WITHOUT, EMPTY) if part else ():
            for other, share in ((ALL_CALLS, 0.9), (FILE_CALLS, 0.0)):
                goal = (f"all works, {how}: to {base}, file behaviours add "
                        + (f"at least {share:.0%} " if share else "") + f"less than {other}")
                found.append(judge(goal, figures.less_added(part, part.works(), OURS, other, base), share, False,
                                   tables.percent))
    return found


def over_one(found):
    return found and figures.Estimate(found.value - 1, found.low - 1, found.high - 1, found.rounds, found.counted)


def single_verdicts(rows):
    found = []
    for metric, how in MEASURES:
        part = Part(rows, "single", metric)
        works = [work for work in APPLICATIONS if work in part.works()]
        for base in (WITHOUT, EMPTY) if works else ():
            goal = f"applications, {how}: one hook costs at most 0.5 % over {base}"
            found.append(judge(goal, over_one(figures.ratio(part, works, "one hook", base)), 0.005, True,
                               tables.percent))
    part = Part(rows, "registry", "vcpu_seconds")
    if part:
        goal = "a Wine program, timed: one hook costs at most 0.5 % over without"
        found.append(judge(goal, over_one(figures.ratio(part, ["Wine's reg.exe"], "one hook", WITHOUT)), 0.005, True,
                           tables.percent))
    return found


def hit_verdicts(rows):
    part = Part(rows, "hit", "ns_p50")
    if not part:
        return []
    found = figures.estimate(lambda values: figures.quantile(values, 0.5),
                             [part.column("entry, return and a path", "probe")], "ns_p50")
    return [judge("entry, return and a path take at most 300 ns (median of single hits)", found, 300, True,
                  "{:.0f} ns".format)]


VERDICTS = {"hit": hit_verdicts, "single": single_verdicts, "files": file_verdicts, "relay": relay.verdicts}


def verdicts(rows):
    return {name: judged for name, make in VERDICTS.items() if (judged := make(rows))}
