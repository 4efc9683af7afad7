"""AMD GPUs through sysfs: kernel driver, device nodes and who may open them, ROCm, memory, errors, temperature."""

import os
import re

from gpudoctor.facts.amd import AmdGpu, AmdNode
from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("amd",)
OPTIONS: tuple[str, ...] = ()

_DEVICES = "/sys/bus/pci/devices"
_TOPOLOGY = "/sys/class/kfd/kfd/topology/nodes"
_NAMES = "/usr/share/libdrm/amdgpu.ids"
_GPU_CLASSES = ("0x0300", "0x0380", "0x1200")
_ASLEEP = Unavailable("the GPU is asleep, and asking would wake it", "not-supported")


def probe(out: Reporter, root: Root) -> None:
    """Fill ``amd``; a GPU whose firmware hangs costs that GPU alone."""
    addresses = gpu_addresses(root)
    loaded = root.exists("/sys/module/amdgpu")
    if not addresses and not root.exists("/dev/kfd"):
        out.unavailable("amd", "no AMD GPU on the PCI bus", "not-applicable")
        return
    # Without the list of GPUs: it would wipe what the parent noted of one that hung.
    out.set(
        "amd",
        module_loaded=loaded,
        module_version=root.read("/sys/module/amdgpu/version") if loaded else None,
        nodes=read_nodes(root),
        rocm_version=rocm_version(root),
    )
    targets = gfx_targets(root)
    gpus = {
        f"AMD GPU {address}": AmdGpu(address=address, device=_id(root, address, "device"), gfx=targets.get(address))
        for address in addresses
        if not out.left_out(f"AMD GPU {address}")
    }
    for item, known in gpus.items():
        out.start(item, section="amd", field="gpus", placeholder=known, promised=True)
    for item, known in gpus.items():
        out.start(item, doing="its sysfs files")
        out.append("amd", "gpus", read_gpu(root, known))


def _id(root: Root, address: str, name: str) -> str:
    return (root.read(f"{_DEVICES}/{address}/{name}", 64) or "").strip().removeprefix("0x")


def gpu_addresses(root: Root) -> list[str]:
    """Return the PCI addresses of AMD GPUs, in bus order."""
    return [
        address
        for address in root.list(_DEVICES)
        if _id(root, address, "vendor") == "1002"
        and (root.read(f"{_DEVICES}/{address}/class", 64) or "").startswith(_GPU_CLASSES)
    ]


def read_nodes(root: Root) -> list[AmdNode]:
    """Read /dev/kfd and the render nodes of AMD devices, with owner group and this user's rights."""
    names = ["/dev/kfd"]
    for name in root.list("/dev/dri"):
        vendor = root.read(f"/sys/class/drm/{name}/device/vendor", 64) or ""
        if re.fullmatch(r"renderD\d+", name) and vendor.strip() == "0x1002":
            names.append(f"/dev/dri/{name}")
    groups = parse_groups(_group_file(root))
    found: list[AmdNode] = []
    for name in names:
        status = root.stat(name)
        if status is not None:
            found.append(
                AmdNode(
                    path=name,
                    mode=status.st_mode & 0o7777,
                    gid=status.st_gid,
                    group=groups.get(status.st_gid),
                    accessible=os.access(root.path(name), os.R_OK | os.W_OK),
                )
            )
    return found


def _group_file(root: Root) -> str:
    # The file only: a name service may hang. A device's groups (render, video) are local ones.
    try:
        return root.read("/etc/group", 4 << 20) or ""
    except PermissionError:
        return ""


def parse_groups(text: str) -> dict[int, str]:
    """Read /etc/group: name by number."""
    found: dict[int, str] = {}
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            found.setdefault(int(fields[2]), fields[0])
    return found


def rocm_version(root: Root) -> str | None:
    """Return the version of ROCm under /opt: that of /opt/rocm, else the newest."""
    active = root.read("/opt/rocm/.info/version", 64)
    found = [active] if active else [root.read(name, 64) or "" for name in root.glob("/opt/rocm-*/.info/version")]
    versions = [match.group() for text in found if (match := re.match(r"\d+(\.\d+)+", text.strip()))]
    return max(versions, key=lambda version: [int(part) for part in version.split(".")], default=None)


def gfx_targets(root: Root) -> dict[str, str]:
    """Return the gfx target of each GPU by PCI address, from the compute driver's topology."""
    found: dict[str, str] = {}
    for node in root.list(_TOPOLOGY):
        try:
            text = root.read(f"{_TOPOLOGY}/{node}/properties") or ""
        except PermissionError:
            continue
        entry = parse_properties(text)
        target, location = entry.get("gfx_target_version", 0), entry.get("location_id", 0)
        if target:
            bus, slot, function = location >> 8 & 0xFF, location >> 3 & 0x1F, location & 7
            found[f"{entry.get('domain', 0):04x}:{bus:02x}:{slot:02x}.{function}"] = gfx_name(target)
    return found


def parse_properties(text: str) -> dict[str, int]:
    """Read a topology node's ``name number`` lines."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def gfx_name(version: int) -> str:
    """Return the compiler's name of a target: 90010 is gfx90a, 110000 is gfx1100."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def read_gpu(root: Root, known: AmdGpu) -> AmdGpu:
    """Read one GPU's figures."""
    base = f"{_DEVICES}/{known.address}"
    asleep = (root.read(f"{base}/power/runtime_status", 64) or "").strip() == "suspended"
    corrected, uncorrected = _ras(root, base)
    heat = (_ASLEEP, _ASLEEP) if asleep else _temperature(root, base)
    return AmdGpu(
        address=known.address,
        device=known.device,
        name=_name(root, base, known),
        gfx=known.gfx,
        vram_total_bytes=_figure(root, f"{base}/mem_info_vram_total"),
        vram_used_bytes=_figure(root, f"{base}/mem_info_vram_used"),
        ras_corrected=corrected,
        ras_uncorrected=uncorrected,
        bad_pages=_bad_pages(root, base),
        temperature_celsius=heat[0],
        critical_celsius=heat[1],
    )


def _missing(root: Root, name: str) -> Unavailable:
    last = name.rsplit("/", 1)[-1]
    if root.exists(name):
        return Unavailable(f"{last} could not be read", "no-permission")
    return Unavailable(f"the driver shows no {last}", "not-supported")


def _figure(root: Root, name: str) -> int | Unavailable:
    value = root.read_int(name)
    return _missing(root, name) if value is None else value


def _ras(root: Root, base: str) -> tuple[int | Unavailable, int | Unavailable]:
    counts: list[tuple[int, int]] = []
    for name in root.glob(f"{base}/ras/*_err_count"):
        try:
            found = parse_ras(root.read(name, 4096) or "")
        except PermissionError:
            gap = Unavailable("the error counters are for root only", "no-permission")
            return gap, gap
        if found is not None:
            counts.append(found)
    if not counts:
        gap = Unavailable("this GPU counts no memory errors (no RAS)", "not-supported")
        return gap, gap
    return sum(c for _, c in counts), sum(u for u, _ in counts)


def parse_ras(text: str) -> tuple[int, int] | None:
    """Read uncorrected and corrected errors of ``ue: 0`` and ``ce: 3``."""
    wrong, right = re.search(r"^ue:\s*(\d+)", text, re.MULTILINE), re.search(r"^ce:\s*(\d+)", text, re.MULTILINE)
    return (int(wrong[1]), int(right[1])) if wrong and right else None


def _bad_pages(root: Root, base: str) -> int | Unavailable:
    name = f"{base}/ras/gpu_vram_bad_pages"
    try:
        text = root.read(name)
    except PermissionError:
        return Unavailable("the list of bad pages is for root only", "no-permission")
    return _missing(root, name) if text is None else len(re.findall(r"^0x[0-9a-f]+\s*:", text, re.MULTILINE))


def _temperature(root: Root, base: str) -> tuple[float | Unavailable, float | Unavailable]:
    """Return temperature and limit of the hottest sensor there is: junction before edge."""
    sensors = {(root.read(name, 64) or "").strip(): name for name in root.glob(f"{base}/hwmon/hwmon*/temp*_label")}
    label = sensors.get("junction") or sensors.get("edge")
    if label is None:
        gap = Unavailable("the driver shows no temperature", "not-supported")
        return gap, gap
    values = [_figure(root, label.removesuffix("label") + part) for part in ("input", "crit")]
    now, limit = (value if isinstance(value, Unavailable) else value / 1000 for value in values)
    return now, limit


def _name(root: Root, base: str, known: AmdGpu) -> str | None:
    told = (root.read(f"{base}/product_name", 256) or "").strip()
    if told:
        return told
    revision = (root.read(f"{base}/revision", 64) or "").strip().removeprefix("0x")
    return parse_names(root.read(_NAMES) or "").get((known.device.lower(), revision.lower()))


def parse_names(text: str) -> dict[tuple[str, str], str]:
    """Read libdrm's amdgpu.ids: ``744C, C8, AMD Radeon RX 7900 XTX``."""
    found: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) == 3 and not line.startswith("#"):
            found[parts[0].lower(), parts[1].lower()] = parts[2]
    return found
