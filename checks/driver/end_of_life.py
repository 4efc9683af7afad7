"""The driver's branch is past its end of life.

## Why it matters
NVIDIA ends each driver branch on a date; from then on it gets no security fixes, and distributions drop its packages.
Engines move their oldest supported driver up soon after.

## How to fix
Move to a branch that is maintained, a long-term one for servers, in a maintenance window.

## References
- https://docs.nvidia.com/datacenter/tesla/drivers/index.html
"""

import datetime
from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, known, noted, passed, saw, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.judging.presence import need_nvidia
from gpudoctor.judging.remedies import install_driver, reboot
from gpudoctor.matrices import cuda_driver
from gpudoctor.matrices import gpus as gpu_table


@check()
def end_of_life(
    driver: Driver, gpus: Gpus | Unavailable, pci: Pci | Unavailable, host: Host | Unavailable, policy: Policy
) -> Iterator[Finding]:
    """Compare today with the day that NVIDIA named for the branch."""
    devices = need_nvidia(pci)
    told = known(gpus.driver_version) if isinstance(gpus, Gpus) else None
    version = known(driver.loaded_version) or told
    if version is None:
        yield skipped("host", "no driver is loaded")
        return
    number = cuda_driver.branch_of(version)
    row = cuda_driver.branch(number) if number is not None else None
    if row is None:
        yield unknown("host", "the matrices do not know the branch of driver {version}", version=version,
                      evidence=saw("driver", version, "/sys/module/nvidia/version"))
        return
    ended = row.ended_on(datetime.date.fromisoformat(policy.today))
    last = row.eol.isoformat() if row.eol else None
    seen = (saw("driver", version, "/sys/module/nvidia/version"),
            saw("end of life of the branch", last or ("past" if row.ended else None), row.source),
            saw("kind of branch", row.kind, row.source))
    rows = [r for d in devices for r in gpu_table.by_pci_id(d.vendor, d.device)]
    limit = min((r.max_driver_branch for r in rows if r.max_driver_branch), default=None)
    if ended and limit is not None and row.branch >= limit:
        yield noted("host", "driver branch {branch} is past its end of life, and the last for a GPU here",
                    branch=row.branch, evidence=seen)
    elif ended:
        yield warned("host", "driver branch {branch} is past its end of life ({last})", branch=row.branch,
                     last=last or "date not recorded", evidence=seen,
                     fix=(*install_driver(host, open_modules=limit is None, branch=limit), reboot(host)))
    elif ended is None:
        yield noted("host", "no end of life is recorded for driver branch {branch}", branch=row.branch, evidence=seen)
    else:
        yield passed("host", "driver branch {branch} is maintained until {last}", branch=row.branch, last=last,
                     evidence=seen)
