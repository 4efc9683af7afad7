"""A disk reports that it is failing, or has worn out.

## Why it matters
A model store on a failing disk reads wrong or not at all, in the middle of a load. The drive's own verdict comes days
to weeks before that. The rule: any NVMe critical-warning bit or a SMART verdict of "failing" is a failure, except the
temperature bit alone, which is a warning; wear at or above the rated life is a warning.

## How to fix
Copy what cannot be downloaded again, then replace the disk.

## References
- https://nvmexpress.org/specifications/
- https://www.smartmontools.org/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, known, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.storage import Disk, DiskHealth

SOURCE = "SMART / NVMe health log"
_HOT = 0x02
#: Critical Warning of the NVMe SMART / Health Information log, bit by bit.
_BITS = {
    0x01: "spare capacity is low",
    0x02: "too hot or too cold",
    0x04: "reliability degraded by media errors",
    0x08: "media turned read-only",
    0x10: "volatile memory backup failed",
    0x20: "persistent memory region unreliable",
}


@check(gatekeeper_of="disk_health")
def disk_failing(disk_health: DiskHealth | Unavailable, policy: Policy) -> Iterator[Finding]:
    """Judge each disk by its own verdict."""
    if isinstance(disk_health, Unavailable):
        if disk_health.harmless:
            yield skipped("host", "the health of the disks was not read: {reason}", reason=disk_health.reason)
        else:
            yield unknown(
                "host",
                "the health of the disks could not be read: {reason}",
                reason=disk_health.reason,
                fix=step("Ask as root.", "sudo gpudoctor check --only host.disk-failing"),
            )
        return
    for disk in disk_health.disks:
        yield _judge(disk, policy)
    if not disk_health.disks:
        yield skipped("host", "no disk of its own is visible here")


def _judge(disk: Disk, policy: Policy) -> Finding:
    subject, name = f"disk:{disk.name}", f"{disk.name} {disk.model}".strip()
    if disk.failure is not None:
        return unknown(subject, "{name} did not answer: {failure}", name=name, failure=disk.failure)
    warning, verdict, used = known(disk.critical_warning), known(disk.smart_passed), known(disk.percentage_used)
    seen = (
        saw("critical warning", warning, SOURCE),
        saw("drive's own verdict passed", verdict, SOURCE),
        saw("rated life used, percent", used, SOURCE),
    )
    if (warning or 0) & ~_HOT or verdict is False:
        return failed(
            subject,
            "{name} says it is failing: {reasons}",
            name=name,
           
            reasons=_reasons(warning or 0) or ("SMART verdict",),
            evidence=seen,
            fix=(
                step("Copy what cannot be downloaded again, then replace the disk."),
                step("See the whole record.", "sudo smartctl -a {device}", device=f"/dev/{disk.name}"),
            ),
        )
    if warning:
        return warned(subject, "{name} is outside its temperature limits", name=name,
                      evidence=seen, fix=step("Give the drive air or a heat sink; it slows down, then fails."))
    if used is not None and used >= policy["disk_wear_percent"]:
        return warned(subject, "{name} has used {used} % of its rated life", name=name,
                      used=used, evidence=seen, fix=step("Plan its replacement, and keep copies elsewhere."))
    if warning is None and verdict is None:
        return _not_told(subject, disk)
    return passed(subject, "{name} says it is well", name=name, evidence=seen)


def _not_told(subject: str, disk: Disk) -> Finding:
    gaps = [value for value in (disk.smart_passed, disk.critical_warning) if isinstance(value, Unavailable)]
    said = skipped if all(gap.harmless for gap in gaps) else unknown
    return said(subject, "{name} gave no verdict: {reason}", name=disk.name, reason=gaps[0].reason if gaps else "")


def _reasons(warning: int) -> tuple[str, ...]:
    return tuple(text for bit, text in _BITS.items() if warning & bit)
