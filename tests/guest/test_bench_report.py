"""The statistics and verdicts of the benchmark's report, on rows that are made up."""

import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench" / "report"))

import counting  # noqa: E402
import figures  # noqa: E402
import goals  # noqa: E402
import plots  # noqa: E402
import relay  # noqa: E402
import report  # noqa: E402
import rows  # noqa: E402
import tables  # noqa: E402
import verdict  # noqa: E402


def column(values):
    return dict(enumerate(values, 1))


def made(part, metric, cases, work="storm"):
    """Rows of a part: case -> values, the first of round 1."""
    return [rows.make(part, work, case, number, metric, value)
            for case, values in cases.items() for number, value in enumerate(values, 1)]


def percent(value):
    return f"{value:.1%}"


class Rows(unittest.TestCase):

    def test_what_is_no_row_is_left_out(self):
        text = 'booting\n{"part": "x", "value": 1}\n{"part": "cut off", "val'
        self.assertEqual(rows.parse(text), [{"part": "x", "value": 1}])

    def test_a_run_that_fails_leaves_what_was_measured_before(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "p.jsonl"
            failed, measured = [rows.missing("p", "c", "broken")], made("p", "ns", {"c": [1]})
            for written, kept in ((failed, failed), (measured, measured), (failed, measured)):
                rows.save(path, written)
                self.assertEqual(rows.parse(path.read_text()), kept)

    def test_the_first_round_warms_up(self):
        found = rows.Part([rows.make("p", "w", "c", n, "ns", 10 + n) for n in range(3)], "p", "ns")
        self.assertEqual(found.column("w", "c"), {1: 11, 2: 12})
        self.assertEqual(found.rounds(), 2)

    def test_metrics_and_parts_do_not_mix(self):
        mixed = made("p", "ns", {"c": [1]}) + made("p", "bytes", {"c": [2]}) + made("q", "ns", {"c": [3]})
        self.assertEqual(rows.Part(mixed, "p", "ns").column("storm", "c"), {1: 1})
        self.assertFalse(rows.Part(mixed, "q", "bytes"))

    def test_what_others_are_compared_with_comes_first(self):
        found = rows.Part(made("p", "ns", {"b": [1], rows.EMPTY: [1], "without": [1], "a": [1]}), "p", "ns")
        self.assertEqual(found.cases(), ["without", rows.EMPTY, "b", "a"])


class Counting(unittest.TestCase):

    def test_each_machine_makes_a_share_of_the_rounds(self):
        self.assertEqual(counting.shares(8, 2), [range(1, 5), range(5, 9)])
        self.assertEqual(counting.shares(3, 1), [range(1, 4)])

    def test_shares_are_of_the_same_length(self):
        self.assertEqual(counting.shares(5, 2), [range(1, 4), range(4, 7)])
        self.assertEqual(counting.shares(2, 64), [range(1, 2), range(2, 3)])

    def test_rounds_have_one_number_among_those_of_all_machines(self):
        ran = [rows.make("p", "w", "c", number, "ns", 0) for number in range(5)]
        found = counting.renumbered(ran, 3, range(7, 9))
        self.assertEqual([row["round"] for row in found], [0, 0, 0, 7, 8])


class Scale(unittest.TestCase):

    def test_each_point_is_the_median_of_its_runs(self):
        found = [rows.make("scale", "hooks", case, number, metric, factor * (value + number))
                 for case, value in ((1, 100), (1000, 200)) for number in (1, 2, 3)
                 for metric, factor in (("vcpu_ns_an_event", 1), ("monitor_ns_an_event", 10),
                                        ("wake_ups_an_event", 0.001), ("bytes", 2**20))]
        said = report.scale(found)
        self.assertIn("| 1 | 102 (101 to 103) | 1,020 (1,010 to 1,030) | 0.102 (0.101 to 0.103) "
                      "| 102.0 (101.0 to 103.0) |", said)
        self.assertEqual(sum(line.startswith("| 1,000 |") for line in said), 1)
        self.assertEqual(sorted(report.drawn(found)), ["scale-hooks-memory.svg", "scale-hooks.svg"])


class Figures(unittest.TestCase):

    def test_quantiles(self):
        self.assertEqual(figures.quantile([4, 1, 3, 2, 5], 0.5), 3)
        self.assertEqual(figures.quantile([0, 10], 0.25), 2.5)
        self.assertEqual(figures.quantile([7], 0.99), 7)

    def test_times_are_taken_low_and_counts_in_the_middle(self):
        values = [1, 1, 1, 1, 100]
        self.assertEqual(figures.centre("vcpu_seconds")(values), 1)
        self.assertEqual(figures.centre("host_instructions")([1, 2, 9]), 2)
        self.assertEqual(figures.centre("host_instructions")([9, 1, 3, 2, 99, 4]), 3.5)

    def test_a_ratio_and_where_it_lies(self):
        part = rows.Part(made("p", "vcpu_seconds", {"without": [1.0] * 8, "x": [1.1] * 8}), "p", "vcpu_seconds")
        found = figures.ratio(part, ["storm"], "x", "without")
        self.assertAlmostEqual(found.value, 1.1)
        self.assertAlmostEqual(found.low, 1.1)
        self.assertAlmostEqual(found.high, 1.1)
        self.assertEqual(found.rounds, 8)

    def test_noise_widens_the_range_and_it_is_the_same_each_time(self):
        noisy = [1.0, 1.5, 0.9, 1.4, 1.1, 2.0, 1.0, 1.2]
        part = rows.Part(made("p", "vcpu_seconds", {"without": [1.0] * 8, "x": noisy}), "p", "vcpu_seconds")
        found = figures.ratio(part, ["storm"], "x", "without")
        self.assertLess(found.low, found.high - 0.05)
        self.assertEqual(found, figures.ratio(part, ["storm"], "x", "without"))

    def test_only_rounds_that_all_have_count(self):
        found = figures.estimate(lambda a, b: sum(a) - sum(b), [{1: 5, 2: 6}, {2: 1, 3: 9}], "ns")
        self.assertEqual((found.value, found.rounds), (5, 1))
        self.assertIsNone(figures.estimate(lambda a, b: 0, [{1: 5}, {2: 1}], "ns"))

    def test_works_are_added_up_round_by_round(self):
        part = rows.Part(made("p", "ns", {"c": [1, 2]}, "a") + made("p", "ns", {"c": [10]}, "b"), "p", "ns")
        self.assertEqual(figures.sum_of(part, ["a", "b"], "c"), {1: 11})

    def test_how_much_less_is_added(self):
        cases = {"without": [100, 100], "theirs": [150, 150], "ours": [105, 105]}
        part = rows.Part(made("p", "host_instructions", cases), "p", "host_instructions")
        self.assertAlmostEqual(figures.less_added(part, ["storm"], "ours", "theirs", "without").value, 0.9)

    def test_nothing_is_less_than_what_may_be_nothing(self):
        cases = {"without": [100, 110], "theirs": [99, 111], "ours": [100, 110]}
        part = rows.Part(made("p", "host_instructions", cases), "p", "host_instructions")
        self.assertIsNone(figures.less_added(part, ["storm"], "ours", "theirs", "without"))


class Verdicts(unittest.TestCase):

    def judge(self, low, high, limit=0.005, at_most=True, rounds=10, counted=False):
        found = figures.Estimate((low + high) / 2, low, high, rounds, counted)
        return verdict.judge("goal", found, limit, at_most, percent)

    def test_a_clear_figure_meets_or_misses(self):
        self.assertEqual(self.judge(0.001, 0.004).word, verdict.MET)
        self.assertEqual(self.judge(0.006, 0.009).word, verdict.MISSED)
        self.assertEqual(self.judge(0.91, 0.95, 0.9, at_most=False).word, verdict.MET)
        self.assertEqual(self.judge(0.7, 0.8, 0.9, at_most=False).word, verdict.MISSED)

    def test_a_spread_around_the_goal_gives_no_verdict(self):
        for at_most in (True, False):
            judged = self.judge(-0.02, 0.03, at_most=at_most)
            self.assertEqual(judged.word, verdict.NONE)
            self.assertIn("spread of -2.0% to 3.0% hides it", judged.why)

    def test_few_rounds_give_no_verdict(self):
        self.assertEqual(self.judge(0.001, 0.002, rounds=4).word, verdict.NONE)
        self.assertEqual(self.judge(0.001, 0.002, rounds=3, counted=True).word, verdict.MET)
        self.assertEqual(self.judge(0.001, 0.002, rounds=2, counted=True).word, verdict.NONE)

    def test_what_was_not_measured_gives_none(self):
        self.assertEqual(verdict.judge("goal", None, 1, True, percent).word, verdict.NONE)

    def test_one_hook_in_applications(self):
        cases = {"without": [1000] * 3, rows.EMPTY: [1010] * 3, "one hook": [1012] * 3}
        judged = goals.single_verdicts([row for work in goals.APPLICATIONS
                                        for row in made("single", "host_instructions", cases, work)])
        self.assertEqual([v.word for v in judged], [verdict.MISSED, verdict.MET])  # over without, over the empty plugin

    def test_files(self):
        cases = {"without": [100] * 3, rows.EMPTY: [100] * 3, goals.ALL_CALLS: [200] * 3,
                 goals.FILE_CALLS: [120] * 3, goals.OURS: [105] * 3}
        judged = goals.file_verdicts(made("files", "host_instructions", cases))
        self.assertEqual({v.word for v in judged}, {verdict.MET})


class WindowsCalls(unittest.TestCase):

    def rows(self, hooks, limited):
        """100 calls a round; instructions of the vCPU's thread."""
        cases = {"without": [10_000] * 3, rows.EMPTY: [10_200] * 3, relay.HOOKS: hooks,
                 relay.RELAY: [90_000] * 3, relay.LIMITED: limited}
        return (made("relay", "host_instructions", cases, "calls")
                + made("relay", "counted_events", {"without": [0] * 3, relay.HOOKS: [100] * 3}, "calls"))

    def test_what_a_call_costs(self):
        self.assertEqual(relay.costs(self.rows([10_500] * 3, [20_000] * 3))[2:],
                         ["| QEMU's empty plugin | 2 (2 to 2) |  |  |",
                          "| hooks on these functions | 5 (5 to 5) | 3 (3 to 3) |  |",
                          "| Wine's +relay | 800 (800 to 800) | 798 (798 to 798) | 99.4 % (99.4 % to 99.4 %) |",
                          "| Wine's +relay of these functions only | 100 (100 to 100) | 98 (98 to 98) | "
                          "95.0 % (95.0 % to 95.0 %) |"])

    def test_a_twentieth_is_the_goal(self):
        judged = relay.verdicts(self.rows([10_600] * 3, [20_000] * 3))
        self.assertEqual([v.word for v in judged], [verdict.MET, verdict.MISSED, verdict.MET, verdict.MET])

    def test_the_report_has_table_and_verdicts(self):
        text = report.markdown({"counted-relay": self.rows([10_100] * 3, [20_000] * 3)})
        self.assertIn("| 100 (100 to 100) | 98 (98 to 98) | 99.0 % (99.0 % to 99.0 %) |", text)
        self.assertIn("**met**: a call of Windows, counted: to without, the hooks add at least 20 times less (95 %) "
                      "than Wine's +relay of these functions only", text)

    def test_without_the_part_there_is_nothing(self):
        self.assertEqual((relay.costs([]), relay.verdicts([])), ([], []))


class Reports(unittest.TestCase):

    def test_what_was_not_measured_is_said(self):
        text = report.markdown({"peers": [rows.missing("peers", "sysdig", "Debian 12 has none")]})
        self.assertIn("- sysdig: not measured: Debian 12 has none", text)
        self.assertIn("Not measured.", text)
        self.assertNotIn("\n@", text)

    def test_a_run_gets_its_table_verdict_and_plot(self):
        cases = {"without": [1.0] * 6, rows.EMPTY: [1.1] * 6, goals.ALL_CALLS: [2.0] * 6, goals.OURS: [1.05] * 6}
        kept = {"files": made("files", "vcpu_seconds", cases)}
        text = report.markdown(kept)
        self.assertIn("| storm | all system calls | 2.000 s |", text)
        self.assertIn("**met**: all works, timed: to without, file behaviours add at least 90% less", text)
        self.assertIn("performance/files-timed.svg", text)
        self.assertEqual(list(report.drawn(report.measured(kept))), ["files-timed.svg"])

    def test_what_a_hit_adds(self):
        kept = (made("single", "vcpu_seconds", {"without": [1.0] * 5, rows.EMPTY: [1.1] * 5, "one hook": [1.2] * 5})
                + made("single", "wall_seconds", {"one hook": [2.0] * 5})
                + made("single", "events", {"one hook": [1000] * 5}))
        self.assertEqual(tables.hits(kept, "single", "vcpu_seconds")[2],
                         "| storm | 1,000 | 500 | 200,000 (200,000 to 200,000) | 100,000 (100,000 to 100,000) |")

    def test_plots_escape_names(self):
        drawing = plots.bars("a < b & c", "s", {"x<y": figures.Estimate(1, 0.5, 2, 5)})
        self.assertIn("a &lt; b &amp; c", drawing)
        self.assertNotIn("x<y", drawing)
