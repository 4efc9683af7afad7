"""The machine itself: system, user, processors, memory, limits, clock, locale. Files only, so it cannot hang."""

import os
import re
import resource
from collections.abc import Callable
from typing import TypeVar

from gpudoctor.facts.base import Section, Unavailable
from gpudoctor.facts.host import Host, Limits, Memory
from gpudoctor.probes import cgroup, environment, machine_kind
from gpudoctor.probes.clock import read_clock, same_kernel
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("host", "memory", "limits", "clock", "locale")
OPTIONS: tuple[str, ...] = ()

T = TypeVar("T")

_KERNEL_OPTIONS = frozenset(
    {
        "iommu", "intel_iommu", "amd_iommu", "iommu.passthrough", "pci", "modprobe.blacklist", "module_blacklist",
        "rd.driver.blacklist",
    }
)


def probe(out: Reporter, root: Root) -> None:
    """Fill the five sections, each for itself: one that cannot be read leaves the others alone."""
    variables = environment.given(root)
    _send(out, "host", lambda: read_host(root, environment.allowed(variables)))
    _send(out, "memory", lambda: read_memory(root))
    _send(out, "limits", lambda: read_limits(root))
    _send(out, "clock", lambda: read_clock(root))
    _send(out, "locale", lambda: environment.user_locale(variables, root))


def _send(out: Reporter, name: str, read: Callable[[], Section | Unavailable]) -> None:
    try:
        value = read()
    except PermissionError as error:
        out.unavailable(name, f"no permission to read {error.filename or 'it'}", "no-permission")
    except Exception as error:
        out.unavailable(name, f"{type(error).__name__}: {error}"[:300], "crashed")
    else:
        if isinstance(value, Unavailable):
            out.unavailable(name, value.reason, value.kind)
        else:
            out.section(name, value)


def _or_why(read: Callable[[], T | None], missing: str) -> T | Unavailable:
    try:
        value = read()
    except PermissionError as error:
        return Unavailable(f"no permission to read {error.filename or 'it'}", "no-permission")
    return Unavailable(missing, "not-supported") if value is None else value


def read_host(root: Root, variables: dict[str, str]) -> Host:
    """Read who and what this machine is."""
    release = environment.parse_settings(root.read("/etc/os-release") or root.read("/usr/lib/os-release") or "")
    cpu = _or_why(lambda: root.read("/proc/cpuinfo", 8 << 20), "/proc/cpuinfo is not there")
    cpuinfo = "" if isinstance(cpu, Unavailable) else cpu
    user = os.geteuid()
    return Host(
        hostname=_or_why(lambda: _hostname(root), "neither the kernel nor /etc/hostname names it"),
        os_id=release.get("ID", "linux").lower(),
        os_like=tuple(release.get("ID_LIKE", "").lower().split()),
        os_version=release.get("VERSION_ID", ""),
        os_name=release.get("PRETTY_NAME", "Linux"),
        kernel_release=_or_why(lambda: root.read("/proc/sys/kernel/osrelease"), "/proc/sys/kernel/osrelease missing"),
        architecture=_or_why(lambda: _architecture(root), "neither the kernel nor the loader tells it"),
        boot_id=_or_why(lambda: root.read("/proc/sys/kernel/random/boot_id"), "the kernel gives no boot id"),
        uptime_seconds=_or_why(lambda: parse_uptime(root.read("/proc/uptime") or ""), "/proc/uptime missing"),
        virtual_machine=machine_kind.is_virtual(root),
        container=machine_kind.container(root),
        wsl=machine_kind.is_wsl(root),
        display_server=machine_kind.display_server(root),
        user_id=user,
        user_name=_or_why(lambda: _user_name(root, user), "/etc/passwd does not list this user"),
        group_ids=tuple(sorted({os.getegid(), *os.getgroups()})),
        cpu_model=_or_why(lambda: parse_cpu_model(cpuinfo), "the kernel gives no model name"),
        cpu_count=_or_why(lambda: _cpu_count(root, cpuinfo), "the kernel lists no processors"),
        numa_nodes=_or_why(lambda: _numa_nodes(root), "the kernel lists no NUMA nodes"),
        cgroup_version=_or_why(lambda: cgroup.version(root), "no control groups are mounted"),
        kernel_options=parse_kernel_options(_readable(root, "/proc/cmdline")),
        environment=variables,
    )


def _readable(root: Root, name: str) -> str:
    try:
        return root.read(name) or ""
    except PermissionError:
        return ""


def _hostname(root: Root) -> str | None:
    # The kernel's name belongs to the reader's own namespace, so it is only right at the live root.
    return (root.read("/proc/sys/kernel/hostname") if root.live else None) or root.read("/etc/hostname", 300)


def _architecture(root: Root) -> str | None:
    if root.live:
        return os.uname().machine
    told = root.read("/proc/sys/kernel/arch", 64)
    if told:
        return told
    for machine, loader in (("x86_64", "/lib64/ld-linux-x86-64.so.2"), ("aarch64", "/lib/ld-linux-aarch64.so.1")):
        if root.exists(loader):
            return machine
    return None


def _user_name(root: Root, user: int) -> str | None:
    # The files only: a name service (LDAP, SSSD) may hang, and everything else in this child with it.
    for line in (root.read("/etc/passwd", 8 << 20) or "").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(user):
            return fields[0]
    return (os.environ.get("LOGNAME") or os.environ.get("USER") or None) if root.live else None


def _cpu_count(root: Root, cpuinfo: str) -> int | None:
    online = count_range(root.read("/sys/devices/system/cpu/online") or "")
    return online or len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) or None


def _numa_nodes(root: Root) -> int | None:
    # A Grace Hopper's GPU memory is a NUMA node without processors; sockets are what counts.
    base = "/sys/devices/system/node"
    return count_range(root.read(f"{base}/has_cpu") or "") or count_range(root.read(f"{base}/online") or "") or None


def count_range(text: str) -> int:
    """Count the numbers of a kernel list such as ``0-7,16``; 0 when it is none."""
    total = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            total += max(0, int(last or first) - int(first) + 1)
    return total


def parse_uptime(text: str) -> float | None:
    """Read the first figure of /proc/uptime."""
    match = re.match(r"\d+(\.\d+)?", text)
    return float(match.group()) if match else None


def parse_cpu_model(text: str) -> str | None:
    """Return the processor's name from /proc/cpuinfo, None on machines that give only numbers (ARM)."""
    match = re.search(r"^(?:model name|cpu model|cpu)\s*:\s*(\S.*)$", text, re.MULTILINE)
    return " ".join(match[1].split())[:200] if match else None


def parse_kernel_options(text: str) -> dict[str, str]:
    """Keep the boot options that checks judge; the rest of the command line may hold secrets."""
    found: dict[str, str] = {}
    for word in text.replace('"', "").split():
        name, _, value = word.partition("=")
        if name in _KERNEL_OPTIONS or name.startswith("nouveau"):
            found[name] = f"{found[name]},{value}" if found.get(name) else value
    return found


def parse_meminfo(text: str) -> dict[str, int]:
    """Read /proc/meminfo into bytes by name."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        match = re.match(r"(\w+):\s+(\d+)(?: (kB))?$", line.strip())
        if match:
            found[match[1]] = int(match[2]) * (1024 if match[3] else 1)
    return found


def read_memory(root: Root) -> Memory | Unavailable:
    """Read memory, swap, and the control group's limit."""
    figures = parse_meminfo(root.read("/proc/meminfo") or "")
    if "MemTotal" not in figures:
        return Unavailable("/proc/meminfo is not there or says nothing", "not-supported" if not root.live else "error")
    fallback = sum(figures.get(name, 0) for name in ("MemFree", "Buffers", "Cached"))
    limited = cgroup.memory_limit(root)
    return Memory(
        total_bytes=figures["MemTotal"],
        available_bytes=figures.get("MemAvailable", fallback),
        swap_total_bytes=figures.get("SwapTotal", 0),
        swap_free_bytes=figures.get("SwapFree", 0),
        cgroup_limit_bytes=limited[0] if limited else None,
        cgroup_used_bytes=limited[1] if limited else None,
    )


def _rlimit(which: int) -> tuple[int | None, int | None]:
    soft, hard = resource.getrlimit(which)
    infinite = resource.RLIM_INFINITY
    return (None if soft == infinite else soft), (None if hard == infinite else hard)


def read_limits(root: Root) -> Limits | Unavailable:
    """Read this process's limits: servers started from the same shell inherit them."""
    if not same_kernel(root):
        return Unavailable("the files are another machine's; limits are those of a running shell", "not-applicable")
    memlock, files = _rlimit(resource.RLIMIT_MEMLOCK), _rlimit(resource.RLIMIT_NOFILE)
    return Limits(
        memlock_soft_bytes=memlock[0],
        memlock_hard_bytes=memlock[1],
        open_files_soft=files[0],
        open_files_hard=files[1],
        shm_bytes=_shm_bytes(root),
        pids_max=cgroup.pids_limit(root),
    )


def _shm_bytes(root: Root) -> int | Unavailable:
    path = root.path("/dev/shm")
    if not os.path.ismount(path):
        return Unavailable("/dev/shm is not mounted", "not-applicable")
    try:
        status = os.statvfs(path)
    except OSError as error:
        return Unavailable(f"/dev/shm: {error.strerror}", "no-permission" if error.errno == 13 else "error")
    return status.f_blocks * status.f_frsize
