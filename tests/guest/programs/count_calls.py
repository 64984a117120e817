"""count_calls.py PROCESSES THREADS CALLS: that many calls of getenv in each thread of each process.

For guests whose C library is too old for what this machine compiles.
"""
import ctypes
import os
import sys
import threading

libc = ctypes.CDLL(None)
processes, threads, calls = map(int, sys.argv[1:])


def count():
    for _ in range(calls):
        libc.getenv(b"GLASSHOOK_NOT_SET")


def in_threads():
    running = [threading.Thread(target=count) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


children = []
for _ in range(processes):
    child = os.fork()
    if child == 0:
        in_threads()
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
