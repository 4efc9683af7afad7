"""An AMD GPU does not answer, has uncorrected memory errors or bad pages, or is too hot.

## Why it matters
An uncorrected error ends the program that meets it, and wrong results may come before. The rules follow those for
NVIDIA GPUs: uncorrected errors since the driver loaded are a failure, because sysfs does not say whether they were
contained; bad pages already set aside are a note; a temperature at the sensor's own critical limit is a failure, and
within `thermal_margin_warn_celsius` of it a note, because a busy GPU's hot spot is meant to come close. AMD states no
limit for corrected errors.

Figures are the driver's own, under `/sys/class/drm/card*/device` (RAS counters, hwmon), and those of `amd-smi` where it
is installed; the higher count of the two is judged. A sleeping GPU is left asleep. A GPU that `amd-smi` calls throttled
is a warning, because it does not say why.

## How to fix
Errors: stop the work and reset the GPU; if they come back, have it replaced. Heat: airflow, fans, room.

## References
- https://docs.kernel.org/gpu/amdgpu/ras.html
- https://docs.kernel.org/gpu/amdgpu/thermal.html
- https://rocm.docs.amd.com/projects/amdsmi/en/latest/
"""

from collections.abc import Iterator

from msgspec.structs import replace

from gpudoctor.checking import Finding, Policy, check, failed, known, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Evidence, Step
from gpudoctor.facts.amd import Amd, AmdGpu, AmdSmi, AmdSmiGpu
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.amd_machine import compute_gpus, reason_to_skip

SOURCE = "/sys/bus/pci/devices"


@check(gatekeeper_of="amd_smi")
def unhealthy(
    amd: Amd, amd_smi: AmdSmi | Unavailable, pci: Pci | Unavailable, host: Host | Unavailable, policy: Policy
) -> Iterator[Finding]:
    """Judge each GPU that is meant for computing."""
    why = reason_to_skip(pci, host)
    if why is not None:
        yield skipped("host", "nothing to judge: {reason}", reason=why)
        return
    if not amd.module_loaded:
        yield skipped("host", "the amdgpu driver is not loaded, so there are no figures")
        return
    wanted = {gpu.address for gpu in compute_gpus(pci)} if isinstance(pci, Pci) else set[str]()
    judged = [gpu for gpu in amd.gpus if gpu.address in wanted]
    if not judged:
        yield unknown("host", "the driver shows no figures for any AMD GPU")
    if isinstance(amd_smi, Unavailable) and not amd_smi.harmless:
        yield unknown("host", "amd-smi could not be asked: {reason}", reason=amd_smi.reason)
    told = {} if isinstance(amd_smi, Unavailable) else {each.address: each for each in amd_smi.gpus}
    for gpu in judged:
        yield from _judge(gpu, told.get(gpu.address), policy)


def _judge(gpu: AmdGpu, told: AmdSmiGpu | None, policy: Policy) -> Iterator[Finding]:
    subject, name = f"amd-gpu:{gpu.address}", gpu.name or "AMD GPU"
    if gpu.failure is not None:
        yield failed(
            subject,
            "{name} at {address} does not answer: {failure}",
            name=name, address=gpu.address, failure=gpu.failure,
            evidence=saw("sysfs", gpu.failure, SOURCE),
            fix=(
                step("Read what the driver said about it.", "sudo dmesg | grep -i amdgpu"),
                step("Reboot; if it stays silent, power the machine off and on.", "sudo systemctl reboot",
                     risk="stops everything on this machine"),
            ),
        )
        return
    if told is not None:
        gpu = replace(gpu, ras_uncorrected=_higher(gpu.ras_uncorrected, told.ecc_uncorrected),
                      ras_corrected=_higher(gpu.ras_corrected, told.ecc_corrected))
    seen = _evidence(gpu, told)
    found = [finding for finding in (_errors(gpu, subject, name, seen, policy), _heat(gpu, subject, name, seen, policy))
             if finding is not None]
    if told is not None and told.throttled:
        found.append(warned(subject, "amd-smi calls {name} throttled, without saying why", name=name, evidence=seen,
                     fix=step("Look at temperatures and power while it works.", "amd-smi monitor --power-usage "
                              "--temperature --violation")))
    yield from found
    if found:
        return
    if known(gpu.bad_pages):
        yield noted(subject, "{name} has set aside {pages} bad pages of memory", name=name, pages=known(gpu.bad_pages),
                    evidence=seen)
    elif not seen:
        yield skipped(subject, "{name} shows neither errors nor temperature", name=name)
    else:
        yield passed(subject, "{name} reports no uncorrected errors and is not too hot", name=name, evidence=seen)


def _higher(first: int | Unavailable, second: int | Unavailable) -> int | Unavailable:
    counts = [count for count in (first, second) if isinstance(count, int)]
    return max(counts) if counts else first


def _evidence(gpu: AmdGpu, told: AmdSmiGpu | None) -> tuple[Evidence, ...]:
    from_tool = () if told is None else (
        ("hot spot, degrees Celsius", told.hotspot_celsius, "amd-smi"),
        ("memory, degrees Celsius", told.memory_celsius, "amd-smi"),
        ("PCIe replays", told.pcie_replays, "amd-smi"),
        ("throttled", told.throttled, "amd-smi"),
    )
    figures = (
        ("uncorrected errors", gpu.ras_uncorrected, "ras/*_err_count"),
        ("corrected errors", gpu.ras_corrected, "ras/*_err_count"),
        ("bad pages", gpu.bad_pages, "ras/gpu_vram_bad_pages"),
        ("temperature, degrees Celsius", gpu.temperature_celsius, "hwmon"),
        ("critical temperature, degrees Celsius", gpu.critical_celsius, "hwmon"),
        *from_tool,
    )
    return tuple(saw(what, value, where) for what, value, where in figures if isinstance(value, int | float))


def _errors(
    gpu: AmdGpu, subject: str, name: str, seen: tuple[Evidence, ...], policy: Policy
) -> Finding | None:
    wrong, right = known(gpu.ras_uncorrected) or 0, known(gpu.ras_corrected) or 0
    if wrong:
        return failed(subject, "{name} counted {errors} uncorrected memory errors", name=name, errors=wrong,
                      evidence=seen, fix=_reset())
    if right >= policy["amd_corrected_errors"]:
        return warned(subject, "{name} counted {errors} corrected memory errors", name=name, errors=right,
                      evidence=seen, fix=step("Watch it; plan a test with the ROCm Validation Suite."))
    return None


def _reset() -> tuple[Step, ...]:
    return (
        step("Stop what uses the GPU, then reboot: the counters start at zero.", "sudo systemctl reboot",
             risk="stops everything on this machine"),
        step("If errors come back, have the GPU replaced."),
    )


def _heat(
    gpu: AmdGpu, subject: str, name: str, seen: tuple[Evidence, ...], policy: Policy
) -> Finding | None:
    now, limit = known(gpu.temperature_celsius), known(gpu.critical_celsius)
    if now is None or limit is None or limit <= 0:
        return None
    if now >= limit:
        return failed(subject, "{name} is at {now:.0f} degrees Celsius, its limit is {limit:.0f}", name=name, now=now,
                      limit=limit, evidence=seen, fix=step("Check airflow, fans and the room's cooling."))
    if limit - now <= policy["thermal_margin_warn_celsius"]:
        return noted(subject, "{name} is at {now:.0f} degrees Celsius, {left:.0f} below its limit", name=name, now=now,
                     left=limit - now, evidence=seen, fix=step("If it is idle, check airflow, fans and the room."))
    return None
