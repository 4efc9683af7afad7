"""The ROCm installed here is older than what the engines need for these GPUs.

## Why it matters
vLLM needs ROCm 6.3, for MI350 7.0, for Ryzen AI 7.0.2. An older one lacks kernels for newer GPUs: engines stop with
"HIP error: invalid device function" or find no GPU. A container image and Ollama bring their own ROCm; then only the
kernel driver of the host counts, and a machine without ROCm is no fault.

With vLLM as the target, a GPU that its builds have no kernels for is a warning: it can be compiled for it.

## How to fix
Install a newer ROCm, or use an image that carries one.

## References
- https://docs.vllm.ai/en/v0.14.0/getting_started/installation/gpu/
- https://rocm.docs.amd.com/en/latest/compatibility/compatibility-matrix.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.amd_machine import reason_to_skip

SOURCE = "/opt/rocm/.info/version"
MINIMUM = "6.3"
#: Later minimums by gfx target, and the targets of vLLM's builds; both from vLLM's ROCm page.
BY_TARGET = {"gfx950": "7.0", "gfx1150": "7.0.2", "gfx1151": "7.0.2"}
VLLM_BUILDS = ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200", "gfx1201")


@check()
def rocm_too_old(amd: Amd, pci: Pci | Unavailable, host: Host | Unavailable, target: Target) -> Iterator[Finding]:
    """Compare the installed release with the lowest that these GPUs can use."""
    why = reason_to_skip(pci, host)
    if why is not None:
        yield skipped("host", "nothing to judge: {reason}", reason=why)
        return
    targets = tuple(dict.fromkeys(gpu.gfx for gpu in amd.gpus if gpu.gfx))
    yield from _builds(targets, target)
    seen = (saw("ROCm", amd.rocm_version, SOURCE), saw("gfx targets", targets, "/sys/class/kfd"))
    if amd.rocm_version is None:
        yield skipped("host", "no ROCm under /opt: container images and Ollama bring their own", evidence=seen)
        return
    needed = max((MINIMUM, *(BY_TARGET[name] for name in targets if name in BY_TARGET)), key=_parts)
    if _parts(amd.rocm_version) >= _parts(needed):
        yield passed("host", "ROCm {version} is new enough (at least {needed})", version=amd.rocm_version,
                     needed=needed, evidence=seen)
        return
    fix = (
        step("Install a newer ROCm as AMD's installation page says, then reboot."),
        step("Or use an image that carries one: it needs only the host's driver.", "docker pull rocm/vllm:latest"),
    )
    if target.engines and all(wish.image or wish.name == "ollama" for wish in target.engines):
        yield warned("host", "ROCm {version} is older than {needed}; the engines named here bring their own",
                     version=amd.rocm_version, needed=needed, evidence=seen, fix=fix)
    else:
        yield failed("host", "ROCm {version} is too old: these GPUs need at least {needed}", version=amd.rocm_version,
                     needed=needed, evidence=seen, fix=fix)


def _builds(targets: tuple[str, ...], target: Target) -> Iterator[Finding]:
    strange = tuple(name for name in targets if name not in VLLM_BUILDS)
    if strange and any(wish.name == "vllm" for wish in target.engines):
        yield warned(
            "host",
            "vLLM's builds have no kernels for {targets}",
            targets=strange,
            evidence=saw("gfx targets", targets, "/sys/class/kfd"),
            fix=step("Compile vLLM for this GPU, or use llama.cpp or Ollama, which support more of them."),
        )


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
