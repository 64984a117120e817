"""Connections of a Windows program, against what it says of them."""

import pathlib
import tempfile

from harness import GuestTest, compile_windows, run

SOURCE = pathlib.Path(__file__).resolve().parent / "programs" / "windows" / "sockets.c"
END = {"network_listening": "server", "network_connected": "destination",
       "network_accepted": "source"}


class WindowsNetwork(GuestTest):

    def test_each_is_told_once_with_its_address_and_outcome(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "sockets.exe"
            compile_windows(SOURCE, program, "-lws2_32")
            # With the default behaviours: none may tell it a second time.
            result = run(["./sockets.exe"], "--guest", "windows-api", "--copy", program)
        self.assertEqual(result.code, 0, result.stdout.decode() + result.stderr[-2000:])
        self.assert_nothing_lost(result)
        said = [line.split("\t") for line in result.stdout.decode().splitlines()]
        self.assertEqual(len(said), 9)
        told = [[e["event"]["action"], e["network"]["transport"], e[end].get("ip", ""),
                 str(e[end].get("port", "")), e["event"].get("outcome", "")]
                for e in result.events
                if (end := END.get(e["event"]["action"])) and e["network"]["transport"] != "unix"]
        self.assertEqual(told, said)
        # What it sent and got is counted, whoever connected it.
        closed = [e["network"]["bytes"] for e in result.actions("network_closed")]
        self.assertTrue(closed and all(total == 1 for total in closed), closed)
