"""Behaviours against strace of the same processes in the same run: nothing lost, nothing invented."""

import collections

import strace_log
from harness import GuestTest, run

CALLS = ("execve,execveat,open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,"
         "mkdir,mkdirat,rmdir,connect,chdir")
ACTIONS = {
    "process_executed": "exec", "file_opened": "open", "file_created": "open",
    "file_deleted": "unlink", "file_renamed": "rename", "directory_created": "mkdir",
    "directory_deleted": "rmdir", "network_connected": "connect",
}


def detail(kind, event):
    if kind == "exec":
        return tuple(event["process"]["args"])
    if kind == "rename":
        return (event["file"]["path"], event["file"]["target_path"])
    if kind == "connect":
        return (event["destination"]["ip"], event["destination"]["port"])
    return event["file"]["path"]


def seen(result):
    """The same shape as strace_log.actions()."""
    threads = collections.defaultdict(list)
    for event in result.actions(*ACTIONS):
        if event["event"]["action"] == "network_connected" and (
                "ip" not in event["destination"] or event["event"].get("outcome") == "failure"):
            continue
        kind = ACTIONS[event["event"]["action"]]
        thread = event["process"]["thread"]["id"]
        threads[thread].append((kind, detail(kind, event)))
    return threads


class AgainstStrace(GuestTest):

    def compare(self, command, *options, least, directory="/root"):
        """Runs `command` under strace in a watched VM; both accounts must agree per thread."""
        script = (f"strace -f -ff -qq -y -s 4096 -v -e abbrev=none -e trace={CALLS} "
                  f"-e signal=none -o /tmp/strace-log sh -c \"$1\"; "
                  "status=$?; tail -n +1 /tmp/strace-log.* /dev/null; exit $status")
        result = run(["sh", "-c", script, "sh", command], "--behaviours", "process,file,network",
                     "--tree", "--directory", directory, *options)
        self.assertEqual(result.code, 0, result.stderr[-3000:])
        self.assert_nothing_lost(result)
        truth = strace_log.actions(result.stdout.decode("utf-8", errors="surrogateescape"),
                                    directory)
        ours = seen(result)
        compared = 0
        for thread, expected in truth.items():
            mine = ours.get(thread, [])
            # strace's own child opens nothing of its own before its first exec.
            first = next((i for i, (kind, _) in enumerate(mine) if kind == "exec"), 0)
            if expected and expected[0][0] == "exec":
                mine = mine[first:]
            self.assertEqual(mine, expected, f"thread {thread}")
            compared += len(expected)
        self.assertGreaterEqual(compared, least, "the command did too little to compare")

    def test_python_imports_its_standard_library(self):
        self.compare("python3 -c 'import os\n"
                     "names = {f.split(\".\")[0] for f in os.listdir(os.path.dirname(os.__file__))}\n"
                     "for m in sorted(names):\n"
                     "    if m.split(chr(95))[0] and m not in (\"antigravity\", \"this\", \"idlelib\", \"tkinter\", \"turtle\", \"turtledemo\"):\n"
                     "        try: __import__(m)\n"
                     "        except ImportError: pass'", least=300)

    def test_find(self):
        self.compare("find /usr /etc -name '*.py' | wc -l", least=200)

    def test_tar_and_renames(self):
        self.compare("tar cf a.tar -C / etc && mkdir /tmp/out && tar xf a.tar -C out && "
                     "mv out moved && mv a.tar b.tar && rm -r moved b.tar", least=300,
                     directory="/tmp")

    def test_two_processors(self):
        self.compare("for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5 6; do "
                     "cat /etc/hostname >/tmp/f$i.$j; mv /tmp/f$i.$j /tmp/g$i.$j; "
                     "rm /tmp/g$i.$j; done) & done; wait", "--smp", "2", least=300)

    def test_connections(self):
        self.compare("python3 -c 'import socket\n"
                     "s=socket.create_server((\"127.0.0.1\", 4444))\n"
                     "for i in range(20):\n"
                     "    c=socket.create_connection((\"127.0.0.1\", 4444)); a,_=s.accept()\n"
                     "    a.sendall(b\"x\"*100); c.recv(100); a.close(); c.close()\n"
                     "u=socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                     "u.connect((\"127.0.0.1\", 5353))'", least=40)


class ForkStorm(GuestTest):

    def test_two_thousand_processes(self):
        result = run(["sh", "-c", "i=0; while [ $i -lt 2000 ]; do (exit 3) ; i=$((i+1)); done"],
                     "--behaviours", "process")
        self.assert_nothing_lost(result)
        started = [e["process"]["entity_id"] for e in result.actions("process_started")]
        exited = [e for e in result.actions("process_exited") if e["process"].get("exit_code") == 3]
        self.assertEqual(len(started), 2000)
        self.assertEqual(len(set(started)), 2000, "an entity id stands for one process")
        self.assertEqual(len(exited), 2000)
