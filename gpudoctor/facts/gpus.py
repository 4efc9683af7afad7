"""NVIDIA GPUs as NVML reports them."""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Part, Section, Unavailable

Int = int | Unavailable
Float = float | Unavailable
Text = str | Unavailable
Flag = bool | Unavailable


class EccCounts(Item, frozen=True, kw_only=True):
    """Error counts; SRAM and DRAM apart where the driver splits them."""

    corrected: Int = NOT_RECORDED
    uncorrected: Int = NOT_RECORDED
    sram_corrected: Int = NOT_RECORDED
    sram_uncorrected: Int = NOT_RECORDED
    dram_corrected: Int = NOT_RECORDED
    dram_uncorrected: Int = NOT_RECORDED


class Ecc(Part, frozen=True, kw_only=True):
    """ECC mode and counters: volatile since the driver loaded, aggregate over the card's life."""

    enabled: Flag = NOT_RECORDED
    pending: Flag = NOT_RECORDED
    volatile: EccCounts = EccCounts()
    aggregate: EccCounts = EccCounts()
    sram_threshold_exceeded: Flag = NOT_RECORDED


class RowRemapping(Part, frozen=True, kw_only=True):
    """Row remapper of Ampere and newer. ``banks_exhausted`` counts banks with no spare row left."""

    corrected: int
    uncorrected: int
    pending: bool
    failed: bool
    banks_exhausted: Int = NOT_RECORDED


class RetiredPages(Part, frozen=True, kw_only=True):
    """Page retirement of GPUs before Ampere, by cause."""

    single_bit: Int = NOT_RECORDED
    double_bit: Int = NOT_RECORDED
    pending: Flag = NOT_RECORDED


class PcieLink(Item, frozen=True, kw_only=True):
    """PCIe generation and width: now, the maximum of card and system, and of the card alone."""

    generation: Int = NOT_RECORDED
    width: Int = NOT_RECORDED
    max_generation: Int = NOT_RECORDED
    max_width: Int = NOT_RECORDED
    card_max_generation: Int = NOT_RECORDED
    card_max_width: Int = NOT_RECORDED
    replays: Int = NOT_RECORDED
    replays_later: Int = NOT_RECORDED
    replay_interval_seconds: float = 0.0


class NvLink(Item, frozen=True, kw_only=True):
    """One NVLink lane. ``remote`` is the peer's PCI address where known; error counters are totals."""

    link: int
    active: bool
    remote: str | None = None
    remote_type: str | None = None
    replay_errors: Int = NOT_RECORDED
    recovery_errors: Int = NOT_RECORDED
    crc_errors: Int = NOT_RECORDED
    crc_errors_later: Int = NOT_RECORDED
    interval_seconds: float = 0.0


class Fabric(Part, frozen=True, kw_only=True):
    """NVLink fabric registration as NVML's numbers: state 0 not supported, 1 not started, 2 in progress,
    3 completed; result 0 = success.
    """

    state: int
    result: int
    health_mask: Int = NOT_RECORDED


class Mig(Part, frozen=True, kw_only=True):
    """MIG mode now and after the next reset; ``instances`` counts GPU instances."""

    enabled: bool
    pending: bool
    instances: Int = NOT_RECORDED


class GpuProcess(Item, frozen=True, kw_only=True):
    """One process on a GPU. ``kind`` is ``compute`` or ``graphics``; memory None where the driver hides it."""

    pid: int
    kind: str
    used_bytes: int | None
    name: str | None = None
    user: str | None = None
    started_seconds_ago: float | None = None
    container: str | None = None


class Peer(Item, frozen=True, kw_only=True):
    """What lies between two GPUs. ``common_ancestor`` is NVML's topology level (0 same board … 50 system).

    ``nvlinks`` joins them directly or through switches, by the topology table of nvidia-smi.
    """

    index: int
    common_ancestor: Int = NOT_RECORDED
    p2p_read: Text = NOT_RECORDED
    nvlinks: Int = NOT_RECORDED


class Gpu(Item, frozen=True, kw_only=True):
    """One physical GPU.

    ``failure`` is set when it did not answer: the rest is then what was read before. ``failure_code`` is
    NVML's return code (15 lost, 16 reset required, 999 unknown), None for a hang or crash.
    Temperatures in degrees Celsius, power in watts, clocks in MHz. ``clock_event_samples`` holds the
    throttle-reason mask of several samples, oldest first; the slowdown seconds are totals since the driver loaded.
    """

    index: int
    failure: str | None = None
    failure_code: int | None = None
    name: Text = NOT_RECORDED
    uuid: Text = NOT_RECORDED
    serial: Text = NOT_RECORDED
    pci_address: Text = NOT_RECORDED
    pci_device: Text = NOT_RECORDED
    minor: Int = NOT_RECORDED
    vbios: Text = NOT_RECORDED
    compute_capability: tuple[int, int] | Unavailable = NOT_RECORDED
    architecture: Text = NOT_RECORDED
    memory_total_bytes: Int = NOT_RECORDED
    memory_free_bytes: Int = NOT_RECORDED
    memory_used_bytes: Int = NOT_RECORDED
    memory_reserved_bytes: Int = NOT_RECORDED
    bar1_total_bytes: Int = NOT_RECORDED
    bar1_used_bytes: Int = NOT_RECORDED
    ecc: Ecc | Unavailable = NOT_RECORDED
    row_remapping: RowRemapping | Unavailable = NOT_RECORDED
    retired_pages: RetiredPages | Unavailable = NOT_RECORDED
    recovery_action: Int = NOT_RECORDED
    channel_repair_pending: Flag = NOT_RECORDED
    tpc_repair_pending: Flag = NOT_RECORDED
    inforom_valid: Flag = NOT_RECORDED
    temperature_celsius: Int = NOT_RECORDED
    slowdown_celsius: Int = NOT_RECORDED
    shutdown_celsius: Int = NOT_RECORDED
    thermal_margin_celsius: Int = NOT_RECORDED
    memory_temperature_celsius: Int = NOT_RECORDED
    memory_max_celsius: Int = NOT_RECORDED
    fan_percent: Int = NOT_RECORDED
    clock_event_samples: tuple[int, ...] | Unavailable = NOT_RECORDED
    thermal_slowdown_seconds: Float = NOT_RECORDED
    power_slowdown_seconds: Float = NOT_RECORDED
    performance_state: Int = NOT_RECORDED
    utilization_percent: Int = NOT_RECORDED
    sm_clock_mhz: Int = NOT_RECORDED
    max_sm_clock_mhz: Int = NOT_RECORDED
    power_watts: Float = NOT_RECORDED
    power_limit_watts: Float = NOT_RECORDED
    power_enforced_watts: Float = NOT_RECORDED
    power_default_watts: Float = NOT_RECORDED
    power_max_watts: Float = NOT_RECORDED
    pcie: PcieLink = PcieLink()
    nvlinks: tuple[NvLink, ...] | Unavailable = NOT_RECORDED
    fabric: Fabric | Unavailable = NOT_RECORDED
    mig: Mig | Unavailable = NOT_RECORDED
    compute_mode: Text = NOT_RECORDED
    persistence: Flag = NOT_RECORDED
    display_active: Flag = NOT_RECORDED
    numa_node: Int = NOT_RECORDED
    processes: tuple[GpuProcess, ...] | Unavailable = NOT_RECORDED
    peers: tuple[Peer, ...] = ()

    @property
    def subject(self) -> str:
        """How findings name it: ``gpu:0``."""
        return f"gpu:{self.index}"

    @property
    def label(self) -> str:
        """Its name for people, or "GPU" when it never told."""
        return self.name if isinstance(self.name, str) else "GPU"


class Gpus(Section, frozen=True, kw_only=True):
    """NVML's answer. ``error_code`` is the code with which ``nvmlInit`` failed; the rest is then empty.

    ``cuda_version`` is the newest CUDA that the driver implements, as NVML's number (12020 = 12.2): no
    installed toolkit.
    """

    driver_version: Text = NOT_RECORDED
    cuda_version: Int = NOT_RECORDED
    nvml_version: Text = NOT_RECORDED
    library_path: Text = NOT_RECORDED
    error_code: int | None = None
    error: str | None = None
    count: Int = NOT_RECORDED
    gpus: Annotated[tuple[Gpu, ...], Meta(max_length=1024)] = ()

    @property
    def answering(self) -> tuple[Gpu, ...]:
        """The GPUs that answered."""
        return tuple(g for g in self.gpus if g.failure is None)
