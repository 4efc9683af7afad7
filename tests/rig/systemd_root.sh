#!/bin/sh
# The first process of a machine within this one: this system's own files beneath an overlay, an own /proc, /dev,
# /run and cgroup v2, then systemd. $1 is a folder with upper, work and root, $2 another release's
# files to lie over this system's, or nothing; /tmp is shared.
set -e
lower=/
if [ -n "$2" ]; then
    # An overlay takes no layer that lies within another one.
    mount -t tmpfs tmpfs "$1/over"
    cp -a "$2/." "$1/over"
    lower=$1/over:/
fi
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
if [ -n "$2" ]; then
    # One systemd, one library: this system's own would pass for the one that runs.
    for library in usr/lib/*/systemd/libsystemd-*.so; do
        [ -e "$2/$library" ] || rm -f "$library"
    done
fi
shift 2
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mount --rbind /tmp tmp
# What of the tests lies on another file system than the root.
for place; do
    mkdir -p ".$place"
    mount --rbind "$place" ".$place"
done
mkdir dev/pts dev/shm dev/mqueue dev/char
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    set -- $node
    mknod -m 666 "dev/$1" c "$2" "$3"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . .
umount -l .
cd /
exec env -i container=rig PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=rig.target \
    --log-target=console --log-level=warning --show-status=no
