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
GLASSHOOK_KVM=socket=$PWD/kvm.sock,ring=1 LD_PRELOAD=$here/libglasshook-kvm.so qemu-system-x86_64 -nodefaults \
  -display none -no-reboot -accel kvm -cpu host,la57=off -m 192M \
  -object memory-backend-memfd,id=ram,size=192M,share=on -machine q35,memory-backend=ram -nic none \
  -serial stdio -kernel "$here/vmlinuz" -initrd "$here/inner.cpio" \
  -append "console=ttyS0 quiet panic=-1 nokaslr norandmaps" <console-in >console 2>qemu-said &
qemu=$!
exec 3>console-in
until grep -q ready console; do usleep 100000; done

answers=0
# opened N: the guest opens its file so often; prints the ticks of one
opened() {
  echo "opens $1" >&3
  answers=$((answers + 1))
  until [ "$(grep -c '^done' console)" -ge $answers ]; do sleep 1; done
  ticks=$(grep '^done' console | tail -n 1 | cut -d' ' -f5)
}
# hooked CASE ROUND ARGUMENT...: the same while a monitor with these arguments is there
hooked() {
  case=$1 number=$2
  shift 2
  "$here/glasshook" "$@" --json events 2>said &
  monitor=$!
  until grep -q 'attached in' said 2>/dev/null; do
    kill -0 $monitor || exit 1
    usleep 100000
  done
  # All of the ring has been written to before: a hit that meets a new page of it waits for the host.
  opened $warm
  sleep 1
  # It would read the records on the same processor: the ring holds them.
  kill -STOP $monitor
  opened "$opens"
  echo "$case $number $ticks"
  kill -CONT $monitor
  kill -TERM $monitor
  wait $monitor
  rm said
}
warm=10000
for round in $(seq "$rounds"); do
  opened "$opens"
  echo "without $round $ticks"
  hooked stealth,path "$round" watch $qemu --tier stealth --behaviours file
  for tier in stealth broad; do
    hooked $tier,name "$round" trace --vm $qemu --tier $tier -e 'kernel!do_sys_openat2/noret'
  done
done
kill -KILL $qemu
