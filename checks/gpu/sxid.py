"""An NVSwitch wrote SXid errors to the kernel log.

## Why it matters
NVSwitches connect the GPUs of an HGX or DGX board. A fatal error of a switch stops the NVLink traffic of one GPU or of
all, and jobs on several GPUs hang or end. Non-fatal errors are mostly corrected by the switch itself.

## How to fix
Fatal: reset all GPUs and switches together (a reboot does), then start the fabric manager. It returns: the board is a
case for the vendor.

## References
- https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/
- https://github.com/leptonai/gpud
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, noted, passed, saw, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.judging.remedies import reboot
from gpudoctor.matrices.xid import sxid as lookup

GUIDE = "https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/"


@check()
def sxid(kernel_log: KernelLog, host: Host | Unavailable) -> Iterator[Finding]:
    """Take the line's own word for its severity, else the table's."""
    events = kernel_log.of("sxid")
    for event in events:
        yield _judge(event, host)
    if not events:
        yield passed("host", "no error of an NVSwitch in the kernel log",
                     evidence=saw("source", kernel_log.source, "kernel log"))


def _judge(event: KernelEvent, host: Host | Unavailable) -> Finding:
    subject, address, code, count = "host", event.address, event.code or 0, event.count
    row = lookup(code)
    meaning = row.meaning if row is not None else "not in the table"
    fatal = event.fatal if event.fatal is not None else None if row is None else row.severity != "non-fatal"
    seen = (saw("line", event.text, "kernel log"), saw("times", count, "kernel log"),
            saw("NVIDIA's action", row.action if row is not None else None, "fabric manager guide"))
    if fatal and event.after_driver_load:
        return failed(
            subject, "NVSwitch {address}: fatal SXid {code} ({count}x): {meaning}", address=address, code=code,
            count=count, meaning=meaning, evidence=seen, links=(GUIDE,),
            fix=(reboot(host), step("Then see that the fabric manager runs.", "systemctl status nvidia-fabricmanager")),
        )
    if fatal:
        return warned(
            subject, "NVSwitch {address}: fatal SXid {code} ({count}x), before the driver was loaded anew: {meaning}",
            address=address, code=code, count=count, meaning=meaning, evidence=seen, links=(GUIDE,),
            fix=step("Nothing now; if it returns, the board is a case for the vendor."),
        )
    if fatal is None or (row is not None and row.action != "IGNORE"):
        return warned(
            subject, "NVSwitch {address}: SXid {code} ({count}x): {meaning}", address=address, code=code,
            count=count, meaning=meaning, evidence=seen, links=(GUIDE,),
            fix=step("Look the number up in the fabric manager guide; restart what hangs."),
        )
    return noted(subject, "NVSwitch {address}: non-fatal SXid {code} ({count}x): {meaning}", address=address,
                 code=code, count=count, meaning=meaning, evidence=seen, links=(GUIDE,))
