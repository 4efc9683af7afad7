"""The machine has NVSwitches and no running fabric manager.

## Why it matters
On HGX and DGX boards the fabric manager sets up the NVSwitches. Without it each GPU looks healthy alone, and every CUDA
program fails at start with error 802, "system not yet initialized". PCIe cards, NVLink bridges, GH200 and GB10 need
none.

## How to fix
Install exactly the driver's version of the fabric manager, then `sudo systemctl enable --now nvidia-fabricmanager`.

## References
- https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/
- https://github.com/pytorch/pytorch/issues/35710
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, Target, check, failed, known, noted, passed, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host, Services
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.remedies import fitting

UNIT = "nvidia-fabricmanager.service"
COMPLETED, SUCCESS = 3, 0


@check()
def fabric_manager_missing(
    pci: Pci | Unavailable,
    gpus: Gpus | Unavailable,
    services: Services | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Ask the GPUs first, then the bus for NVSwitches, then the service."""
    states = _states(gpus)
    switches = len(pci.nvswitches) if isinstance(pci, Pci) else 0
    unit = services.unit(UNIT) if isinstance(services, Services) else None
    seen = (saw("NVSwitches on the PCI bus", switches, "/sys/bus/pci/devices"),
            saw("fabric states of the GPUs", states, "nvmlDeviceGetGpuFabricInfoV"),
            saw(UNIT, unit.active if unit is not None else None, "systemctl show"))
    if not switches:
        yield skipped("host", "there is no NVSwitch here, so no fabric manager is needed", evidence=seen)
    elif unit is not None and unit.active == "active":
        yield passed("host", "the fabric manager runs", evidence=seen)
    elif states and all(state == COMPLETED for state in states):
        yield passed("host", "the GPUs are registered with the NVLink fabric", evidence=seen)
    elif isinstance(services, Unavailable):
        yield unknown("host", "whether the fabric manager of {switches} NVSwitches runs is not known: {reason}",
                      switches=switches, reason=services.reason, evidence=seen)
    elif unit is not None:
        yield failed(
            "host", "the machine has {switches} NVSwitches and the fabric manager is {state}",
            switches=switches, state=unit.active, evidence=seen,
            fix=(step("See why it does not run.", "journalctl -b -u nvidia-fabricmanager --no-pager -n 50"),
                 step("Start it, now and at boot.", "sudo systemctl enable --now nvidia-fabricmanager")),
        )
    elif target.installing:
        yield noted("host", "the machine has {switches} NVSwitches: install the fabric manager with the driver",
                    switches=switches, evidence=seen, fix=_install(host, gpus))
    else:
        yield failed("host", "the machine has {switches} NVSwitches and no fabric manager is installed",
                     switches=switches, evidence=seen, fix=_install(host, gpus))


def _states(gpus: Gpus | Unavailable) -> tuple[int, ...]:
    found = [gpu.fabric for gpu in gpus.answering] if isinstance(gpus, Gpus) else []
    return tuple(fabric.state if fabric.result == SUCCESS else -1 for fabric in found
                 if not isinstance(fabric, Unavailable) and fabric.state != 0)


def _install(host: Host | Unavailable, gpus: Gpus | Unavailable) -> tuple[Step, ...]:
    version = known(gpus.driver_version) if isinstance(gpus, Gpus) else None
    branch = (version or "BRANCH").partition(".")[0]
    return (
        *fitting(
            host,
            debian=step("Install the fabric manager of the driver's version ({version}).",
                        "sudo apt install nvidia-fabricmanager-{branch}", version=version or "the driver's",
                        branch=branch),
            rhel=step("Install the fabric manager of the driver's version ({version}).",
                      "sudo dnf install 'nvidia-fabricmanager*{branch}*'", version=version or "the driver's",
                      branch=branch),
            nixos=step("Set hardware.nvidia.datacenter.enable = true, then rebuild.", "sudo nixos-rebuild switch"),
            other=step("Install the fabric manager of exactly the driver's version ({version}).",
                       version=version or "the driver's"),
        ),
        step("Start it, now and at boot.", "sudo systemctl enable --now nvidia-fabricmanager"),
    )
