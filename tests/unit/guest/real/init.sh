#!/bin/busybox sh
# /init of the recorded guest: starts processes of known shape, sends what /proc says of them as a
# tar archive to the second serial port and leaves the machine idle.
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /data /truth /tmp /run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs none /data
mount -t cgroup2 cgroup /sys/fs/cgroup
hostname glass
ip link set lo up
for module in /modules/*.ko; do insmod "$module"; done

actor() { "$@" </dev/null >/dev/null 2>&1 & }
actor /bin/actor threads
actor /bin/actor maps
actor /bin/actor files
actor /bin/actor user "two words" "" "tab	end"
actor /bin/actor "$(head -c 20000 /dev/zero | tr '\0' 'a')"
mkdir -p /data/jail/inner && cp /bin/actor /data/jail/
actor /bin/actor jail
mkdir /data/bound && mount --bind /data/jail /data/bound
(cd /data/bound && actor ./actor bound)
mkdir -p /data/lower /data/upper /data/work /data/merged && cp /bin/actor /data/lower/
if mount -t overlay -o lowerdir=/data/lower,upperdir=/data/upper,workdir=/data/work o /data/merged
then (cd /data/merged && actor ./actor overlay); fi
id=$(printf '%064d' 0 | tr 0 a)
mkdir -p /sys/fs/cgroup/system.slice/docker-$id.scope
actor unshare -p -m -f sh -c \
  "echo 0 >/sys/fs/cgroup/system.slice/docker-$id.scope/cgroup.procs; mkdir /data/priv; mount -t tmpfs p /data/priv; cp /bin/actor /data/priv; exec /data/priv/actor container"
cp /bin/actor /tmp/deleted && actor /tmp/deleted deleted && sleep 1 && rm /tmp/deleted
sleep 3

for p in /proc/[0-9]*; do
  d=/truth${p#/proc}; mkdir -p $d/fd
  for f in status stat cmdline cgroup maps comm mountinfo; do cat $p/$f >$d/$f 2>/dev/null; done
  for l in exe cwd root; do readlink -n $p/$l >$d/$l 2>/dev/null; done
  for f in $p/fd/*; do readlink -n $f >$d/fd/${f##*/} 2>/dev/null; done
  ls $p/task >$d/task
done
cp /proc/modules /proc/version /truth/
cat /proc/net/tcp /proc/net/udp6 /proc/net/unix >/truth/net
grep -v '\[' /proc/kallsyms | awk '{print $1, $2, $3}' >/truth/kallsyms
grep '\[' /proc/kallsyms >/truth/kallsyms.modules
stty raw -echo </dev/ttyS1
tar c -C / truth | gzip -1 >/dev/ttyS1
sleep 1
echo READY
exec sleep 1000000
