"""Fabric manager and driver are of different versions.

## Why it matters
The fabric manager refuses to run with any driver but its own version, down to the last digit. After an upgrade of only
one of the two, NVSwitch machines come up without NVLink and CUDA fails with error 802.

## How to fix
Install the version that equals the driver's, restart the service, and hold both packages together.

## References
- https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/
- https://github.com/NVIDIA/nvtrust/issues/55
"""

import re
from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, known, passed, saw, skipped, step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver, Packages
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.remedies import fitting

VERSION = re.compile(r"\d{3}\.\d{1,3}(?:\.\d{1,3})?")
NAMES = re.compile(r"nvidia-fabric-?manager(?:-\d+)?")


@check()
def fabric_manager_mismatch(
    pci: Pci, packages: Packages, driver: Driver | Unavailable, gpus: Gpus | Unavailable, host: Host | Unavailable
) -> Iterator[Finding]:
    """Compare the package with the driver that is loaded; without NVSwitch nobody needs it."""
    loaded = _loaded(driver, gpus)
    found = next((p for p in packages.installed if NAMES.fullmatch(p.name) and VERSION.search(p.version)), None)
    if not pci.nvswitches:
        yield skipped("host", "there is no NVSwitch here, so no fabric manager is needed")
        return
    if found is None or loaded is None:
        yield skipped("host", "no fabric manager package, or no driver, to compare")
        return
    match = VERSION.search(found.version)
    have = match.group() if match is not None else found.version
    seen = (saw(found.name, found.version, "package manager"), saw("driver", loaded, "/sys/module/nvidia/version"))
    if have == loaded:
        yield passed("host", "fabric manager and driver are both {version}", version=loaded, evidence=seen)
    else:
        yield failed(
            "host",
            "fabric manager {have} does not fit driver {loaded}: both must be the same",
            have=have, loaded=loaded, evidence=seen,
            fix=(
                *fitting(
                    host,
                    debian=step("See which version fits, and install it.", "apt list -a {package}", package=found.name),
                    rhel=step("See which version fits, and install it.", "dnf list --showduplicates {package}",
                              package=found.name),
                    other=step("Install fabric manager {loaded}."),
                ),
                step("Restart it.", "sudo systemctl restart nvidia-fabricmanager", risk="ends jobs that use NVLink"),
            ),
        )


def _loaded(driver: Driver | Unavailable, gpus: Gpus | Unavailable) -> str | None:
    if isinstance(driver, Driver) and isinstance(driver.loaded_version, str):
        return driver.loaded_version
    return known(gpus.driver_version) if isinstance(gpus, Gpus) else None
