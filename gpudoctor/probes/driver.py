"""The NVIDIA driver as files show it: loaded, on disk, its libraries and nodes. NVML is not asked, so nothing hangs."""

import os
import re
import stat
from collections.abc import Callable
from typing import TypeVar

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import DeviceNode, Driver, Flavour, ProcGpu
from gpudoctor.probes import driver_libraries, kernel_modules
from gpudoctor.probes.mounts import device_class, holding, read_mounts
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("driver",)
OPTIONS: tuple[str, ...] = ()

_EFI = "/sys/firmware/efi"
_SECURE_BOOT = f"{_EFI}/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#: Set while shim's own validation is off (``mokutil --disable-validation``): the kernel then enforces nothing.
_SHIM_VALIDATION_OFF = f"{_EFI}/efivars/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23"

_RELEASE = re.compile(r"^NVRM version:\s*NVIDIA .*?\s(\d{2,4}\.\d+(?:\.\d+)?)\s", re.MULTILINE)
_NODE = re.compile(r"nvidia(?:\d{1,4}|ctl|-uvm|-uvm-tools|-modeset|-nvswitchctl|-nvswitch\d{1,3})|dxg")
_INFORMATION = re.compile(r"^([A-Za-z ]+?)\s*:\s*(.*?)\s*$", re.MULTILINE)
_MAX_NODES = 1024
_PATIENCE_SECONDS = 3.0

T = TypeVar("T")


def probe(out: Reporter, root: Root) -> None:
    """Fill ``driver``. A folder of ``LD_LIBRARY_PATH`` on a dead file server costs only that folder."""
    if not root.exists("/proc/driver") and not root.exists("/sys/module") and not root.exists("/proc/version"):
        out.unavailable("driver", "neither /proc nor /sys is there", "error")
        return
    library_path = os.environ.get("LD_LIBRARY_PATH", "") if root.live else ""
    dead = _try_folders(out, root, library_path)
    cache = driver_libraries.read_cache(root)
    proc = _or_why(lambda: root.read("/proc/driver/nvidia/version") or "")
    running = _or_why(lambda: root.read("/proc/sys/kernel/osrelease"))
    release = None if isinstance(running, Unavailable) else running
    out.section(
        "driver",
        Driver(
            loaded_version=_or_why(lambda: loaded_version(root)),
            loaded_flavour=proc if isinstance(proc, Unavailable) else parse_flavour(proc),
            nouveau_loaded=_or_why(lambda: is_loaded(root, "nouveau")),
            modules=_or_why(lambda: kernel_modules.read_modules(root)),
            kernels=_or_why(lambda: kernel_modules.read_kernels(root, release)),
            dkms=_or_empty(lambda: kernel_modules.read_dkms(root)),
            secure_boot=_or_why(lambda: secure_boot(root)),
            lockdown=lockdown(root),
            libraries=_or_why(lambda: driver_libraries.read_libraries(root, cache, library_path, dead)),
            device_nodes=_or_why(lambda: read_nodes(root)),
            proc_gpus=_or_empty(lambda: read_proc_gpus(root)),
            blacklisted=_or_empty(lambda: kernel_modules.read_blacklisted(root)),
            wsl_libcuda=driver_libraries.plain_libcuda(cache),
        ),
    )


def _try_folders(out: Reporter, root: Root, library_path: str) -> tuple[str, ...]:
    """Touch the folders that lie on a file server, each as a step of its own; return those that hung before."""
    folders = driver_libraries.folders_of(library_path)
    if not folders:
        return ()
    mounts = read_mounts(root)
    dead: list[str] = []
    for folder in folders:
        mount = holding(mounts, folder)
        if mount is None or device_class(root, mounts, mount) != "network":
            continue
        item = f"LD_LIBRARY_PATH folder {folder}"
        if out.left_out(item):
            dead.append(folder)
            continue
        out.start(item, doing="stat", patience=_PATIENCE_SECONDS, section="driver")
        root.exists(folder)
    return tuple(dead)


def _or_why(read: Callable[[], T]) -> T | Unavailable:
    try:
        return read()
    except PermissionError as error:
        return Unavailable(f"no permission to read {error.filename or 'it'}", "no-permission")
    except OSError as error:
        return Unavailable(f"{error.filename or 'it'}: {error.strerror or error}", "error")


def _or_empty(read: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
    value = _or_why(read)
    return () if isinstance(value, Unavailable) else value


def loaded_version(root: Root) -> str | Unavailable | None:
    """Return the loaded module's version, None when none is loaded.

    A device node proves nothing: NVML's library makes /dev/nvidiactl by itself when root asks it.
    """
    version = (root.read("/sys/module/nvidia/version", 64) or "").strip()
    version = version or parse_version(root.read("/proc/driver/nvidia/version", 4096) or "") or ""
    if version:
        return version
    if root.exists("/sys/module/nvidia"):
        return Unavailable("a module named nvidia is there and tells no version", "error")
    if not root.exists("/sys/module") and not root.exists("/proc/driver"):
        return Unavailable("neither /sys/module nor /proc/driver is there", "error")
    return None


def parse_version(text: str) -> str | None:
    """Read ``NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.247.01  Thu Mar …``."""
    match = _RELEASE.search(text)
    return match[1] if match else None


def parse_flavour(text: str) -> Flavour | None:
    """Tell the open modules from the proprietary ones by /proc/driver/nvidia/version; None for no text."""
    if "NVRM version:" not in text:
        return None
    return "open" if "Open Kernel Module" in text else "proprietary"


def is_loaded(root: Root, module: str) -> bool | Unavailable:
    """Tell whether a module is loaded. Only /proc/modules can say that it is not."""
    if root.exists(f"/sys/module/{module}"):
        return True
    listed = root.read("/proc/modules")
    if listed is None:
        return Unavailable("this kernel lists no modules (/proc/modules is not there)", "not-supported")
    return any(line.split(" ", 1)[0] == module for line in listed.splitlines())


def secure_boot(root: Root) -> str | Unavailable:
    """Return ``on``, ``off`` or ``legacy``; EFI variables begin with four bytes of attributes."""
    if not root.exists(_EFI):
        return "legacy" if root.exists("/sys/firmware") else Unavailable("/sys/firmware is not there", "error")
    value = root.read_bytes(_SECURE_BOOT, 16)
    if value is None:
        if root.list(f"{_EFI}/efivars"):
            return "off"
        return Unavailable("the EFI variables are not mounted", "not-supported")
    if len(value) < 5:
        return Unavailable("the EFI variable SecureBoot is cut short", "error")
    try:
        without_shim = (root.read_bytes(_SHIM_VALIDATION_OFF, 16) or b"")[4:5] == b"\x01"
    except PermissionError:
        without_shim = False
    return "on" if value[4] == 1 and not without_shim else "off"


def lockdown(root: Root) -> str | None:
    """Return the mode in brackets of ``none [integrity] confidentiality``."""
    try:
        text = root.read("/sys/kernel/security/lockdown", 256) or ""
    except PermissionError:
        return None
    match = re.search(r"\[(\w+)\]", text)
    return match[1] if match else None


def read_nodes(root: Root) -> tuple[DeviceNode, ...]:
    """Read the driver's character devices, and whether this user may use them."""
    found: list[DeviceNode] = []
    for name in root.list("/dev"):
        if not _NODE.fullmatch(name):
            continue
        status = root.stat(f"/dev/{name}")
        if status is None or not stat.S_ISCHR(status.st_mode):
            continue
        found.append(
            DeviceNode(
                path=f"/dev/{name}",
                major=os.major(status.st_rdev),
                minor=os.minor(status.st_rdev),
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                accessible=may_use(root, f"/dev/{name}", status),
            )
        )
    return tuple(found[:_MAX_NODES])


def may_use(root: Root, name: str, status: os.stat_result) -> bool:
    """Tell whether this user may read and write a node. The kernel is asked where it can be: it knows of ACLs."""
    if root.live:
        return os.access(name, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return permits(status.st_mode, status.st_uid, status.st_gid, os.geteuid(), {os.getegid(), *os.getgroups()})


def permits(mode: int, owner: int, group: int, user: int, groups: set[int]) -> bool:
    """Tell whether mode bits let a user read and write, as the kernel would decide it."""
    if user == 0:
        return True
    shift = 6 if user == owner else 3 if group in groups else 0
    return mode >> shift & 0o6 == 0o6


def read_proc_gpus(root: Root) -> tuple[ProcGpu, ...]:
    """Read the GPUs that the loaded driver holds, which answer even when NVML does not."""
    base = "/proc/driver/nvidia/gpus"
    return tuple(
        parse_information(address, root.read(f"{base}/{address}/information", 4096) or "")
        for address in root.list(base)[:_MAX_NODES]
    )


def parse_information(address: str, text: str) -> ProcGpu:
    """Read ``Model: … / Device Minor: 0`` lines."""
    fields = {match[1].strip(): match[2] for match in _INFORMATION.finditer(text)}
    minor = fields.get("Device Minor", "")
    return ProcGpu(
        address=address.lower(),
        minor=int(minor) if minor.isascii() and minor.isdigit() and len(minor) < 10 else None,
        model=fields.get("Model", "")[:120],
    )
