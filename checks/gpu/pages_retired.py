"""Memory pages of this GPU are retired, or wait for it.

## Why it matters
GPUs before Ampere take bad memory pages out of use. A pending page is still in use until the driver loads again.
At about 60 pages the room for the list ends, and NVIDIA replaces the card.

## How to fix
Pending: reboot. Above 15: plan a replacement; at 63: replace.

## References
- https://docs.nvidia.com/deploy/dynamic-page-retirement/index.html
- https://github.com/NVIDIA/DCGM
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, known, need, passed, saw, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu
from gpudoctor.facts.host import Host
from gpudoctor.judging.remedies import reboot

SOURCE = "nvmlDeviceGetRetiredPages"


@check()
def pages_retired(gpu: Gpu, host: Host | Unavailable, policy: Policy) -> Iterator[Finding]:
    """Add up both causes; pending is judged below the limit of replacement."""
    retired = need(gpu.retired_pages)
    single, double = known(retired.single_bit), known(retired.double_bit)
    if single is None and double is None:
        need(retired.single_bit)
    pages = (single or 0) + (double or 0)
    pending = known(retired.pending)
    seen = (saw("pages retired (single-bit / double-bit)", f"{single or 0} / {double or 0}", SOURCE),
            saw("pages pending", pending, "nvmlDeviceGetRetiredPagesPendingStatus"))
    if pages >= policy["retired_pages_fail"]:
        yield failed(
            gpu.subject,
            "{name}: {pages} retired memory pages: a case for replacement",
            name=gpu.label,
            pages=pages,
            evidence=seen,
            fix=step("Collect what the vendor asks for.", "sudo nvidia-bug-report.sh"),
        )
    elif pending:
        yield warned(
            gpu.subject,
            "{name}: a bad memory page is still in use until the next reboot",
            name=gpu.label,
            evidence=seen,
            fix=reboot(host),
        )
    elif pages > policy["retired_pages_warn"]:
        yield warned(
            gpu.subject,
            "{name}: {pages} retired memory pages",
            name=gpu.label,
            pages=pages,
            evidence=seen,
            fix=step("Plan its replacement; until then it works."),
        )
    else:
        yield passed(gpu.subject, "few memory pages are retired and none is pending", evidence=seen)
