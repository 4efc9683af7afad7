"""The kernel does not hold its clock as synchronised.

## Why it matters
With a clock that is minutes off, TLS certificates and tokens are refused (downloads from a hub fail with errors that
speak of anything but time), and logs of several machines cannot be put in order. `STA_UNSYNC` of adjtimex(2) is what
NTP daemons clear; chrony does so only with `rtcsync` in its configuration, which distributions ship.

Under WSL Windows keeps the clock, so nothing is judged there.

## How to fix
Switch on one time service.

## References
- https://man7.org/linux/man-pages/man2/adjtimex.2.html
- https://chrony-project.org/doc/4.6/chrony.conf.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, need, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Clock, Host
from gpudoctor.judging.remedies import fitting

SOURCE = "adjtimex"


@check(gatekeeper_of="clock")
def clock_unsynced(clock: Clock | Unavailable, host: Host | Unavailable) -> Iterator[Finding]:
    """Take the kernel's word for it."""
    if isinstance(clock, Unavailable):
        said = skipped if clock.harmless else unknown
        yield said("host", "the clock's state could not be read: {reason}", reason=clock.reason)
        return
    if isinstance(host, Host) and host.wsl:
        yield skipped("host", "under WSL Windows keeps the clock")
        return
    synchronized = need(clock.synchronized)
    seen = (
        saw("synchronised", synchronized, SOURCE),
        saw("estimated error, seconds", known(clock.estimated_error_seconds), SOURCE),
        saw("time zone", known(clock.time_zone), "/etc/localtime"),
    )
    if synchronized:
        yield passed("host", "the clock is synchronised", evidence=seen)
    else:
        yield warned("host", "the kernel's clock is not synchronised with any time source", evidence=seen,
                     fix=_time_service(host))


def _time_service(host: Host | Unavailable) -> tuple[Step, ...]:
    if isinstance(host, Host) and host.container is not None:
        return (step("A container has its host's clock: switch on a time service there."),)
    return fitting(
        host,
        debian=step("Install and start one.", "sudo apt install chrony && sudo systemctl enable --now chrony"),
        rhel=step("Install and start one.", "sudo dnf install chrony && sudo systemctl enable --now chronyd"),
        nixos=step("Set services.timesyncd.enable = true; then rebuild.", "sudo nixos-rebuild switch"),
        other=step("Start one time service (chrony, systemd-timesyncd or ntpd)."),
    )
