"""The driver is older than the oldest one that runs the CUDA version of an engine named with --for.

## Why it matters
A program built with CUDA 13 needs driver 580.65.06 or newer, with CUDA 12 525.60.13 or newer, with CUDA 11 450.80.02 or
newer. Below that every CUDA call fails with error 35, or the engine falls back to the CPU without a word. Within one
CUDA major version an older driver is enough: an image of CUDA 12.9 runs on driver 535, whose own ceiling is 12.2,
except for PTX that was made by the newer toolkit. The "CUDA Version" of `nvidia-smi` is no requirement.

## How to fix
Upgrade the driver, or take a build of the engine for an older CUDA major version. On data-centre GPUs an image can
bring libraries that carry the newer major version on an older driver (`cuda-compat`).

## References
- https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
- https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html
- https://github.com/ollama/ollama/blob/main/docs/gpu.mdx
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.checking import Finding, Target, check, failed, known, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.target import EngineWish
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.judging.presence import need_nvidia
from gpudoctor.judging.remedies import install_driver, reboot
from gpudoctor.matrices import cuda_driver, ollama, pytorch, sglang, tgi, vllm
from gpudoctor.matrices import gpus as gpu_table
from gpudoctor.matrices.versions import at_least


class _Need(NamedTuple):
    """What an engine asks: ``floor`` None with the reason in ``why``."""

    label: str
    floor: str | None
    why: str
    enforced: bool = True


@check()
def too_old(
    target: Target,
    driver: Driver | Unavailable,
    gpus: Gpus | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
) -> Iterator[Finding]:
    """Compare the driver with the floor of each engine's CUDA major version."""
    wsl = isinstance(host, Host) and host.wsl
    devices = () if wsl else need_nvidia(pci)
    if not target.engines:
        yield skipped("host", "no engine was named; try: gpudoctor check --for vllm==0.33.0")
        return
    version = known(gpus.driver_version) if isinstance(gpus, Gpus) else None
    version = version or (known(driver.loaded_version) if isinstance(driver, Driver) else None)
    for wish in target.engines:
        need = _requirement(wish, _capability(gpus, devices))
        yield _compare(need, version, devices, wish, host, target, wsl)


def _compare(
    need: _Need,
    version: str | None,
    devices: tuple[PciDevice, ...],
    wish: EngineWish,
    host: Host | Unavailable,
    target: Target,
    wsl: bool,
) -> Finding:
    seen = (saw("driver", version, "NVML, /sys/module/nvidia/version"),
            saw("oldest driver for it", need.floor, need.why))
    if need.floor is None:
        return unknown("host", "what {engine} asks of the driver is not known: {why}", engine=need.label, why=need.why,
                       evidence=seen)
    if version is None:
        if target.installing:
            return noted("host", "{engine} needs NVIDIA driver {floor} or newer ({why})", engine=need.label,
                         floor=need.floor, why=need.why, evidence=seen)
        return skipped("host", "no driver is loaded to compare with; {engine} needs {floor} or newer",
                       engine=need.label, floor=need.floor, evidence=seen)
    try:
        enough = at_least(version, need.floor)
    except ValueError:
        return unknown("host", "driver version {version} is not a number", version=version, evidence=seen)
    if wsl and not enough:
        return unknown("host", "Windows' drivers count otherwise: {version} was not compared with {floor}, which "
                       "{engine} needs on Linux", version=version, floor=need.floor, engine=need.label, evidence=seen)
    if enough:
        return passed("host", "driver {version} is new enough for {engine}, which needs {floor}", version=version,
                      engine=need.label, floor=need.floor, evidence=seen)
    fix = (
        *install_driver(host), reboot(host),
        step("Or take a build of {engine} for an older CUDA major version.", engine=need.label),
    )
    if not need.enforced:
        return warned("host", "driver {version} is older than {floor}, which {engine} asks for in its documents",
                      version=version, floor=need.floor, engine=need.label, evidence=seen, fix=fix)
    if wish.image is not None and _may_carry_newer(version, devices):
        return warned(
            "host",
            "driver {version} is below {floor}, which {engine} needs: it starts only with the image's cuda-compat "
            "libraries", version=version, floor=need.floor, engine=need.label, evidence=seen, fix=fix)
    return failed("host", "driver {version} is too old for {engine}, which needs {floor} or newer ({why})",
                  version=version, engine=need.label, floor=need.floor, why=need.why, evidence=seen, fix=fix)


def _may_carry_newer(version: str, devices: tuple[PciDevice, ...]) -> bool:
    rule = cuda_driver.forward_compatibility()
    rows = [gpu_table.by_pci_id(d.vendor, d.device) for d in devices]
    fits = bool(rows) and all(found and all(rule.works_on(row.kind) for row in found) for found in rows)
    return fits and (cuda_driver.branch_of(version) or 0) >= min(rule.cuda13_base)


def _capability(gpus: Gpus | Unavailable, devices: tuple[PciDevice, ...]) -> tuple[int, int] | None:
    told = [known(g.compute_capability) for g in gpus.answering] if isinstance(gpus, Gpus) else []
    table = [row.compute_capability for d in devices for row in gpu_table.by_pci_id(d.vendor, d.device)]
    return min((c for c in told if c is not None), default=min(table, default=None))


def _requirement(wish: EngineWish, capability: tuple[int, int] | None) -> _Need:
    name, version = wish.name, wish.version
    if name == "ollama":
        return _of_ollama(version or ollama.table().known_until, capability)
    if name == "cuda":
        return _of_cuda(wish.label, version)
    if name == "vllm":
        row = vllm.release(version) if version else vllm.releases()[-1]
        cuda = None if row is None else (row.image_cuda or row.cuda) if wish.image else row.cuda
        return _of_cuda(f"vllm {row.version}" if row else wish.label, cuda)
    if name == "sglang":
        found = sglang.release(version) if version else sglang.table().releases[-1]
        return _of_cuda(f"sglang {found.version}" if found else wish.label, found.cuda if found else None)
    if name == "tgi":
        known_tgi = tgi.release(version) if version else tgi.table().releases[-1]
        return _of_cuda(f"tgi {known_tgi.version}" if known_tgi else wish.label, known_tgi.cuda if known_tgi else None)
    if name == "torch":
        build = pytorch.release(version) if version else None
        local = pytorch.cuda_of_local_version(version) if version else None
        return _of_cuda(wish.label, local or (build.cuda if build else None))
    return _Need(wish.label, None, "the matrices have no CUDA version for it")


def _of_cuda(label: str, cuda: str | None) -> _Need:
    match = re.match(r"(\d+)(?:\.(\d+))?", cuda or "")
    if match is None:
        return _Need(label, None, "the matrices have no CUDA version for it")
    floor = cuda_driver.floor_for_cuda(int(match[1]))
    if floor is None:
        return _Need(label, None, "the matrices have no driver floor for its CUDA major version")
    return _Need(label, floor.min_driver, f"built with CUDA {match[0]}")


def _of_ollama(version: str, capability: tuple[int, int] | None) -> _Need:
    rule = ollama.driver_rule(version)
    if rule is None:
        return _Need(f"ollama {version}", None, "the matrices do not know this release")
    floor = rule.floor(capability)
    if floor is None:
        runners = ollama.runners(version)
        return _of_cuda(f"ollama {version}", runners[0].cuda if runners else None)
    why = "older ones are left aside" if rule.enforced else "its documents ask for it"
    return _Need(f"ollama {version}", floor, why, rule.enforced)
