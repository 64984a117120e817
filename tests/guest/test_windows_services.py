"""Libraries, named objects, services and requests of a Windows program, against what it says."""

import pathlib
import tempfile

from harness import GuestTest, compile_windows, run

SOURCES = pathlib.Path(__file__).resolve().parent / "programs" / "windows"


class ServicesAndTheirLike(GuestTest):

    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "services.exe"
            compile_windows(SOURCES / "services.c", program, SOURCES / "services_winhttp.c",
                            "-lws2_32", "-lwininet", "-lwinhttp")
            cls.result = run(["./services.exe"], "--guest", "windows-api", "--copy", program,
                             "--behaviours",
                             "windows-module,windows-object,windows-service,windows-request")
        cls.said = [line.split("\t") for line in cls.result.stdout.decode().splitlines()]

    def setUp(self):
        self.assertEqual(self.result.code, 0, self.result.stdout.decode() + self.result.stderr[-2000:])
        self.assert_nothing_lost(self.result)

    def lines(self, action):
        return [line[1:] for line in self.said if line[0] == action]

    def test_libraries_with_their_paths_and_addresses(self):
        loaded = {e["dll"]["path"].lower(): e["glasshook"]["address"]
                  for e in self.result.actions("library_loaded")}
        said = self.lines("library_loaded")
        self.assertEqual(len(said), 2)
        for path, address in said:
            self.assertEqual(loaded[path.lower()], "0x" + address)
        # What it is linked with.
        for name in ("kernel32", "kernelbase", "ws2_32", "wininet", "winhttp", "advapi32"):
            self.assertIn(rf"c:\windows\system32\{name}.dll", loaded)

    def test_a_service_from_its_making_to_its_end(self):
        [(name, line)] = self.lines("service_created")
        [created] = self.result.actions("service_created")
        self.assertEqual(created["service"]["name"], name)
        self.assertEqual(created["glasshook"]["service"],
                         {"display_name": "A service of a test", "command_line": line,
                          "type": "SERVICE_WIN32_OWN_PROCESS", "start": "SERVICE_DEMAND_START"})
        for action in ("service_started", "service_stopped", "service_deleted"):
            self.assertEqual([[e["service"]["name"]] for e in self.result.actions(action)],
                             self.lines(action))

    def test_named_objects(self):
        for action in ("object_created", "object_opened"):
            told = [[e["glasshook"]["object"]["type"], e["glasshook"]["object"]["name"]]
                    for e in self.result.actions(action)]
            # The caches of wininet have mutexes too.
            self.assertEqual([t for t in told if "lasshook" in t[1]], self.lines(action))

    def test_names_that_were_looked_up(self):
        told = [[e["dns"]["question"]["name"], str(int(e["event"]["outcome"] == "failure"))]
                for e in self.result.actions("name_resolved")]
        self.assertEqual(told, self.lines("name_resolved"))

    def test_web_pages_asked_for(self):
        told = [[e["http"]["request"]["method"], e["url"]["full"],
                 str(int(e["event"]["outcome"] == "failure"))]
                for e in self.result.actions("http_requested")]
        self.assertEqual(told, self.lines("http_requested"))
        self.assertEqual(len(told), 3)
