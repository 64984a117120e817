"""The reader of Wine's relay log, on lines of a real one."""

import unittest

import relay_log

REAL = rb"""glasshook: preparing the command
0134:0138:Starting thread proc 00000001400014D0 (arg=0000000067FF0000)
0134:0138:Call KERNEL32.BaseThreadInitThunk(00000000,1400014d0,67ff0000) ret=170059c67
0134:0138:Call KERNEL32.CreateFileA(14000e040 "C:\\users\\root\\one.txt",40000000,00000000,00000000,00000001,00000080,00000000) ret=14000198b
0134:0138:Call kernelbase.CreateFileA(14000e040 "C:\\users\\root\\one.txt",40000000,00000000,00000000,00000001,00000080,00000000) ret=1700484ff
013c:0140:Call PE DLL (proc=0000000170068C10,module=0000000170000000 L"ntdll.dll",reason=PROCESS_ATTACH,res=000000000021FB00)
013c:0140:Call ntdll.wcscpy(0021f974,7b0ad814 L"Service Pack 1") ret=7b07f922
0134:0138:Ret  kernelbase.CreateFileA() retval=00000030 ret=1700484ff
013c:0140:Ret  ntdll.wcscpy() retval=0021f974 ret=7b07f922
0134:0138:Ret  KERNEL32.CreateFileA() retval=00000030 ret=14000198b
0134:0138:Call msvcrt.__iob_func() ret=140007edc
0134:0138:Ret  msvcrt.__iob_func() retval=2283061c0 ret=140007edc
0134:0138:Call KERNEL32.ExitProcess(00000000) ret=22828f6b5
"""


class Parser(unittest.TestCase):

    def test_calls_in_order_with_results_and_depth(self):
        calls = relay_log.parse(REAL.splitlines())
        self.assertEqual([(c.pid, c.tid, f"{c.module}.{c.function}", c.depth, c.result)
                          for c in calls],
                         [(0x134, 0x138, "KERNEL32.BaseThreadInitThunk", 0, None),
                          (0x134, 0x138, "KERNEL32.CreateFileA", 1, 0x30),
                          (0x134, 0x138, "kernelbase.CreateFileA", 2, 0x30),
                          (0x13c, 0x140, "ntdll.wcscpy", 0, 0x21f974),
                          (0x134, 0x138, "msvcrt.__iob_func", 1, 0x2283061c0),
                          (0x134, 0x138, "KERNEL32.ExitProcess", 1, None)])
        create = calls[1]
        self.assertEqual(create.caller, 0x14000198b)
        self.assertEqual([a.value for a in create.arguments],
                         [0x14000e040, 0x40000000, 0, 0, 1, 0x80, 0])
        self.assertEqual(create.texts(), ["C:\\users\\root\\one.txt"])
        self.assertEqual(calls[3].texts(), ["Service Pack 1"])
        self.assertEqual(calls[4].arguments, [])

    def test_strings(self):
        [narrow, wide, cut, odd] = relay_log.parse_arguments(
            rb'10 "a\"b,\\\n\xe9",20 L"\00e9\d83d\de00\\x",30 L"long"...,40 ""')
        self.assertEqual(narrow.text, 'a"b,\\\né')
        self.assertEqual(wide.text, "é😀\\x")
        self.assertEqual((cut.text, cut.cut), ("long", True))
        self.assertEqual((odd.text, odd.cut), ("", False))

    def test_calls_that_an_exception_left_behind(self):
        calls = relay_log.parse([b"01:", b"0020:Call a.Outer() ret=10", b"0020:Call a.Lost() ret=20",
                                 b"0020:Ret  a.Outer() retval=00000007 ret=10"])
        self.assertEqual([c.result for c in calls], [7, None])

    def test_a_missing_call_is_an_error(self):
        with self.assertRaises(ValueError):
            relay_log.parse([b"0020:Ret  a.Outer() retval=00000007 ret=10"])
        with self.assertRaises(ValueError):
            relay_log.parse([b"0020:Call a.Outer(what) ret=10"])
