"""What the disks say about themselves, through smartctl or nvme where one is installed. Reads only; wakes no disk."""

import json
import os
import re
from typing import Any

from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.storage import Disk
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.command import CommandMissing, find, run
from gpudoctor.probes.mounts import block_class
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("disk_health",)
OPTIONS: tuple[str, ...] = ()

#: Disks of their own; not partitions, volumes, memory, optical drives or a hypervisor's virtio disks.
_PHYSICAL = re.compile(r"(sd[a-z]+|nvme\d+n\d+|hd[a-z])")
_PATIENCE_SECONDS = 5.0
_SMART_FAILING_BIT = 0x08


def probe(out: Reporter, root: Root) -> None:
    """Fill ``disk_health``, one disk after the other."""
    if not same_kernel(root):
        out.unavailable("disk_health", "the files are another machine's; its disks cannot be asked", "not-applicable")
        return
    names = [name for name in root.list("/sys/block") if _PHYSICAL.fullmatch(name)]
    if not names:
        out.unavailable("disk_health", "no disk of its own is visible here", "not-applicable")
        return
    if find("smartctl") is None and find("nvme") is None:
        reason = "neither smartctl nor nvme is installed (packages smartmontools, nvme-cli)"
        out.unavailable("disk_health", reason, "not-supported")
        return
    if os.geteuid() != 0:
        out.unavailable("disk_health", "disks answer root only", "no-permission")
        return
    out.set("disk_health")
    disks = [
        Disk(name=name, model=(root.read(f"/sys/block/{name}/device/model") or "").strip(),
             device_class=block_class(root, name))
        for name in names
        if not out.left_out(name)
    ]
    for known in disks:
        out.start(known.name, patience=_PATIENCE_SECONDS, section="disk_health", field="disks", placeholder=known,
                  promised=True)
    for known in disks:
        out.start(known.name)
        out.append("disk_health", "disks", _ask(known))


def _ask(known: Disk) -> Disk:
    try:
        code, text, _ = run("smartctl", "--json", "--nocheck=standby", "-i", "-H", "-A", f"/dev/{known.name}")
        return parse_smartctl(known, text, code)
    except CommandMissing:
        pass
    if not known.name.startswith("nvme"):
        gap = Unavailable("smartctl is not installed (package smartmontools)", "not-supported")
        return _with(known, gap, gap, gap)
    code, text, errors = run("nvme", "smart-log", f"/dev/{known.name}", "-o", "json")
    return parse_nvme(known, text, code, errors)


def _with(
    known: Disk, warning: int | Unavailable, good: bool | Unavailable, used: int | Unavailable, model: str = ""
) -> Disk:
    return Disk(
        name=known.name,
        model=model or known.model,
        device_class=known.device_class,
        critical_warning=warning,
        smart_passed=good,
        percentage_used=used,
    )


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any, reason: Unavailable) -> int | Unavailable:
    return value if isinstance(value, int) and not isinstance(value, bool) else reason


def _decoded(text: str) -> dict[str, Any]:
    try:
        return _table(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def parse_smartctl(known: Disk, text: str, code: int) -> Disk:
    """Read ``smartctl --json -i -H -A``. The drive's own verdict is ``smart_status``; exit bit 3 says the same."""
    answer = _decoded(text)
    messages = _table(answer.get("smartctl")).get("messages")
    texts = [str(_table(m).get("string", "")) for m in messages] if isinstance(messages, list) else []
    said = "; ".join(text for text in texts if text)[:200]
    gap = Unavailable(said or "this disk keeps no health record", _kind(said))
    good = _table(answer.get("smart_status")).get("passed")
    log = _table(answer.get("nvme_smart_health_information_log"))
    verdict: bool | Unavailable = good if isinstance(good, bool) else False if code & _SMART_FAILING_BIT else gap
    no_nvme = Unavailable("not an NVMe disk", "not-supported") if not known.name.startswith("nvme") else gap
    return _with(
        known,
        _number(log.get("critical_warning"), no_nvme),
        verdict,
        _number(log.get("percentage_used"), no_nvme),
        str(answer.get("model_name", ""))[:100],
    )


def parse_nvme(known: Disk, text: str, code: int, errors: str) -> Disk:
    """Read ``nvme smart-log -o json``; newer releases wrap the warning byte in a table."""
    answer = _decoded(text)
    gap = Unavailable(errors.strip()[:200] or f"nvme ended with code {code}", _kind(errors))
    warning = answer.get("critical_warning")
    if isinstance(warning, dict):
        warning = warning.get("value")
    used = answer.get("percent_used", answer.get("percentage_used"))
    return _with(known, _number(warning, gap), NOT_RECORDED, _number(used, gap))


def _kind(said: str) -> Any:
    if re.search(r"permission denied|not permitted", said, re.IGNORECASE):
        return "no-permission"
    return "not-supported"
