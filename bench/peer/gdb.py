"""A small client of the gdb remote protocol: breakpoints of QEMU's gdbstub as hooks.

Both ends of a function are stopped at, as a hook needs: its entry, and where its callers go on.
https://sourceware.org/gdb/current/onlinedocs/gdb.html/Packets.html
"""

import socket
import struct

# Order of QEMU's x86-64 `g` packet: rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 .. r15, rip.
RAX, RSI, RSP, RIP = 0, 4, 7, 16
REGISTERS = 17
MOST_PATH = 256
TRAP = b"T05"  # the other way to stop is our interrupt()


class Gdb:

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, body):
        self.socket.sendall(b"$" + body + b"#%02x" % (sum(body) & 255))

    def receive(self):
        """The next packet's body. QEMU takes a new packet for the acknowledgement of its last."""
        while (body := self.take()) is None:
            self.fill()
        return body

    def take(self):
        """The next packet's body, if it is there already."""
        begin = self.buffer.find(b"$")
        end = self.buffer.find(b"#", begin)
        if begin < 0 or end < 0 or end > len(self.buffer) - 3:
            return None
        body, self.buffer = self.buffer[begin + 1:end], self.buffer[end + 3:]
        return body

    def fill(self):
        chunk = self.socket.recv(1 << 16)
        if not chunk:
            raise RuntimeError("the gdbstub closed its socket")
        self.buffer += chunk

    def ask(self, body):
        self.send(body)
        return self.receive()

    def must(self, body):
        if self.ask(body) != b"OK":
            raise RuntimeError(f"the gdbstub refuses {body.decode()}")

    def registers(self):
        return struct.unpack(f"<{REGISTERS}Q", bytes.fromhex(self.ask(b"g")[:16 * REGISTERS].decode()))

    def read(self, address, size):
        """Guest memory; empty when it cannot be read."""
        answer = self.ask(b"m%x,%x" % (address, size))
        return b"" if answer.startswith(b"E") else bytes.fromhex(answer.decode())

    def read_text(self, address):
        """A string, which may end close to where memory does."""
        text = b""
        while b"\0" not in text and len(text) < MOST_PATH:
            part = self.read(address + len(text), 64 - (address + len(text)) % 64)
            if not part:
                break
            text += part
        return text.split(b"\0")[0]

    def insert(self, address):
        self.must(b"Z0,%x,1" % address)

    def remove(self, address):
        self.must(b"z0,%x,1" % address)

    def step(self):
        """Executes one instruction. QEMU minds no breakpoints while it steps, so that, unlike what gdb
        does, they can stay where they are."""
        self.ask(b"vCont;s")

    def interrupt(self):
        """Stops the guest; the answer comes as a packet."""
        self.socket.sendall(b"\x03")

    def leave(self):
        """Without breakpoints, the guest goes on."""
        self.must(b"D")
        self.socket.close()


class FunctionWatch:
    """Calls of do_filp_open(int, struct filename *, ...), which begins with the path's address."""

    def __init__(self, path, function):
        self.gdb, self.function = Gdb(path), function
        self.returns, self.open_calls, self.calls = set(), {}, []
        self.gdb.insert(function)

    def go_on(self):
        self.gdb.send(b"vCont;c")

    def fileno(self):
        return self.gdb.socket.fileno()

    def readable(self):
        """The gdbstub said something: mostly that the guest stopped at a breakpoint."""
        self.gdb.fill()
        while (said := self.gdb.take()) is not None:
            self.stopped(said)

    def stopped(self, said):
        """At a breakpoint: notes the call or its result, and lets the guest go on."""
        if not said.startswith(TRAP):
            return False
        registers = self.gdb.registers()
        at = registers[RIP]
        if at == self.function:
            self.entered(registers)
        elif at in self.returns:
            path = self.open_calls.pop(registers[RSP] - 8, None)
            if path is not None:
                self.calls.append((path, registers[RAX]))
        self.gdb.step()
        self.go_on()
        return True

    def entered(self, registers):
        [name] = struct.unpack("<Q", self.gdb.read(registers[RSI], 8))
        [back] = struct.unpack("<Q", self.gdb.read(registers[RSP], 8))
        self.open_calls[registers[RSP]] = self.gdb.read_text(name)
        if back not in self.returns:
            self.returns.add(back)
            self.gdb.insert(back)

    def end(self):
        """Takes the breakpoints away; the calls that returned."""
        self.gdb.interrupt()
        while self.stopped(self.gdb.receive()):
            pass
        for address in (self.function, *self.returns):
            self.gdb.remove(address)
        self.gdb.leave()
        return self.calls
