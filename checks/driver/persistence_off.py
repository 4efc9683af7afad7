"""Persistence mode is off on a server without desktop.

## Why it matters
Without persistence the driver gives a GPU up when its last user ends, and initialises it anew for the next one: seconds
of delay at every start, volatile error counters lost, settings such as power limits forgotten. It is a nuisance, not a
fault: nothing fails because of it. A desktop keeps its GPU open all the time.

## How to fix
`systemctl enable --now nvidia-persistenced`. Ubuntu starts that daemon with `--no-persistence-mode`; there
`nvidia-smi -pm 1` after each boot, or an override of the unit, turns it on.

## References
- https://docs.nvidia.com/deploy/driver-persistence/index.html
- https://github.com/NVIDIA/nvidia-persistenced
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, check, known, need, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host, Services
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import closed_gate, need_nvidia, need_own_system
from gpudoctor.judging.remedies import fitting

_UNIT = "nvidia-persistenced.service"


@check(gatekeeper_of="services")
def persistence_off(
    services: Services | Unavailable, gpus: Gpus | Unavailable, pci: Pci | Unavailable, host: Host | Unavailable
) -> Iterator[Finding]:
    """Warn on a server, note on a desktop, never fail."""
    if isinstance(services, Unavailable) and services.kind not in ("not-applicable", "not-asked"):
        yield closed_gate("systemd's units", services)
    need_nvidia(pci)
    need_own_system(host)
    section = need(gpus)
    if section.error_code is not None or not section.answering:
        yield skipped("host", "no GPU answers through NVML")
        return
    modes = {gpu.index: known(gpu.persistence) for gpu in section.answering}
    off = tuple(index for index, mode in modes.items() if mode is False)
    unit = services.unit(_UNIT) if isinstance(services, Services) else None
    desktop = (isinstance(host, Host) and known(host.display_server) is True) or any(
        known(gpu.display_active) is True for gpu in section.answering
    )
    seen = (
        saw("persistence mode", tuple(f"GPU {i}: {_word(mode)}" for i, mode in modes.items()),
            "nvmlDeviceGetPersistenceMode"),
        saw("nvidia-persistenced", unit.active if unit is not None else "not installed", "systemctl"),
        saw("desktop", desktop, "display manager, NVML"),
    )
    if all(mode is None for mode in modes.values()):
        yield skipped("host", "no GPU here knows persistence mode", evidence=seen)
    elif not off:
        yield passed("host", "persistence mode is on", evidence=seen)
    elif desktop:
        yield noted("host", "persistence mode is off on GPUs {off}, as is usual with a desktop", off=off,
                    evidence=seen)
    else:
        running = unit is not None and unit.active == "active"
        yield warned("host", "persistence mode is off on GPUs {off}: each start of a program initialises them anew",
                     off=off, evidence=seen, fix=_turn_on(host, daemon_runs=running))


def _word(mode: bool | None) -> str:
    return "not known" if mode is None else "on" if mode else "off"


def _turn_on(host: Host | Unavailable, *, daemon_runs: bool) -> tuple[Step, ...]:
    if daemon_runs:
        return (
            step("The daemon runs with --no-persistence-mode. Turn the mode on now.", "sudo nvidia-smi -pm 1"),
            step("To keep it, take that flag out of the unit.", "sudo systemctl edit --full nvidia-persistenced",
                 risk="restarts the daemon at the next boot"),
        )
    return fitting(
        host,
        nixos=step("Set hardware.nvidia.nvidiaPersistenced = true; then rebuild.", "sudo nixos-rebuild switch"),
        other=step("Start NVIDIA's persistence daemon now and at every boot.",
                   "sudo systemctl enable --now nvidia-persistenced"),
    )
