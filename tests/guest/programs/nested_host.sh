#!/bin/sh
# nested_host.sh PROCESSORS EVENTS CALLS [broad] [run]: inside the guest kvm-host, boots a guest under KVM in a
# stock QEMU with the library preloaded, and watches what its only program (inner_init.c) is told to do. Prints
# what happened in sections that begin with "== NAME". With `broad`, also with breakpoint instructions in the
# guest's code; with `run`, also what doctor says of KVM there, and what `glasshook run` sees of such a guest.
set -u
here=$(dirname "$(realpath "$0")")
processors=$1 events=$2 calls=$3
shift 3
also=" $* "
export GLASSHOOK_DATA="$here"
# Where QEMU finds them in its cage.
cp "$here"/lib/* /usr/lib/x86_64-linux-gnu
work=$(mktemp -d)
cd "$work" || exit
mkfifo console-in hmp.in

# start OPTION...: becomes a QEMU with the guest's machine; to be started in the background.
start() {
  exec qemu-system-x86_64 -nodefaults -display none -no-reboot -accel kvm -cpu host,la57=off \
    -smp "$processors" -m 192M -object memory-backend-memfd,id=ram,size=192M,share=on \
    -machine q35,memory-backend=ram -nic none -serial stdio -kernel "$here/vmlinuz" \
    -initrd "$here/inner.cpio" -append "console=ttyS0 quiet panic=-1" "$@"
}

mkfifo hmp.out
GLASSHOOK_KVM=socket=$work/kvm.sock LD_PRELOAD=$here/libglasshook-kvm.so \
  start -chardev pipe,id=hmp,path=hmp -mon chardev=hmp <console-in >console 2>qemu-said &
qemu=$!
exec 3>console-in
cat hmp.out >hmp-said &
exec 4>hmp.in

fail() {
  echo "== failed"
  echo "$1"
  cat console qemu-said hmp-said
  cat ./*.said
  kill $qemu 2>/dev/null
  wait $qemu
  echo "== qemu-ended $?"
  dmesg | tail -n 20
  exit 1
}
# wait_for FILE TEXT: until the file holds the text.
wait_for() {
  until grep -q "$2" "$1" 2>/dev/null; do
    kill -0 $qemu 2>/dev/null || fail "QEMU ended while waiting for $2"
    usleep 100000
  done
}
tell() { echo "$1" >&3; }
glasshook() { "$here/glasshook" "$@"; }
# attach NAME OPTION...: starts a monitor, `monitor` is its id.
attach() {
  name=$1
  shift
  "$here/glasshook" "$@" --json "$name.jsonl" 2>"$name.said" &
  monitor=$!
  until grep -q 'attached in' "$name.said"; do
    kill -0 $monitor 2>/dev/null || fail "the monitor ended before it was attached ($name)"
    usleep 100000
  done
}
# leave NAME FILTER: ends the monitor, and shows what it wrote, through a filter.
leave() {
  kill -TERM $monitor
  wait $monitor
  echo "== $1 $?"
  $2 "$1.jsonl"
  echo "== $1-said"
  cat "$1.said"
}
# watched NAME COMMAND OPTION...: while a monitor watches, the inner guest does COMMAND.
watched() {
  name=$1 command=$2
  shift 2
  attach "$name" "$@"
  tell "$command"
  # It may have been told the same before.
  done=$((done + 1))
  until [ "$(grep -c "^done" console)" -gt $done ]; do
    kill -0 $qemu 2>/dev/null || fail "QEMU ended while waiting for $command"
    usleep 100000
  done
  leave "$name" "${show:-cat}"
}
# int3s PID: how many bytes of a guest's RAM have become breakpoint instructions.
int3s() { "$here/int3_bytes" "$1" count before; }
# The least of three looks: a byte of the guest's data may be one of these for a moment, and moves on.
int3s_that_stay() { for i in 1 2 3; do int3s "$1"; sleep 1; done | sort -n | head -n 1; }

# What inner_program.c calls.
library_calls() {
  for call in 'libc!open' 'libc!read' 'libc!close' 'libc!socket' 'libc!mkdir' 'libinner!inner_work'; do
    echo "-e $call"
  done
}

# With breakpoint instructions in the guest's code.
broad() {
  "$here/int3_bytes" $qemu save before
  watched broad-events "events $events" watch "$work/kvm.sock" --tier broad --behaviours process,file,network,memory
  show="tail -n 1"
  watched broad-calls "calls $calls" trace --tier broad -e 'kernel!getrusage' --vm "$qemu" --pid 99999
  watched broad-returns "calls 2000" trace --tier broad -e 'kernel!getrusage' --vm "$qemu"
  watched broad-self "self 4" trace --tier broad -e 'kernel!getrusage' --vm "$qemu" --pid 99999
  watched broad-patched "patch 5" trace --tier broad -e 'kernel!getrusage' --vm "$qemu" --pid 99999

  # Code of programs, and what reads of their files find meanwhile.
  tell "sum 1"
  wait_for console "done sum 1"
  done=$((done + 1))
  show="cat"
  watched programs "programs $events" trace --tier broad $(library_calls) --vm "$qemu"
  attach summed trace --tier broad $(library_calls) --vm "$qemu"
  tell "sum 2"
  wait_for console "done sum 2"
  # The bytes go in again 100 ms after it has read the library.
  sleep 1
  tell "programs $events"
  until [ "$(grep -c "^done programs" console)" -gt 1 ]; do
    kill -0 $qemu 2>/dev/null || fail "QEMU ended while programs ran"
    usleep 100000
  done
  leave summed "tail -n 1"
  tell "sum 3"
  wait_for console "done sum 3"
  done=$((done + 3))
  show="tail -n 1"

  # A monitor that is killed.
  attach killed watch "$work/kvm.sock" --tier broad --behaviours process,file,network,memory
  echo "== int3s"
  echo "armed $(int3s $qemu)"
  kill -KILL $monitor
  wait $monitor
  sleep 1
  echo "killed $(int3s_that_stay $qemu)"
  tell "events 3"
  wait_for console "done events 3"

  # The guest is saved while it is watched.
  attach saved watch "$work/kvm.sock" --tier broad --behaviours process,file,network,memory
  echo 'migrate "exec:cat>image"' >&4
  until grep -q 'Migration status: completed' hmp-said; do
    kill -0 $qemu 2>/dev/null || fail "QEMU ended while it saved the guest"
    echo 'info migrate' >&4
    sleep 1
  done
  echo "while-saved $(int3s $qemu)"
  echo cont >&4
  tell "events 4"
  wait_for console "done events 4"
  echo "saved $(int3s $qemu)"
  leave saved "tail -n 1"
}

# The guest that was saved goes on, in a QEMU that has no library.
restore() {
  mkfifo restored-in
  start -incoming "exec:cat image" <restored-in >restored-console 2>&1 &
  restored=$!
  exec 5>restored-in
  for i in $(seq 30); do
    grep -q 'done events 5' restored-console && break
    echo "events 5" >&5  # what comes before it listens is lost
    sleep 3
  done
  echo "== restored"
  echo "int3s $(int3s $restored)"
  cat restored-console
  kill $restored
}

# run NAME VARIABLES OPTION...: such a guest under `glasshook run`, for some seconds.
run() {
  name=$1 variables=$2
  shift 2
  glasshook run --kernel "$here/vmlinuz" --initrd "$here/inner.cpio" --memory 192M --accel auto \
    --append "console=ttyS0 quiet panic=-1 no5lvl $variables" --console "$name-console" --timeout 15 \
    --json "$name.jsonl" "$@" 2>"$name.said"
  echo "== $name $?"
  cat "$name.jsonl"
  echo "== $name-said"
  cat "$name.said" "$name-console"
}

# Of what was told before; "self 1" is the first.
done=0
wait_for console "ready $processors"
tell "self 1"
wait_for console "done self 1"
watched events "events $events" watch "$work/kvm.sock" --behaviours process,file
watched calls "calls $calls" trace -e 'kernel!getrusage' --vm "$qemu" --pid 99999
watched self "self 2" trace -e 'kernel!getrusage' --vm "$qemu" --pid 99999
tell "self 3"
wait_for console "done self 3"
done=$((done + 1))
case $also in *" broad "*) broad ;; esac
tell end
wait $qemu
echo "== qemu $?"
cat qemu-said
case $also in *" broad "*) restore ;; esac
case $also in *" run "*)
  echo "== doctor"
  glasshook doctor
  run run workload=1000 --behaviours process,file
  case $also in *" broad "*)
    chmod 666 /dev/kvm  # so that its QEMU is a user of its own
    run broad-run "workload=1000 patching=1" --tier broad --behaviours none -e 'kernel!getrusage' >broad-run-out &
    while kill -0 $! && ! grep -q 'attached in' broad-run.said; do usleep 100000; done 2>/dev/null
    echo "== userfaultfds"
    ls -l /proc/[0-9]*/fd 2>/dev/null | grep -o '[^ ]*userfaultfd[^ ]*'
    wait $!
    cat broad-run-out
  esac
esac
echo "== console"
cat console
