"""How sessions begin and end, and what a hostile guest can do to the output."""

import pathlib
import signal
import subprocess
import tempfile
import time

from harness import GLASSHOOK, GuestTest, end, glasshook, read_events, run


class ExitStatus(GuestTest):

    def test_is_the_commands(self):
        self.assertEqual(run(["sh", "-c", "exit 7"]).code, 7)

    def test_command_not_found(self):
        self.assertEqual(run(["no-such-command"]).code, 127)

    def test_time_out(self):
        result = run(["sleep", "60"], "--timeout", "3")
        self.assertEqual(result.code, 124)
        self.assertTrue(result.actions("session_summary"), "what was seen is not lost")

    def test_unknown_guest(self):
        done = glasshook("run", "--guest", "no-such-guest", "--", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"known guests: ", done.stderr)

    def test_interrupt_ends_cleanly(self):
        with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
            process = subprocess.Popen([GLASSHOOK, "run", "--json", out.name, "--", "sleep", "100"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE)
            try:
                self.wait_for(out.name, "process_executed")
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(30), 130)
                self.assertEqual(read_events(out.name)[-1]["event"]["action"], "session_summary")
            finally:
                end(process)
                process.stderr.close()

    def wait_for(self, path, text):
        deadline = time.monotonic() + 60
        while text not in pathlib.Path(path).read_text(errors="replace"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.2)


class HostileNames(GuestTest):

    def test_file_names_of_any_bytes(self):
        names = [b"new\nline", b"esc\x1b[2Jape", b"quote\"back\\slash", b"bad\xff\xfeutf8",
                 b"\xe2\x80\xaertl", b"x" * 255, b"{\"event\":1}\n{\"forged\":true}"]
        script = ("import os, sys\n"
                  "os.chdir('/tmp')\n"
                  f"for name in {names!r}: open(name, 'w').close()\n")
        result = run(["python3", "-c", script], "--behaviours", "file", "--live")
        self.assertEqual(result.code, 0, result.stderr[-2000:])
        created = [e["file"]["path"].removeprefix("/tmp/") for e in result.actions("file_created")
                   if e["file"]["path"].startswith("/tmp/")]
        self.assertEqual(created, [n.decode("utf-8", errors="replace") for n in names])
        self.assertNotIn("\x1b[2J", result.stderr)
        self.assertFalse(any(line.startswith("line") for line in result.stderr.splitlines()))

    def test_arguments_of_any_length(self):
        result = run(["sh", "-c", "exec true \"$(head -c 100000 /dev/zero | tr '\\0' A)\""])
        self.assertEqual(result.code, 0)
        self.assertTrue(result.actions("process_executed"))


class Replay(GuestTest):

    def test_gives_the_same_events_bit_for_bit(self):
        with tempfile.TemporaryDirectory() as folder:
            live, again, recording = (pathlib.Path(folder) / n for n in ("live", "again", "rec"))
            done = glasshook("run", "--record", recording, "--json", live, "-e", "libc!open",
                             "--host-id", "test", "--", "sh", "-c",
                             "ls /etc >/tmp/x; mv /tmp/x /tmp/y; cat /tmp/y | wc -l; rm /tmp/y")
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
            done = glasshook("replay", recording, "--json", again)
            self.assertEqual(done.returncode, 0, done.stderr[-2000:])
            self.assertGreater(live.stat().st_size, 10_000)
            self.assertEqual(live.read_text(), again.read_text())

    def test_other_files_are_refused(self):
        done = glasshook("replay", "/etc/hostname")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"not a Glasshook recording", done.stderr)


class Behaviours(GuestTest):

    def test_each_kind_is_seen(self):
        script = r"""
import ctypes, mmap, os, signal, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
os.chdir("/tmp")
open("a", "w").write("x" * 5000)
os.truncate("a", 10); os.chmod("a", 0o600); os.chown("a", 1, 1)
os.link("a", "b"); os.symlink("a", "c"); os.rename("b", "d")
open("/root/attr", "w").close(); os.setxattr("/root/attr", "user.test", b"1")
os.mkdir("dir"); os.rmdir("dir")
child = subprocess.Popen(["sleep", "50"])
time.sleep(0.3)
buffer = ctypes.create_string_buffer(b"A" * 8)
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
maps = open(f"/proc/{child.pid}/maps").read().splitlines()
stack = next(int(l.split("-")[0], 16) for l in maps if "[stack]" in l)
local = iovec(ctypes.addressof(buffer), 8); remote = iovec(stack + 4096, 8)
assert libc.process_vm_writev(child.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) == 8
with open(f"/proc/{child.pid}/mem", "r+b", buffering=0) as mem: mem.seek(stack + 4096); mem.write(b"B" * 8)
os.kill(child.pid, signal.SIGTERM); child.wait()
code = mmap.mmap(-1, 4096, prot=7); code.write(b"\xb8\x2a\x00\x00\x00\xc3")
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
assert ctypes.CFUNCTYPE(ctypes.c_int)(address)() == 42
fd = os.memfd_create("payload"); os.write(fd, open("/bin/true", "rb").read())
subprocess.run([f"/proc/self/fd/{fd}"], pass_fds=[fd], check=True)
server = socket.create_server(("127.0.0.1", 5555))
client = socket.create_connection(("127.0.0.1", 5555)); peer, _ = server.accept()
client.sendall(b"z" * 1234); peer.recv(2000); client.close(); peer.close()
query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(query, ("192.168.1.1", 53))
os.remove("a"); os.setuid(1000)
"""
        result = run(["python3", "-c", script])
        self.assertEqual(result.code, 0, result.stderr[-3000:])
        self.assert_nothing_lost(result)
        seen = {e["event"]["action"] for e in result.events}
        for action in ("process_started", "process_executed", "process_exited", "file_created",
                       "file_opened", "file_read", "file_written", "file_truncated",
                       "file_permissions_changed", "file_owner_changed", "file_linked",
                       "file_symlinked", "file_attribute_changed", "file_renamed", "file_deleted", "directory_created",
                       "directory_deleted", "process_memory_written", "signal_sent",
                       "code_executed_unbacked", "memory_file_created",
                       "process_executed_from_memory", "network_listening", "network_connected",
                       "network_accepted", "dns_queried", "credentials_changed",
                       "library_loaded"):
            with self.subTest(action):
                self.assertIn(action, seen)
        written = next(e for e in result.actions("file_written") if e["file"]["path"] == "/tmp/a")
        self.assertIn(5000, json_numbers(written))
        questions = [e["dns"]["question"]["name"] for e in result.actions("dns_queried")]
        self.assertIn("example.com", questions)


def json_numbers(value):
    """All numbers in a JSON value."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in json_numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in json_numbers(v)]
    return [value] if isinstance(value, (int, float)) else []


class Schema(GuestTest):

    def test_every_line_fits_the_schema(self):
        result = run(["sh", "-c", "python3 -c 'import socket' ; ls -l /etc | sort > /tmp/out; "
                      "chmod 600 /tmp/out; rm /tmp/out; kill -0 $$; nc -w 1 127.0.0.1 1"],
                     "-e", "libc!open", "-e", "kernel!vfs_open", "--behaviours", "all")
        self.assertGreater(len(result.events), 100)
        self.assert_fits_schema(result.events)
