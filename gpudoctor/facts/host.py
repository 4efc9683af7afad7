"""The machine itself: operating system, kernel, user, memory, limits, clock, console."""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable


class Host(Section, frozen=True, kw_only=True):
    """The operating system and who asks.

    ``os_id`` and ``os_like`` are os-release's ``ID`` and ``ID_LIKE``. ``kernel_options`` holds only the
    options that checks judge (iommu, pci, nouveau). ``environment`` holds only allow-listed variables.
    ``cgroup_version`` is ``1``, ``2`` or ``hybrid`` (1 with 2 beside it for systemd alone).
    """

    hostname: str | Unavailable = NOT_RECORDED
    os_id: str = "linux"
    os_like: tuple[str, ...] = ()
    os_version: str = ""
    os_name: str = "Linux"
    kernel_release: str | Unavailable = NOT_RECORDED
    architecture: str | Unavailable = NOT_RECORDED
    boot_id: str | Unavailable = NOT_RECORDED
    uptime_seconds: float | Unavailable = NOT_RECORDED
    virtual_machine: bool | Unavailable = NOT_RECORDED
    container: str | None = None
    wsl: bool = False
    display_server: bool | Unavailable = NOT_RECORDED
    user_id: int | Unavailable = NOT_RECORDED
    user_name: str | Unavailable = NOT_RECORDED
    group_ids: tuple[int, ...] = ()
    cpu_model: str | Unavailable = NOT_RECORDED
    cpu_count: int | Unavailable = NOT_RECORDED
    numa_nodes: int | Unavailable = NOT_RECORDED
    cgroup_version: str | Unavailable = NOT_RECORDED
    kernel_options: dict[str, str] = {}
    environment: dict[str, str] = {}


class Memory(Section, frozen=True, kw_only=True):
    """Main memory and swap, in bytes. ``cgroup_limit_bytes`` is None where no limit applies."""

    total_bytes: int
    available_bytes: int
    swap_total_bytes: int = 0
    swap_free_bytes: int = 0
    cgroup_limit_bytes: int | None = None
    cgroup_used_bytes: int | None = None


class Limits(Section, frozen=True, kw_only=True):
    """Resource limits of this process; None means unlimited. ``shm_bytes`` is the size of ``/dev/shm``."""

    memlock_soft_bytes: int | None
    memlock_hard_bytes: int | None
    open_files_soft: int | None
    open_files_hard: int | None
    shm_bytes: int | Unavailable = NOT_RECORDED
    pids_max: int | None = None


class Clock(Section, frozen=True, kw_only=True):
    """Whether the kernel holds its clock synchronised (adjtimex STA_UNSYNC clear), and the time zone."""

    synchronized: bool | Unavailable = NOT_RECORDED
    estimated_error_seconds: float | Unavailable = NOT_RECORDED
    time_zone: str | Unavailable = NOT_RECORDED


class Locale(Section, frozen=True, kw_only=True):
    """The user's console: the variable that decides the encoding and what it says."""

    variable: str
    value: str
    encoding: str
    system_default: str | Unavailable = NOT_RECORDED


class Unit(Item, frozen=True, kw_only=True):
    """One systemd unit: ``load`` is ``loaded``/``not-found``, ``active`` and ``enabled`` as systemctl says."""

    name: str
    load: str
    active: str
    enabled: str = ""


class Services(Section, frozen=True, kw_only=True):
    """The systemd units that GPU servers depend on, by name."""

    units: Annotated[tuple[Unit, ...], Meta(max_length=256)] = ()

    def unit(self, name: str) -> Unit | None:
        """Return the unit of this name, None when systemd does not know it."""
        found = (u for u in self.units if u.name == name and u.load != "not-found")
        return next(found, None)
