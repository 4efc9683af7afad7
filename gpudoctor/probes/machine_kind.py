"""What kind of machine this is, by files alone: virtual machine, container, WSL, desktop."""

import re

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.root import Root

# The vendors that systemd-detect-virt knows, and cloud names that hardware never carries.
_VIRTUAL_DMI = (
    "qemu", "kvm", "vmware", "virtualbox", "innotek", "xen", "bochs", "parallels", "bhyve", "virtual machine",
    "google compute engine", "openstack", "alibaba cloud ecs", "droplet", "vserver", "apple virtualization",
    "amazon ec2",
)
_CONTAINER_IN_CGROUP = (
    (re.compile(r"kubepods"), "kubernetes"),
    (re.compile(r"/docker[/-]"), "docker"),
    (re.compile(r"libpod"), "podman"),
    (re.compile(r"/lxc(\.payload)?[./]"), "lxc"),
    (re.compile(r"/containerd|cri-containerd"), "containerd"),
)


def _text(root: Root, name: str) -> str:
    try:
        return root.read(name) or ""
    except PermissionError:
        return ""


def is_wsl(root: Root) -> bool:
    """True inside the Windows Subsystem for Linux."""
    kernel = _text(root, "/proc/sys/kernel/osrelease").lower()
    return "microsoft" in kernel or "wsl2" in kernel or root.exists("/proc/sys/fs/binfmt_misc/WSLInterop")


def is_virtual(root: Root) -> bool | Unavailable:
    """Tell a virtual machine from bare metal; Unavailable where nothing says either."""
    if is_wsl(root):
        return True
    if "control_d" in _text(root, "/proc/xen/capabilities"):
        return False  # Xen's first domain owns the hardware.
    flags = re.search(r"^flags\s*:(.*)$", _text(root, "/proc/cpuinfo"), re.MULTILINE)
    if flags and "hypervisor" in flags[1].split():
        return True
    names = ("sys_vendor", "product_name", "board_vendor", "bios_vendor")
    dmi = {name: _text(root, f"/sys/class/dmi/id/{name}").strip().lower() for name in names}
    if dmi["product_name"].endswith(".metal") or re.search(r"\.metal-\d+xl$", dmi["product_name"]):
        return False  # EC2's bare machines carry Amazon's name too.
    if any(word in text for word in _VIRTUAL_DMI for text in dmi.values()):
        return True
    if root.exists("/sys/hypervisor/type") or root.exists("/proc/device-tree/hypervisor/compatible"):
        return True
    if flags or any(dmi.values()):
        return False
    return Unavailable("neither the processor nor the firmware says what this machine is", "not-supported")


def container(root: Root) -> str | None:
    """Return the kind of container this root belongs to, None outside of any."""
    for name in ("/run/systemd/container", "/run/host/container-manager"):
        if (kind := _text(root, name).strip()) and kind != "wsl":
            return kind[:64]
    if root.exists("/var/run/secrets/kubernetes.io/serviceaccount"):
        return "kubernetes"
    if root.exists("/.dockerenv"):
        return "docker"
    if root.exists("/run/.containerenv"):
        return "podman"
    groups = _text(root, "/proc/1/cgroup")
    for pattern, kind in _CONTAINER_IN_CGROUP:
        if pattern.search(groups):
            return kind
    return _by_overlay(_text(root, "/proc/1/mountinfo") or _text(root, "/proc/self/mountinfo"))


def _by_overlay(mounts: str) -> str | None:
    # A cgroup namespace hides the group's name; the layers of / still tell who stacked them.
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) > 4 and fields[4] == "/" and after.startswith("overlay "):
            if "/containerd/" in after:
                return "containerd"
            if "/docker/" in after:
                return "docker"
            if "/containers/storage/" in after:
                return "podman"
    return None


def display_server(root: Root) -> bool:
    """True where a desktop runs or is set up to start.

    ``default.target`` alone says nothing: Ubuntu Server has ``graphical.target`` without any desktop.
    """
    if any(root.glob("/tmp/.X11-unix/X*")) or any(root.glob("/run/user/*/wayland-*")):
        return True
    managed = root.readlink("/etc/systemd/system/display-manager.service") is not None
    target = root.readlink("/etc/systemd/system/default.target") or root.readlink("/lib/systemd/system/default.target")
    return managed and (target is None or target.endswith("graphical.target"))
