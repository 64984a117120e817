"""What was done to a kernel is told: its code, its entries, its lists."""

import json
import os
import struct

from adversary.rootkit import Rootkit, WithOwnInit
from harness import glasshook

MSR_LSTAR = 0xC0000082


class Entries(WithOwnInit):

    def code(self, at):
        """Machine code for the beginning of a system call: LSTAR leads to a jump behind it from now
        on, and the interrupt table's own address is used instead of its read-only alias."""
        set_lstar = b"\xb9" + struct.pack("<I", MSR_LSTAR)       # mov $MSR_LSTAR, %ecx
        rest = (b"\x48\x89\xc2\x48\xc1\xea\x20\x0f\x30"          # mov %rax,%rdx; shr $32,%rdx; wrmsr
                b"\x48\x83\xec\x10\x0f\x01\x0c\x24"              # sub $16,%rsp; sidt (%rsp)
                b"\x48\xb8" + struct.pack("<Q", self.address("idt_table")) +
                b"\x48\x89\x44\x24\x02\x0f\x01\x1c\x24"          # mov %rax,2(%rsp); lidt (%rsp)
                b"\x48\x83\xc4\x10\x31\xc0\xc3")                 # add $16,%rsp; xor %eax,%eax; ret
        jump_at = len(set_lstar) + 7 + len(rest)
        set_lstar += b"\x48\x8d\x05" + struct.pack("<i", len(rest))  # lea behind(%rip), %rax
        entry = self.address("entry_SYSCALL_64")
        jump = b"\xe9" + struct.pack("<i", entry - (at + jump_at + 5))
        return set_lstar + rest + jump, jump_at

    def test_code_changed_and_entries_moved(self):
        ram = self.ram()
        victim = self.address("__x64_sys_kexec_load")
        code, jump_at = self.code(victim)
        place = victim - self.image(ram)
        watching = self.watch_until_events(20)
        os.pwrite(ram, code, place)
        changed = self.wait_until_told(watching, 1, "kernel_code_modified")
        self.assertEqual(len(changed), 1)
        glass = changed[0]["glasshook"]
        self.assertIn(int(glass["address"], 16), range(victim, victim + len(code)))
        self.assertEqual(glass["code"]["functions"][0], "__x64_sys_kexec_load")
        self.assertLessEqual(glass["code"]["changed_bytes"], len(code))
        self.assertEqual(self.told("kernel_entry_changed"), [])

        self.give_the_sign(ram)
        moved = self.wait_until_told(watching, 2, "kernel_entry_changed")
        entries = {e["glasshook"]["entry"]["register"]: e["glasshook"]["entry"] for e in moved}
        self.assertEqual(entries["LSTAR"]["before"], "entry_SYSCALL_64")
        self.assertEqual(entries["LSTAR"]["after"], f"__x64_sys_kexec_load+{jump_at:#x}")
        self.assertEqual(entries["IDTR"]["after"], "idt_table")
        # Init did it, by its system call.
        self.assertEqual([(e["process"]["pid"], e["glasshook"]["evidence"]) for e in moved],
                         [(1, {"LSTAR": "wrmsr", "IDTR": "lidt"}[r]) for r in entries])
        self.finish(watching)
        self.assertTrue(self.is_running())
        self.assertEqual(self.told("kernel_table_changed", "process_hidden"), [])
        self.assert_fits_schema(changed + moved)


class WriteProtection(WithOwnInit):

    def code(self, place, value):
        """Machine code for the beginning of a system call: writes to read-only memory."""
        return (b"\x0f\x20\xc0\x48\x89\xc2"                     # mov %cr0,%rax; mov %rax,%rdx
                b"\x48\x25\xff\xff\xfe\xff\x0f\x22\xc0"          # and $~WP,%rax; mov %rax,%cr0
                b"\x48\xb9" + struct.pack("<Q", place) +           # mov $place,%rcx
                b"\x48\xb8" + struct.pack("<Q", value) +           # mov $value,%rax
                b"\x48\x89\x01\x0f\x22\xc2"                       # mov %rax,(%rcx); mov %rdx,%cr0
                b"\x31\xc0\xc3")                                  # xor %eax,%eax; ret

    def test_who_redirected_a_system_call(self):
        ram = self.ram()
        other = self.address("__x64_sys_getcwd")
        # 134 is uselib, which nobody calls.
        code = self.code(self.address("sys_call_table") + 134 * 8, other)
        os.pwrite(ram, code, self.address("__x64_sys_kexec_load") - self.image(ram))
        watching = self.watch_until_events(20)
        self.give_the_sign(ram)
        changed = self.wait_until_told(watching, 1, "kernel_table_changed")
        self.finish(watching)
        self.assertTrue(self.is_running())
        self.assertEqual([(e["glasshook"]["table"]["index"], e["glasshook"]["table"]["after"],
                           e["process"]["pid"], e["glasshook"]["evidence"]) for e in changed],
                         [(134, "__x64_sys_getcwd", 1, "cr0_write_protect")])
        self.assert_fits_schema(changed)


class HiddenProcess(WithOwnInit):

    def tasks(self, ram, distance, init, base_at):
        """The list of tasks, found by what it looks like: its nodes, their names, and how to get at
        them."""
        base, = struct.unpack("<Q", os.pread(ram, 8, base_at - distance))

        def place(address):
            return address - distance if address >= init else address - base

        def word(address):
            return struct.unpack("<Q", os.pread(ram, 8, place(address)))[0]

        size = os.fstat(ram).st_size
        task = os.pread(ram, 16384, place(init))
        name = task.index(b"swapper")
        for offset in range(0, name, 8):
            following, = struct.unpack_from("<Q", task, offset)
            if not base < following < base + size or word(following + 8) != init + offset:
                continue
            nodes = []
            while following != init + offset and len(nodes) < 1000:
                nodes.append(following)
                following = word(following)
            names = {n: os.pread(ram, 16, place(n - offset + name)).split(b"\0")[0] for n in nodes}
            if b"loiterer" in names.values() and b"kthreadd" in names.values():
                return nodes, names, place, word
        self.fail("no list of tasks")

    def test_process_taken_out_of_the_list(self):
        ram = self.ram()
        distance = self.image(ram)
        lines = glasshook("ps", "--vm", self.socket, "--json").stdout.splitlines()
        pid = next(p["pid"] for p in map(json.loads, lines) if p["name"] == "loiterer")
        init, base_at = self.address("init_task"), self.address("page_offset_base")
        watching = self.watch_until_events(20)
        with self.paused():
            nodes, names, place, word = self.tasks(ram, distance, init, base_at)
            # Its children had the name from it.
            node = next(n for n in nodes if names[n] == b"loiterer")
            following, before = word(node), word(node + 8)
            os.pwrite(ram, struct.pack("<Q", following), place(before))
            os.pwrite(ram, struct.pack("<Q", before), place(following + 8))
        hidden = self.wait_until_told(watching, 1, "process_hidden")
        self.assertEqual([e["glasshook"]["hidden"] for e in hidden],
                         [{"pid": pid, "missing_from": ["task_list"]}])
        self.assertEqual(hidden[0]["process"]["name"], "loiterer")
        self.finish(watching)
        self.assertTrue(self.is_running())
        self.assertEqual(len(self.told("process_hidden")), 1)
        self.assert_fits_schema(hidden)


class HiddenModule(Rootkit):

    def newest(self, ram):
        """The newest module: its name, where its links are, and where those of the list are."""
        lines = glasshook("modules", "--vm", self.socket, "--json").stdout.splitlines()
        name = json.loads(lines[0])["name"]
        head = self.address("modules")
        # struct module: ..., list { next, prev }, name
        links = self.places(ram, struct.pack("<Q", head) + name.encode() + b"\0")
        self.assertEqual(len(links), 1)
        return name, links[0] - 8, head - self.image(ram)

    def test_module_taken_out_of_the_list(self):
        ram = self.ram()
        name, links, head = self.newest(ram)
        watching = self.watch_until_events(20)
        os.pwrite(ram, os.pread(ram, 8, links), head)
        hidden = self.wait_until_told(watching, 1, "kernel_module_hidden")
        self.assertEqual([e["glasshook"]["module"]["name"] for e in hidden], [name])
        self.finish(watching)
        self.assert_fits_schema(hidden)
        self.assertNotIn(name.encode(), glasshook("modules", "--vm", self.socket).stdout)

    def test_module_hidden_before(self):
        ram = self.ram()
        name, links, head = self.newest(ram)
        os.pwrite(ram, os.pread(ram, 8, links), head)
        watching = self.watch_until_events(20)
        hidden = self.wait_until_told(watching, 1, "kernel_module_hidden")
        self.assertEqual([e["glasshook"]["module"]["name"] for e in hidden], [name])
        self.finish(watching)
        self.assertTrue(self.is_running())
        self.assertEqual(self.told("kernel_code_modified", "process_hidden"), [])
