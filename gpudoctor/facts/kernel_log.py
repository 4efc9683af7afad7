"""What the kernel said about GPUs, memory and modules."""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import Item, Section

EventKind = Literal[
    "xid",
    "sxid",
    "fell-off-bus",
    "rm-init-failed",
    "api-mismatch",
    "module-rejected",
    "gpu-unsupported",
    "driver-loaded",
    "gpu-reset",
    "oom-kill",
    "pcie-error",
    "bar-unassigned",
    "amdgpu-error",
    "iommu-fault",
]


class KernelEvent(Item, frozen=True, kw_only=True):
    """One kind of message, with how often it came.

    ``boot`` counts back from the present boot (0, -1, …). ``seconds_ago`` is that of the last one, None when
    the log has no clock. ``address`` is the PCI address without function (``0000:1a:00``). ``code`` is the
    Xid or SXid number. ``fatal`` is what the line itself says, None when it says neither. ``after_driver_load`` is
    False when the driver was loaded anew, or that GPU reset, later in the same boot. ``cgroup`` is that of a process
    that the kernel killed.
    """

    kind: EventKind
    text: str
    boot: int = 0
    count: int = 1
    seconds_ago: float | None = None
    address: str | None = None
    code: int | None = None
    fatal: bool | None = None
    process: str | None = None
    pid: int | None = None
    cgroup: str | None = None
    after_driver_load: bool = True


class KernelLog(Section, frozen=True, kw_only=True):
    """Events of the kernel log. ``source`` is ``journal``, ``kmsg`` or a path; ``from_boot``: nothing is missing
    since boot; ``boots`` counts the boots that were read.
    """

    source: str
    from_boot: bool
    boots: int = 1
    events: Annotated[tuple[KernelEvent, ...], Meta(max_length=10_000)] = ()

    def of(self, *kinds: EventKind, boot: int | None = 0) -> tuple[KernelEvent, ...]:
        """Events of these kinds in one boot (0 = this one), or in all with ``boot=None``."""
        return tuple(e for e in self.events if e.kind in kinds and (boot is None or e.boot == boot))
