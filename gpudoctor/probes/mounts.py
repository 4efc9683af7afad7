"""The mount table and what lies beneath a file system, without touching the file system itself."""

import os
import re
from typing import NamedTuple

from gpudoctor.probes.root import Root

_NETWORK = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "9p", "afs", "wekafs",
        "orangefs", "pvfs2", "davfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.juicefs", "fuse.rclone",
        "fuse.ceph", "fuse.gcsfuse", "fuse.blobfuse2", "fuse.goofys", "fuse.mount-s3", "fuse.seaweedfs",
    }
)
_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
#: Slowest last: a volume over several disks is as slow as the slowest.
_BY_SPEED = ("memory", "nvme", "ssd", "unknown", "network", "hdd")
#: SCSI vendors of virtual disks, whose "rotational" flag says nothing about the disk beneath.
_VIRTUAL_VENDORS = ("qemu", "msft", "vmware", "google", "vbox", "xen", "virtio", "digitalocean")


class Mount(NamedTuple):
    """One line of the mount table."""

    device_number: str
    mount_point: str
    file_system: str
    source: str
    read_only: bool
    options: str


def parse_mountinfo(text: str) -> list[Mount]:
    """Read /proc/PID/mountinfo, in the kernel's order: a later mount on the same point covers the earlier."""
    found: list[Mount] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(rest) < 3:
            continue
        super_options = " ".join(rest[2:])
        read_only = "ro" in fields[5].split(",") or "ro" in super_options.split(",")
        found.append(
            Mount(fields[2], _plain(fields[4]), rest[0], _plain(rest[1]), read_only, _plain(super_options))
        )
    return found


def _plain(text: str) -> str:
    # The kernel writes blanks, tabs, newlines and backslashes as octal.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def read_mounts(root: Root) -> list[Mount]:
    """Return the mounts under this root; under a prefix those of its first process, or our own below the prefix."""
    if root.live:
        return parse_mountinfo(root.read("/proc/self/mountinfo", 8 << 20) or "")
    try:
        text = root.read("/proc/1/mountinfo", 8 << 20)
    except PermissionError:
        text = None
    if text:
        return parse_mountinfo(text)
    own = parse_mountinfo(Root().read("/proc/self/mountinfo", 8 << 20) or "")
    below = [mount for mount in own if f"{mount.mount_point}/".startswith(f"{root.prefix}/")]
    return [mount._replace(mount_point=mount.mount_point[len(root.prefix) :] or "/") for mount in below]


def holding(mounts: list[Mount], path: str) -> Mount | None:
    """Return the mount that holds a path, by name alone."""
    best: Mount | None = None
    for mount in mounts:
        point = mount.mount_point.rstrip("/")
        covers = path == point or path.startswith(point + "/") or not point
        if covers and (best is None or len(point) >= len(best.mount_point.rstrip("/"))):
            best = mount
    return best


def device_class(root: Root, mounts: list[Mount], mount: Mount, depth: int = 4) -> str:
    """Return the class of what holds a mount: ``nvme``, ``ssd``, ``hdd``, ``network``, ``memory`` or ``unknown``."""
    if mount.file_system in _NETWORK:
        return "network"
    if mount.file_system in _MEMORY:
        return "memory"
    if mount.file_system == "overlay" and depth:
        upper = re.search(r"(?:^|,)upperdir=([^,]+)", mount.options)
        below = holding([m for m in mounts if m is not mount], upper[1]) if upper else None
        return device_class(root, mounts, below, depth - 1) if below and below.file_system != "overlay" else "unknown"
    if mount.source.startswith("/dev/"):
        return block_class(root, _block_name(root, mount))
    return "unknown"


def _block_name(root: Root, mount: Mount) -> str:
    if not mount.device_number.startswith("0:"):
        link = root.readlink(f"/sys/dev/block/{mount.device_number}")
        if link:
            return link.rsplit("/", 1)[-1]
    link = root.readlink(mount.source)  # /dev/mapper/NAME and /dev/disk/… are links
    return (link or mount.source).rsplit("/", 1)[-1]


def block_class(root: Root, name: str, depth: int = 8) -> str:
    """Return the class of a block device, through partitions, device mapper and software RAID."""
    base = f"/sys/class/block/{name}"
    if not root.exists(base) or not depth:
        return "unknown"
    if root.exists(f"{base}/partition"):
        whole = os.path.basename(os.path.dirname(os.path.realpath(root.path(base))))
        return block_class(root, whole, depth - 1)
    slaves = root.list(f"{base}/slaves")
    if slaves:
        return max((block_class(root, slave, depth - 1) for slave in slaves), key=_BY_SPEED.index)
    return _leaf_class(root, name, base)


def _leaf_class(root: Root, name: str, base: str) -> str:
    if name.startswith(("zram", "ram")):
        return "memory"
    if name.startswith(("nbd", "rbd", "drbd")):
        return "network"
    if name.startswith(("loop", "vd", "xvd")):
        return "unknown"  # virtio disks call themselves rotational whatever they are
    if name.startswith("nvme"):
        transport = root.read(f"{base}/device/transport", 64) or "pcie"
        model = root.read(f"{base}/device/model", 256) or ""
        return "network" if transport != "pcie" or "Elastic Block Store" in model else "nvme"
    vendor = (root.read(f"{base}/device/vendor", 64) or "").strip().lower()
    if vendor.startswith(_VIRTUAL_VENDORS):
        return "unknown"
    rotational = root.read_int(f"{base}/queue/rotational")
    return "unknown" if rotational is None else "hdd" if rotational else "ssd"
