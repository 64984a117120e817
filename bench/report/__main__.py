"""Measures, and reports: report [--out DIR] [--docs FILE] [--report-only] [PART...]

Each part keeps its rows in DIR/rows/PART.jsonl; the report is made of all rows kept there.
"""

import argparse
import pathlib
import sys
import textwrap

import facts
import places
import report
import rows
from parts import PARTS


def arguments():
    parser = argparse.ArgumentParser(
        prog="glasshook bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures what watching costs on this machine, and writes a report.",
        epilog="parts:\n" + textwrap.indent("\n".join(f"{n:<15} {p.about}" for n, p in PARTS.items()), "  "))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench-report"), metavar="DIR",
                        help="where rows, report.md, report.json and plots go (default: bench-report)")
    parser.add_argument("--docs", type=pathlib.Path, metavar="FILE", help="write the report there too, plots beside it")
    parser.add_argument("--report-only", action="store_true", help="measure nothing: report the rows that are there")
    parser.add_argument("part", nargs="*", metavar="PART", help="only these (default: all)")
    given = parser.parse_args()
    unknown = [name for name in given.part if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]}; choose from {', '.join(PARTS)}")
    return given


def measure(name, directory):
    """Keeps the part's rows, or why there are none; whether all went well."""
    print(f"bench: {name}: {PARTS[name].about}", file=sys.stderr, flush=True)
    load = facts.Load()
    try:
        found = PARTS[name].measure()
    except (RuntimeError, OSError, ValueError, LookupError) as error:
        print(f"bench: {name}: {error}", file=sys.stderr, flush=True)
        found = [rows.missing(name.removeprefix("counted-"), name, str(error).splitlines()[0])]
    rows.save(directory / f"{name}.jsonl", [{"facts": {**facts.of_this_machine(), **load.facts()}}, *found])
    return not any("missing" in row for row in found)


def main():
    given = arguments()
    kept = given.out / "rows"
    kept.mkdir(parents=True, exist_ok=True)
    well = True
    if not given.report_only:
        if not (places.PROGRAMS / "guest_overhead").exists():
            sys.exit("bench: the programs that measure are not built; scripts/build -DGLASSHOOK_BENCH=ON builds them")
        well = all([measure(name, kept) for name in given.part or PARTS])
    runs = rows.load(kept)
    report.write(runs, given.out / "report.md")
    report.write_json(runs, given.out / "report.json")
    if given.docs:
        report.write(runs, given.docs)
    print(f"bench: the report is {given.out / 'report.md'}", file=sys.stderr)
    return 0 if well else 1


sys.exit(main())
