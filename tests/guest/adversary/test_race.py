"""Arguments that another thread changes while they are used: behaviours say what was done."""

from adversary.watched import Adversary


class Race(Adversary):

    def test_a_name_that_changes_while_it_is_opened(self):
        watched = self.run_program("race", options=["--smp", "2", "--behaviours", "process,file"])
        said = dict(line.split(": ") for line in self.verdicts(watched))
        self.assert_nothing_lost(watched)
        self.assertEqual(said["all"], "2000")
        # The race was one.
        self.assertGreater(min(int(said["a"]), int(said["b"])), 20)
        told = {"a": 0, "b": 0}
        for event in watched.actions("file_opened"):
            name = event["file"]["path"]
            if "/race_" in name and "O_NOATIME" in event["glasshook"]["open"]["flags"]:
                told[name[-1]] += 1
        self.assertEqual(told, {"a": int(said["a"]), "b": int(said["b"])})
