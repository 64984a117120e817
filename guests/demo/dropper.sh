#!/bin/sh
# The second story of `glasshook demo`: runs the dropper (dropper.c), and waits for what it leaves
# behind in another process, which has the same standard output: it is read until both have ended.
held=$(./dropper.exe)
