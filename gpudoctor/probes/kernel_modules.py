"""NVIDIA's modules on disk for every kernel, the kernels that can be booted, DKMS, and module blacklists."""

import re
from collections.abc import Iterable, Iterator

from gpudoctor.facts.driver import DkmsBuild, Kernel, KernelModule
from gpudoctor.probes.root import Root

_BASES = ("/lib/modules", "/run/booted-system/kernel-modules/lib/modules",
          "/run/current-system/kernel-modules/lib/modules")
#: Below /lib/modules/KERNEL; the rest of ``kernel/`` is thousands of files that are never ours.
_FOLDERS = ("updates", "extra", "weak-updates", "misc", "kernel/drivers/video", "kernel/drivers/char",
            "kernel/nvidia*", "nvidia*")
_DEPTH = 4
_MAX_NAMES = 4000
_MAX_MODULES = 256
_MAX_KERNELS = 256

#: Debian names it after its package (``nvidia-current.ko``); ``nvidia-uvm.ko`` and its like are other modules.
_MODULE = re.compile(r"nvidia(?:-(?:current|tesla|legacy|open|\d\w*))*\.ko(?:\.(?:xz|gz|zst))?")
_IMAGE = re.compile(r"(?:vmlinuz|vmlinux|kernel|linux)-(\d[\w.+~-]*)")
_PARTS = re.compile(r"\d+|[a-zA-Z]+")
_BLACKLIST = re.compile(
    r"^\s*(?:blacklist\s+([\w-]+)|install\s+([\w-]+)\s+(?:/usr)?/bin/(?:false|true))\s*(?:#.*)?$", re.MULTILINE
)
_MODPROBE_FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d",
                     "/lib/modprobe.d")


def read_modules(root: Root) -> tuple[KernelModule, ...]:
    """Find ``nvidia.ko`` for every kernel."""
    found: dict[tuple[str, str], KernelModule] = {}
    for base in _BASES:
        for kernel in root.list(base)[:_MAX_KERNELS]:
            for path in _modules_below(root, f"{base}/{kernel}"):
                found.setdefault((kernel, path.rpartition("/")[2]), KernelModule(kernel=kernel, path=path))
    return tuple(found.values())[:_MAX_MODULES]


def _modules_below(root: Root, folder: str) -> Iterator[str]:
    left = _MAX_NAMES
    for pattern in _FOLDERS:
        waiting = [(found, 0) for found in root.glob(f"{folder}/{pattern}")]
        while waiting and left > 0:
            here, depth = waiting.pop()
            for name in root.list(here):
                left -= 1
                path = f"{here}/{name}"
                if _MODULE.fullmatch(name):
                    if root.exists(path):
                        yield path
                elif "." not in name and depth < _DEPTH and root.readlink(path) is None:
                    waiting.append((path, depth + 1))


def read_kernels(root: Root, running: str | None) -> tuple[Kernel, ...]:
    """Find the kernels that can be booted, oldest first: images in /boot, or beside their modules."""
    releases = {match[1] for name in root.list("/boot") if (match := _IMAGE.fullmatch(name))}
    for release in root.list("/lib/modules")[:_MAX_KERNELS]:
        if root.exists(f"/lib/modules/{release}/vmlinuz"):
            releases.add(release)
    # Rescue and debug images boot by hand only; "-old" and ".old" are a second name of another image.
    bootable = sorted(
        (r for r in releases if not re.search(r"rescue|[+-]debug|[.-]old$|\.bak$", r)), key=release_key
    )[-_MAX_KERNELS:]
    return tuple(
        Kernel(
            release=release,
            headers=root.exists(f"/lib/modules/{release}/build/Makefile"),
            running=release == running,
            newest=release == bootable[-1],
        )
        for release in bootable
    )


def release_key(release: str) -> tuple[tuple[int, int, str], ...]:
    """Return what sorts kernel releases as boot loaders do: numbers by value, and above words."""
    return tuple(
        (1, int(part[:18]), "") if part.isdigit() else (0, 0, part) for part in _PARTS.findall(release)
    )


def read_dkms(root: Root) -> tuple[DkmsBuild, ...]:
    """Read DKMS's tree: ``nvidia*/VERSION/KERNEL/ARCHITECTURE/module``; a version without kernel is only added."""
    found: list[DkmsBuild] = []
    for folder in root.glob("/var/lib/dkms/nvidia*/*"):
        version = folder.rpartition("/")[2]
        if root.readlink(folder) is not None or not version[:1].isdigit():
            continue
        kernels = [path.split("/")[-3] for path in root.glob(f"{folder}/*/*/module")]
        found.extend(DkmsBuild(version=version, kernel=kernel) for kernel in kernels)
        if not kernels and root.readlink(f"{folder}/source") is not None:
            found.append(DkmsBuild(version=version, kernel=None))
    return tuple(found[:_MAX_MODULES])


def read_blacklisted(root: Root) -> tuple[str, ...]:
    """Return nouveau's and NVIDIA's modules that modprobe's configuration keeps from loading by themselves."""
    names: set[str] = set()
    for folder in _MODPROBE_FOLDERS:
        for path in root.glob(f"{folder}/*.conf"):
            try:
                names.update(parse_blacklist(root.read(path) or ""))
            except PermissionError:
                continue
    return tuple(sorted(names))


def parse_blacklist(text: str) -> Iterable[str]:
    """Yield the nouveau and NVIDIA modules of ``blacklist NAME`` and ``install NAME /bin/false`` lines."""
    for match in _BLACKLIST.finditer(text):
        name = (match[1] or match[2]).replace("-", "_")
        if name.startswith(("nvidia", "nouveau", "nova")):
            yield name
