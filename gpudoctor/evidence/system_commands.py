"""What a machine says of itself: uname, os-release, mokutil, free, meminfo, df, lsmod, lspci -k, dkms status."""

import re
from collections.abc import Callable
from typing import Any

from gpudoctor.evidence.blocks import Extent, Kind, Reading, While
from gpudoctor.facts.driver import DkmsBuild, Driver
from gpudoctor.facts.host import Host, Memory
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.facts.storage import Storage, Volume
from gpudoctor.probes.environment import parse_settings

_UNAME = re.compile(r"Linux \S{1,80} (\d+\.\d+\S{0,80}) #.{0,200}?\b(x86_64|aarch64|arm64|ppc64le|riscv64)\b")
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,2})?)([KMGTP]?)i?B?$")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
#: free without an option counts in KiB; no GPU server has so few of them that this could be another unit.
_LEAST_KIB = 4_000_000
_PURPOSES = {"/": "root", "/tmp": "tmp", "/var/lib/docker": "docker"}
_DEVICE = re.compile(
    r"(?P<address>(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) .{1,120}? \[(?P<class>[0-9a-f]{4})\]: "
    r".{1,200}? \[(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})\]"
)
_IN_USE = re.compile(r"\s+Kernel driver in use: (\S{1,80})")
_DKMS = re.compile(r"nvidia(?:-srv|-open)?[/,] ?(\d{3}[\d.]{1,16})(?:, (\d\S{1,80}), \S{1,20})?: (?:inst|built|added)")
_ADDRESS = r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
_SIZES = r"Filesystem\s|\S+\s+\d\S*\s+\d\S*\s+\d\S*\s+\d+%\s"
_MAX_DEVICES = 4096


def uname(text: str, line: int, file: str) -> Reading | None:
    """Read the kernel's release and the machine's architecture."""
    found = _UNAME.search(text)
    if found is None:
        return None
    wsl = "microsoft" in found[1].lower()
    arch = "aarch64" if found[2] == "arm64" else found[2]
    return Reading(
        sections={"host": Host(kernel_release=found[1], architecture=arch, wsl=wsl)},
        context=frozenset({"wsl"} if wsl else ()),
    )


def os_release(text: str, line: int, file: str) -> Reading | None:
    """Read /etc/os-release."""
    told = parse_settings(text[:20_000])
    if "ID" not in told or "NAME" not in told:
        return None
    return Reading(
        sections={
            "host": Host(
                os_id=told["ID"][:40],
                os_like=tuple(told.get("ID_LIKE", "").split()[:8]),
                os_version=told.get("VERSION_ID", "")[:40],
                os_name=told.get("PRETTY_NAME", told["NAME"])[:100],
            )
        }
    )


def secure_boot(text: str, line: int, file: str) -> Reading | None:
    """Read ``mokutil --sb-state``."""
    state = "on" if "enabled" in text.lower() else "off"
    context = frozenset({"secure-boot-on"} if state == "on" else ())
    return Reading(sections={"driver": Driver(secure_boot=state)}, context=context)


def memory(text: str, line: int, file: str) -> Reading | None:
    """Read ``free`` with or without ``-h``; None where its unit cannot be told."""
    rows = {row.split(":")[0].strip(): row.split(":", 1)[1].split() for row in text.split("\n") if ":" in row}
    columns = text.split("\n", 1)[0].split()
    if "Mem" not in rows or "available" not in columns or len(rows["Mem"]) < len(columns):
        return None
    plain = rows["Mem"][0].isdigit()
    if plain and int(rows["Mem"][0][:15]) < _LEAST_KIB:
        return None
    total, available = (_bytes(rows["Mem"][columns.index(name)], plain) for name in ("total", "available"))
    swap = [_bytes(word, plain) for word in rows.get("Swap", [])]
    if total is None or available is None:
        return None
    left = swap[2] if len(swap) > 2 else None
    whole = swap[0] if swap else None
    found = Memory(total_bytes=total, available_bytes=available, swap_total_bytes=whole or 0, swap_free_bytes=left or 0)
    return Reading(sections={"memory": found})


def _bytes(word: str, kib: bool) -> int | None:
    found = _SIZE.match(word)
    return int(float(found[1]) * (1024 if kib else _UNITS[found[2]])) if found else None


def meminfo(text: str, line: int, file: str) -> Reading | None:
    """Read /proc/meminfo, whose kB are KiB; None without what is available."""
    told = {name: int(figure) << 10 for name, figure in re.findall(r"(\w{2,40}):\s+(\d{1,15})", text)}
    if "MemAvailable" not in told:
        return None
    found = Memory(total_bytes=told["MemTotal"], available_bytes=told["MemAvailable"],
                   swap_total_bytes=told.get("SwapTotal", 0), swap_free_bytes=told.get("SwapFree", 0))
    return Reading(sections={"memory": found})


def disks(text: str, line: int, file: str) -> Reading | None:
    """Read ``df -h``, or ``df`` in KiB, of the places whose purpose the name tells."""
    head, *rows = text.split("\n")
    kib = "1K-blocks" in head
    volumes: list[Volume] = []
    for row in rows:
        words = row.split()
        if len(words) != 6 or words[5] not in _PURPOSES or words[5] in [volume.path for volume in volumes]:
            continue
        total, free = _bytes(words[1], kib), _bytes(words[3], kib)
        if total and free is not None:
            volumes.append(Volume(purpose=_PURPOSES[words[5]], path=words[5], mount_point=words[5],
                                  device=words[0][:100], total_bytes=total, free_bytes=free))
    return Reading(sections={"storage": Storage(volumes=tuple(volumes))}) if volumes else Reading()


def modules(text: str, line: int, file: str) -> Reading | None:
    """Read ``lsmod``; its head shows that nothing was left out by grep."""
    names = {row.split()[0] for row in text.split("\n")[1:] if row.strip()}
    if not names:
        return None
    facts: dict[str, Any] = {"nouveau_loaded": "nouveau" in names}
    if "nvidia" not in names:
        facts["loaded_version"] = None
    return Reading(sections={"driver": Driver(**facts)})


def devices(text: str, line: int, file: str) -> Reading | None:
    """Read ``lspci -nnk``: without ``-k`` nobody knows which driver holds a device, and nothing is read."""
    if _IN_USE.search(text) is None and "Kernel modules:" not in text:
        return None
    found: list[PciDevice] = []
    for part in re.split(r"\n(?=\S)", text)[:_MAX_DEVICES]:
        device = _DEVICE.match(part)
        if device is None:
            continue
        driver, address = _IN_USE.search(part), device["address"]
        found.append(
            PciDevice(
                address=address if address.count(":") == 2 else f"0000:{address}",
                vendor=device["vendor"], device=device["device"], class_code=device["class"],
                driver=driver[1] if driver else None,
            )
        )  # fmt: skip
    gpus = [device for device in found if device.is_nvidia_gpu or device.is_amd_gpu]
    return Reading(sections={"pci": Pci(devices=tuple(found))}) if gpus else None


def dkms(text: str, line: int, file: str) -> Reading | None:
    """Read ``dkms status`` of NVIDIA's module."""
    builds = tuple(DkmsBuild(version=found[1], kernel=found[2]) for found in _DKMS.finditer(text))
    return Reading(sections={"driver": Driver(dkms=builds[:256])}) if builds else None


def _while(pattern: str) -> Callable[[], Extent]:
    compiled = re.compile(pattern)
    return lambda: While(compiled)


KINDS = (
    Kind("uname", r"(?:uname: )?Linux \S{1,80} \d+\.\d+\S{0,80} #", _while(r"(?:uname: )?Linux "), uname),
    Kind("os-release", r"(?:NAME|PRETTY_NAME|ID|VERSION_ID)=", _while(r"[A-Z_]{2,40}=|#|\s*$"), os_release),
    Kind("mokutil", r"SecureBoot (?:enabled|disabled)\s*$", _while(r"SecureBoot "), secure_boot),
    Kind("free", r"\s{4,40}total\s+used\s+free\s+shared", _while(r"\s{4,40}total\s|(?:Mem|Swap|Total):\s"), memory),
    Kind("meminfo", r"MemTotal:\s+\d{4,15} kB", _while(r"[\w()]{2,40}:\s+\d{1,15}(?: kB)?\s*$"), meminfo),
    Kind("df", r"Filesystem\s+(?:Size|1K-blocks)\s+Used\s", _while(_SIZES), disks),
    Kind("lsmod", r"Module\s+Size\s+Used by", _while(r"Module\s+Size|[\w\-]{1,60}\s+\d{1,12}\s+-?\d+"), modules),
    Kind("lspci", rf"{_ADDRESS} \S.{{0,120}} \[[0-9a-f]{{4}}\]: ", _while(rf"{_ADDRESS} |\s+\S|--\s*$|\s*$"), devices,
         words=("kernel driver in use",)),
    Kind("dkms-status", r"nvidia(?:-srv|-open)?[/,] ?\d{3}", _while(r"nvidia"), dkms),
)  # fmt: skip
