"""What the CUDA driver API did when asked to work (``--deep`` only)."""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable


class CudaGpu(Item, frozen=True, kw_only=True):
    """One GPU under a bounded test. ``step`` names the call that failed, ``code`` its CUresult.

    Copy rates in bytes per second; the PCIe generation and width are those seen *under* the copy.
    """

    index: int
    uuid: str | None = None
    ok: bool = False
    step: str | None = None
    code: int | None = None
    error: str | None = None
    failure: str | None = None
    refused: str | None = None
    device_count: int | None = None
    copied_bytes: int = 0
    mismatches: int = 0
    host_to_device_bytes_per_second: float | Unavailable = NOT_RECORDED
    device_to_host_bytes_per_second: float | Unavailable = NOT_RECORDED
    loaded_generation: int | Unavailable = NOT_RECORDED
    loaded_width: int | Unavailable = NOT_RECORDED


class P2pPair(Item, frozen=True, kw_only=True):
    """A result-checked exchange between two GPUs; ``control_ok`` is the same exchange through host memory."""

    first: int
    second: int
    supported: bool | None = None
    ok: bool | None = None
    control_ok: bool | None = None
    mismatches: int = 0
    failure: str | None = None


class Cuda(Section, frozen=True, kw_only=True):
    """Results of the deep probe. ``init_code`` is what ``cuInit`` returned in a child without a GPU chosen."""

    init_code: int | Unavailable = NOT_RECORDED
    init_error: str | None = None
    driver_version: int | Unavailable = NOT_RECORDED
    gpus: Annotated[tuple[CudaGpu, ...], Meta(max_length=1024)] = ()
    pairs: Annotated[tuple[P2pPair, ...], Meta(max_length=4096)] = ()
