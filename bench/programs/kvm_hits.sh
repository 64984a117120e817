#!/bin/sh
# kvm_hits.sh OPENS ROUNDS: inside the guest kvm-host, what opening a file takes in a guest under KVM, hooked and not.
# Prints lines "CASE ROUND TICKS". See bench/kvm_hits.py.
set -u
here=$(dirname "$(realpath "$0")")
opens=$1 rounds=$2
export GLASSHOOK_DATA="$here"
cp "$here"/lib/* /usr/lib/x86_64-linux-gnu
cd "$(mktemp -d)" || exit
mkfifo console-in
GLASSHOOK_KVM=socket=$PWD/kvm.sock LD_PRELOAD=$here/libglasshook-kvm.so qemu-system-x86_64 -nodefaults \
  -display none -no-reboot -accel kvm -cpu host,la57=off -m 192M \
  -object memory-backend-memfd,id=ram,size=192M,share=on -machine q35,memory-backend=ram -nic none \
  -serial stdio -kernel "$here/vmlinuz" -initrd "$here/inner.cpio" \
  -append "console=ttyS0 quiet panic=-1" <console-in >console 2>qemu-said &
qemu=$!
exec 3>console-in
until grep -q ready console; do usleep 100000; done

answers=0
# measure CASE ROUND
measure() {
  echo "opens $opens" >&3
  answers=$((answers + 1))
  until [ "$(grep -c '^done' console)" -ge $answers ]; do sleep 1; done
  echo "$1 $2 $(grep '^done' console | tail -n 1 | cut -d' ' -f5)"
}
for round in $(seq "$rounds"); do
  measure without "$round"
  for tier in stealth broad; do
    "$here/glasshook" trace --tier $tier -e 'kernel!do_sys_openat2/noret' --vm $qemu --json "$tier" 2>said &
    monitor=$!
    until grep -q 'attached in' said 2>/dev/null; do
      kill -0 $monitor || exit 1
      usleep 100000
    done
    # It would read the records on the same processor: the ring holds them.
    kill -STOP $monitor
    measure $tier "$round"
    kill -CONT $monitor
    kill -TERM $monitor
    wait $monitor
    rm said
  done
done
kill -KILL $qemu
