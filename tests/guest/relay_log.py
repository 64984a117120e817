"""Reads the log of Wine's WINEDEBUG=+relay (+pid): every call between modules, as Wine saw it.

The log holds calls of exported functions by way of an import or of GetProcAddress; calls inside a
module are not in it. The guest image clears RelayExclude, so that nothing else is left out. A function
that jumps on to another module's (kernel32 to kernelbase) shows as two calls, the inner one with a
caller in ntdll. Words are as the registers had them: the upper half of a 32 bit argument may hold
anything. Strings are printed where Wine's declaration says so; Wine cuts long ones.
"""

import re

# 0020:00c4:Call KERNEL32.CreateFileA(0021fa10 "C:\\a.txt",40000000,...) ret=140001627
CALL = re.compile(rb"^(?:(?P<pid>[0-9a-f]{4,}):)?(?P<tid>[0-9a-f]{4,}):Call (?P<module>[^ ]+?)\."
                  rb"(?P<function>[^.( ]+)\((?P<arguments>.*)\) ret=(?P<ret>[0-9a-f]+)$")
RETURN = re.compile(rb"^(?:(?P<pid>[0-9a-f]{4,}):)?(?P<tid>[0-9a-f]{4,}):Ret  (?P<module>[^ ]+?)\."
                    rb"(?P<function>[^.( ]+)\(\) retval=(?P<value>[0-9a-f]+) ret=(?P<ret>[0-9a-f]+)$")
ARGUMENT = re.compile(rb'(?P<value>[0-9a-f]+)(?: (?P<wide>L)?"(?P<text>(?:[^"\\]|\\.)*)"(?P<cut>\.\.\.)?)?'
                      rb"(?:,|$)")
ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|([0-9a-f]{4})|(.))")
PLAIN = {b"n": "\n", b"r": "\r", b"t": "\t"}


class Argument:
    """One argument: its word, and the string that Wine printed with it, if any."""

    def __init__(self, value, text, cut):
        self.value, self.text, self.cut = value, text, cut

    def __repr__(self):
        return f"{self.value:#x}" + ("" if self.text is None else f" {self.text!r}")


class Call:
    """One call. `result` is None while it has not returned (and for good if it never does)."""

    def __init__(self, pid, tid, module, function, arguments, caller, depth):
        self.pid, self.tid, self.module, self.function = pid, tid, module, function
        self.arguments, self.caller, self.depth = arguments, caller, depth
        self.result = None

    def texts(self):
        return [a.text for a in self.arguments if a.text is not None]

    def __repr__(self):
        return f"{self.module}.{self.function}({self.arguments}) = {self.result}"


def unescape(text, wide):
    """Undoes the escapes of Wine's debugstr_an() and debugstr_wn()."""
    def one(match):
        narrow, unit, other = match.groups()
        if narrow or unit:
            return chr(int(narrow or unit, 16)).encode("utf-16-le", "surrogatepass")
        return PLAIN.get(other, other.decode("latin-1")).encode("utf-16-le")

    out, at = b"", 0
    for match in ESCAPE.finditer(text):
        out += text[at:match.start()].decode("latin-1").encode("utf-16-le") + one(match)
        at = match.end()
    out += text[at:].decode("latin-1").encode("utf-16-le")
    return out.decode("utf-16-le", errors="replace" if wide else "strict")


def parse_arguments(text):
    found = []
    at = 0
    while at < len(text):
        match = ARGUMENT.match(text, at)
        if not match:
            raise ValueError(f"not an argument list: {text!r}")
        string = match["text"]
        found.append(Argument(int(match["value"], 16),
                              None if string is None else unescape(string, bool(match["wide"])),
                              match["cut"] is not None))
        at = match.end()
    return found


def parse(lines):
    """The calls of a log (an iterable of bytes, with or without line ends) in the order they began.

    Other lines are passed over: the log shares the standard error with the program. A return that
    fits no open call of its thread is an error, since then calls are missing.
    """
    calls = []
    stacks = {}
    for line in lines:
        line = line.rstrip(b"\r\n")
        if match := CALL.match(line):
            pid, tid = (int(match[n], 16) if match[n] else None for n in ("pid", "tid"))
            stack = stacks.setdefault((pid, tid), [])
            call = Call(pid, tid, match["module"].decode(), match["function"].decode(),
                        parse_arguments(match["arguments"]), int(match["ret"], 16), len(stack))
            calls.append(call)
            stack.append(call)
        elif match := RETURN.match(line):
            pid, tid = (int(match[n], 16) if match[n] else None for n in ("pid", "tid"))
            stack = stacks.get((pid, tid), [])
            key = match["module"].decode(), match["function"].decode(), int(match["ret"], 16)
            # An exception or longjmp() leaves calls behind that never return.
            open_calls = [(c.module, c.function, c.caller) for c in stack]
            if key not in open_calls:
                raise ValueError(f"a return without its call: {line!r}")
            while open_calls.pop() != key:
                stack.pop()
            stack.pop().result = int(match["value"], 16)
    return calls
