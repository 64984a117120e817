"""A table of the kernel that leads elsewhere is told."""

import os
import struct

from adversary.rootkit import Rootkit


class KernelTables(Rootkit):

    def test_system_call_redirected(self):
        ram = self.ram()
        table = self.address("sys_call_table") - self.image(ram)
        other = self.address("__x64_sys_getcwd")
        watching = self.watch_until_events(20)
        # 134 is uselib, which nobody calls.
        os.pwrite(ram, struct.pack("<Q", other), table + 134 * 8)
        self.finish(watching)
        told = self.told("kernel_table_changed")
        self.assertEqual([(e["glasshook"]["table"]["name"], e["glasshook"]["table"]["index"],
                           e["glasshook"]["table"]["after"]) for e in told],
                         [("sys_call_table", 134, "__x64_sys_getcwd")])
        self.assertTrue(self.is_running())
