#!/bin/sh
# nested_host.sh PROCESSORS EVENTS CALLS [run]: inside the guest kvm-host, boots a guest under KVM in a stock QEMU
# with the library preloaded, and watches what its only program (inner_init.c) is told to do. Prints
# what happened in sections that begin with "== NAME". With `run`, also what doctor says of KVM there, and
# what `glasshook run` sees of such a guest.
set -u
here=$(dirname "$(realpath "$0")")
processors=$1 events=$2 calls=$3 also=${4:-}
export GLASSHOOK_DATA="$here"
# Where QEMU finds them in its cage.
cp "$here"/lib/* /usr/lib/x86_64-linux-gnu
work=$(mktemp -d)
cd "$work" || exit
mkfifo console-in

GLASSHOOK_KVM=socket=$work/kvm.sock LD_PRELOAD=$here/libglasshook-kvm.so \
  qemu-system-x86_64 -nodefaults -display none -no-reboot -accel kvm -cpu host,la57=off \
  -smp "$processors" -m 192M -object memory-backend-memfd,id=ram,size=192M,share=on \
  -machine q35,memory-backend=ram -nic none -serial stdio -kernel "$here/vmlinuz" \
  -initrd "$here/inner.cpio" -append "console=ttyS0 quiet panic=-1" \
  <console-in >console 2>qemu-said &
qemu=$!
exec 3>console-in

fail() {
  echo "== failed"
  echo "$1"
  cat console qemu-said
  cat ./*.said
  kill $qemu
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
# watched NAME COMMAND OPTION...: while a monitor watches, the inner guest does COMMAND.
watched() {
  name=$1 command=$2
  shift 2
  "$here/glasshook" "$@" --json "$name.jsonl" 2>"$name.said" &
  monitor=$!
  until grep -q 'attached in' "$name.said"; do
    kill -0 $monitor 2>/dev/null || fail "the monitor ended before it was attached ($name)"
    usleep 100000
  done
  tell "$command"
  wait_for console "done $command"
  kill -TERM $monitor
  wait $monitor
  echo "== $name $?"
  cat "$name.jsonl"
  echo "== $name-said"
  cat "$name.said"
}

wait_for console "ready $processors"
tell "self 1"
wait_for console "done self 1"
watched events "events $events" watch "$work/kvm.sock" --behaviours process,file
watched calls "calls $calls" trace -e 'kernel!getrusage' --vm "$qemu" --pid 99999
watched self "self 2" trace -e 'kernel!getrusage' --vm "$qemu" --pid 99999
tell "self 3"
wait_for console "done self 3"
tell end
wait $qemu
echo "== qemu $?"
cat qemu-said
if [ "$also" = run ]; then
  echo "== doctor"
  glasshook doctor
  glasshook run --kernel "$here/vmlinuz" --initrd "$here/inner.cpio" --memory 192M --accel auto \
    --append "console=ttyS0 quiet panic=-1 no5lvl workload=1000" --behaviours process,file \
    --console run-console --timeout 15 --json run.jsonl 2>run-said
  echo "== run $?"
  cat run.jsonl
  echo "== run-said"
  cat run-said run-console
fi
echo "== console"
cat console
