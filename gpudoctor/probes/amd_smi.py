"""What ``amd-smi`` says of AMD GPUs, where it is installed. Its JSON is a list up to ROCm 6, a table since ROCm 7."""

import json
from typing import Any

from gpudoctor.facts.amd import AmdSmi, AmdSmiGpu
from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.clock import same_kernel
from gpudoctor.probes.command import CommandMissing, run
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("amd_smi",)
OPTIONS: tuple[str, ...] = ()

_ABSENT = Unavailable("amd-smi does not say", "not-supported")


def probe(out: Reporter, root: Root) -> None:
    """Fill ``amd_smi``."""
    if not same_kernel(root):
        out.unavailable("amd_smi", "the files are another machine's; its GPUs cannot be asked", "not-applicable")
        return
    if not root.exists("/sys/module/amdgpu"):
        out.unavailable("amd_smi", "the amdgpu driver is not loaded", "not-applicable")
        return
    try:
        _, listed, _ = run("amd-smi", "list", "--json")
        code, text, errors = run("amd-smi", "metric", "--temperature", "--ecc", "--power", "--pcie", "--json")
    except CommandMissing:
        out.unavailable("amd_smi", "amd-smi is not installed", "not-applicable")
        return
    gpus = parse_metric(text, parse_list(listed))
    if gpus is None:
        said = errors.strip().splitlines() or [f"it ended with code {code}"]
        out.unavailable("amd_smi", f"amd-smi answered no JSON: {said[-1][:200]}", "error")
        return
    out.section("amd_smi", AmdSmi(gpus=gpus))


def _entries(text: str) -> list[dict[str, Any]] | None:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, dict):
        answer = answer.get("gpu_data")
    return [entry for entry in answer if isinstance(entry, dict)] if isinstance(answer, list) else None


def parse_list(text: str) -> dict[int, str]:
    """Read ``amd-smi list --json``: PCI address by GPU number."""
    return {
        entry["gpu"]: str(entry["bdf"]).lower()
        for entry in _entries(text) or ()
        if isinstance(entry.get("gpu"), int) and "bdf" in entry
    }


def parse_metric(text: str, addresses: dict[int, str]) -> tuple[AmdSmiGpu, ...] | None:
    """Read ``amd-smi metric --json``, None when it is no such document.

    Values are numbers, ``{"value": …, "unit": …}`` or ``"N/A"``.
    """
    entries = _entries(text)
    if entries is None:
        return None
    gpus = []
    for entry in entries:
        index = entry.get("gpu")
        if not isinstance(index, int) or isinstance(index, bool):
            continue
        throttle = str(_table(entry.get("power")).get("throttle_status", "")).upper()
        gpus.append(
            AmdSmiGpu(
                index=index,
                address=addresses.get(index),
                ecc_uncorrected=_count(entry, "ecc", "total_uncorrectable_count"),
                ecc_corrected=_count(entry, "ecc", "total_correctable_count"),
                hotspot_celsius=_number(entry, "temperature", "hotspot"),
                memory_celsius=_number(entry, "temperature", "mem"),
                pcie_replays=_count(entry, "pcie", "replay_count"),
                throttled={"THROTTLED": True, "UNTHROTTLED": False}.get(throttle),
            )
        )
    return tuple(gpus)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(entry: dict[str, Any], group: str, name: str) -> float | Unavailable:
    value = _table(entry.get(group)).get(name)
    value = value.get("value") if isinstance(value, dict) else value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _ABSENT


def _count(entry: dict[str, Any], group: str, name: str) -> int | Unavailable:
    value = _number(entry, group, name)
    return value if isinstance(value, Unavailable) else int(value)
