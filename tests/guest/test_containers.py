"""Processes in containers: whose they are, and paths and hooks with a root of their own."""

import pathlib
import tempfile

from harness import GuestTest, compile_c, run

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
ID = "0123456789abcdef" * 4
CALLS = 50


class Containers(GuestTest):

    def watch(self, cgroup, how, *options):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "in_container"
            compile_c(PROGRAMS / "in_container.c", program)
            result = run(["python3", "container.py", cgroup, how, "in_container", CALLS],
                         "-e", "libc!open", "--behaviours", "default",
                         "--copy", program, "--copy", PROGRAMS / "container.py", *options)
        self.assertEqual(result.code, 0, result.stderr[-3000:])
        self.assert_nothing_lost(result)
        return result

    def application(self, result):
        """Events of /app, which must all name the container; and the pids the program printed."""
        own = [e for e in result.events if e.get("process", {}).get("executable") == "/app"]
        self.assertTrue(own, result.stderr[-3000:])
        self.assertEqual({e.get("container", {}).get("id") for e in own}, {ID})
        return own, [int(word) for word in result.stdout.split()]

    def check_calls_and_paths(self, own, inner, child):
        def of(action):
            return [e for e in own if e["event"]["action"] == action]

        opened = {}
        for event in of("api_called"):
            path = event["api"]["args"]["path"]
            self.assertGreaterEqual(event["api"]["result"], 0, event)
            opened[path] = opened.get(path, 0) + 1
        self.assertEqual(opened, {"/data/marker": CALLS, "/data/made": 1, "/data/child": CALLS})
        self.assertEqual({e["process"]["vpid"] for e in own}, {inner, child})

        self.assertEqual([e["file"]["path"] for e in of("file_created")], ["/data/made"])
        self.assertEqual([(e["file"]["path"], e["file"]["target_path"])
                          for e in of("file_renamed")], [("/data/made", "/data/kept")])
        self.assertEqual([e["file"]["path"] for e in of("directory_created")], ["/data/dir"])
        self.assertEqual([e["file"]["path"] for e in of("file_deleted")], ["/data/doomed"])
        self.assertEqual([e["file"]["path"] for e in of("file_symlinked")], ["/data/symlink"])
        self.assertEqual([e["file"]["path"] for e in of("file_permissions_changed")],
                         ["/data/marker"])
        self.assertEqual([(e["file"]["path"], e["glasshook"]["bytes"])
                          for e in of("file_written")], [("/data/made", 12)])
        libraries = {e["dll"]["path"] for e in of("library_loaded")}
        self.assertIn("/usr/lib/x86_64-linux-gnu/libc-2.99.so", libraries)
        paths = [e["file"]["path"] for e in own if "path" in e.get("file", {})]
        self.assertEqual([p for p in paths if p.startswith("/tmp/box")], [])
        # The C library of the container is one.
        self.assertEqual(of("api_bypassed"), [])

    def test_namespaces_and_a_root_of_their_own(self):
        result = self.watch(f"docker-{ID}.scope", "pivot")
        own, (inner, child, _) = self.application(result)
        self.assertEqual(inner, 1)
        self.check_calls_and_paths(own, inner, child)

    def test_several_processors(self):
        result = self.watch(f"docker/{ID}", "pivot", "--smp", "2")
        own, (inner, child, _) = self.application(result)
        self.check_calls_and_paths(own, inner, child)

    def test_only_another_root_directory(self):
        result = self.watch(f"kubepods/pod1/{ID}", "chroot")
        own, (inner, child, _) = self.application(result)
        self.check_calls_and_paths(own, inner, child)

    def test_whose_a_process_is_before_and_after_it_is_moved(self):
        result = self.watch(f"docker-{ID}.scope", "pivot")
        outside = [e for e in result.actions("process_executed")
                   if e["process"]["name"] == "python3"]
        self.assertTrue(outside)
        self.assertEqual([e for e in outside if "container" in e], [])
        moved = [e for e in result.actions("file_created") if e["file"]["path"] == "/tmp/moved"]
        self.assertEqual([e["container"]["id"] for e in moved], [ID],
                         "from the moment it is put into the group")
