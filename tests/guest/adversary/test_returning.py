"""Ways in and out of hooked functions that no compiler makes."""

from adversary.watched import Adversary


class Returning(Adversary):

    def test_odd_ways_in_and_out(self):
        watched = self.same_watched_or_not("returns", watch=["-e", "libc!labs/rate=1000"])
        lines = watched.stdout.decode().splitlines()
        self.assertIn("call on another stack: 4950", lines)
        self.assertIn("entered by a return: 4950", lines)
        # Each call came back, and with its own result.
        calls = [e["api"] for e in watched.actions("api_called") if e["api"]["name"] == "labs"]
        self.assertEqual(len(calls), 100 + 100 + 100 + 100 + 10 + 25)
        for call in calls:
            self.assertEqual(call["args"]["arg0"], -call["result"] % (1 << 64))
