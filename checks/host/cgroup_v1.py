"""The machine uses version 1 of control groups, which systemd and Kubernetes leave behind.

## Why it matters
systemd 256 and newer refuses to start on version 1 by default, and 258 has dropped it, so the next upgrade of the
distribution changes how containers get their GPUs. Limits read in a container may be wrong meanwhile. "Hybrid" means
that version 1 still does the work.

## How to fix
Boot with version 2, at a quiet time: container engines have to be restarted with it.

## References
- https://docs.kernel.org/admin-guide/cgroup-v2.html
- https://github.com/systemd/systemd/blob/main/NEWS
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, need, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.judging.remedies import fitting

SOURCE = "/sys/fs/cgroup"


@check(gatekeeper_of="host")
def cgroup_v1(host: Host | Unavailable) -> Iterator[Finding]:
    """Judge the version in use."""
    if isinstance(host, Unavailable):
        said = skipped if host.harmless else unknown
        yield said("host", "the system itself could not be read: {reason}", reason=host.reason)
        return
    version = need(host.cgroup_version)
    seen = saw("control groups", version, SOURCE)
    if version == "2":
        yield passed("host", "control groups are version 2", evidence=seen)
    elif host.container is not None or host.wsl:
        yield skipped("host", "control groups are the host's matter", evidence=seen)
    else:
        yield warned("host", "control groups are version {version}; systemd no longer supports version 1",
                     version=version, evidence=seen, fix=_boot_with_two(host))


def _boot_with_two(host: Host) -> tuple[Step, ...]:
    option = "systemd.unified_cgroup_hierarchy=1"
    risk = "takes effect at the next boot; containers are restarted"
    return fitting(
        host,
        debian=step("Add {option} to GRUB_CMDLINE_LINUX in /etc/default/grub, then reboot.", "sudo update-grub",
                    risk=risk, option=option),
        rhel=step("Set it for all kernels, then reboot.", "sudo grubby --update-kernel=ALL --args={option}",
                  risk=risk, option=option),
        nixos=step("Remove systemd.enableUnifiedCgroupHierarchy = false from the configuration, then rebuild.",
                   "sudo nixos-rebuild boot", risk=risk),
        other=step("Boot with {option} on the kernel's command line.", risk=risk, option=option),
    )
