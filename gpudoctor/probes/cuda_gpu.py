"""One child of the deep probe: a bounded test of one GPU."""

import ctypes
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.cuda import CudaGpu
from gpudoctor.probes.cuda_driver import CudaError, Driver, die_with, show_only
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("cuda",)
OPTIONS = ("parent", "index", "uuid")

#: Two such buffers on the GPU and two in host memory: far below what a context itself takes.
BUFFER_BYTES = 32 << 20
#: Each direction copies for this long, or this much, whichever comes first.
COPY_SECONDS, COPY_BYTES = 0.4, 4 << 30
#: The link needs some time under load to leave its power-saving speed.
_WARM_UP_SECONDS = 0.1


def probe(out: Reporter, root: Root, parent: int, index: int, uuid: str) -> None:
    """Send one ``CudaGpu``."""
    die_with(parent)
    show_only(uuid)
    item = f"GPU {index}"
    if out.left_out(item):
        return
    gpu = CudaGpu(index=index, uuid=uuid)
    tell(out, item, gpu)
    try:
        driver = Driver(out, item)
        driver.call("cuInit", 0)
        gpu = msgspec.structs.replace(gpu, device_count=driver.number("cuDeviceGetCount"))
        tell(out, item, gpu)
        gpu = exercise(driver, gpu)
    except CudaError as error:
        gpu = msgspec.structs.replace(gpu, step=error.step, code=error.code, error=str(error))
    tell(out, item, gpu)
    out.append("cuda", "gpus", gpu)


def tell(out: Reporter, item: str, gpu: CudaGpu) -> None:
    """Tell the parent what is known so far."""
    out.start(item, section="cuda", field="gpus", placeholder=gpu)


def wrong_bytes(got: bytes, expected: bytes) -> int:
    """Count the bytes that differ."""
    if got == expected:
        return 0
    difference = int.from_bytes(got, "little") ^ int.from_bytes(expected, "little")
    return len(expected) - difference.to_bytes(len(expected), "little").count(0)


def exercise(driver: Driver, gpu: CudaGpu) -> CudaGpu:
    """Set memory and read it, write a pattern, copy it on the GPU, read it back; then measure copies."""
    device = driver.number("cuDeviceGet", 0)
    context = driver.handle("cuDevicePrimaryCtxRetain", device)
    driver.call("cuCtxSetCurrent", context)
    first, second = (driver.handle("cuMemAlloc_v2", BUFFER_BYTES) for _ in range(2))
    pinned = driver.handle("cuMemAllocHost_v2", BUFFER_BYTES)

    driver.call("cuMemsetD8_v2", first, 0xA5, BUFFER_BYTES)
    driver.call("cuMemcpyDtoH_v2", pinned, first, BUFFER_BYTES)
    wrong = wrong_bytes(ctypes.string_at(pinned, BUFFER_BYTES), b"\xa5" * BUFFER_BYTES)

    pattern = random.Random(gpu.index).randbytes(BUFFER_BYTES)
    ctypes.memmove(pinned, pattern, BUFFER_BYTES)
    driver.call("cuMemcpyHtoD_v2", first, pinned, BUFFER_BYTES)
    driver.call("cuMemcpyDtoD_v2", second, first, BUFFER_BYTES)
    driver.call("cuCtxSynchronize")
    ctypes.memset(pinned, 0, BUFFER_BYTES)
    driver.call("cuMemcpyDtoH_v2", pinned, second, BUFFER_BYTES)
    wrong += wrong_bytes(ctypes.string_at(pinned, BUFFER_BYTES), pattern)
    gpu = msgspec.structs.replace(gpu, copied_bytes=2 * BUFFER_BYTES, mismatches=wrong, ok=wrong == 0)

    link = _link_reader(driver, gpu.uuid)
    up, generation, width = measure(lambda: driver.call("cuMemcpyHtoD_v2", first, pinned, BUFFER_BYTES), link)
    down, generation_down, width_down = measure(
        lambda: driver.call("cuMemcpyDtoH_v2", pinned, first, BUFFER_BYTES), link
    )
    return msgspec.structs.replace(
        gpu,
        host_to_device_bytes_per_second=up,
        device_to_host_bytes_per_second=down,
        loaded_generation=_most(generation, generation_down),
        loaded_width=_most(width, width_down),
    )


Figure = int | Unavailable


def _most(first: Figure, second: Figure) -> Figure:
    """Return the better of two readings: the link only slows down when it rests."""
    if isinstance(first, Unavailable):
        return second
    return first if isinstance(second, Unavailable) else max(first, second)


def measure(copy: Callable[[], None], link: Callable[[], tuple[Figure, Figure]]) -> tuple[float, Figure, Figure]:
    """Copy for a bounded time; return the best rate of any copy and the link as it was between copies."""
    best, done = 0.0, 0
    generation: Figure = Unavailable("not read under the copy")
    width = generation
    started = time.perf_counter()
    seen = False
    while done < COPY_BYTES and (spent := time.perf_counter() - started) < COPY_SECONDS:
        before = time.perf_counter()
        copy()
        best = max(best, BUFFER_BYTES / max(time.perf_counter() - before, 1e-9))
        done += BUFFER_BYTES
        if not seen and spent > _WARM_UP_SECONDS:
            generation, width = link()
            seen = True
    if not seen:
        generation, width = link()
    return best, generation, width


def _link_reader(driver: Driver, uuid: str | None) -> Callable[[], tuple[Figure, Figure]]:
    """Prepare NVML beforehand, so that reading the link takes no time from the copies. It may be missing."""
    driver.out.start(driver.item, doing="nvmlInit")
    try:
        import pynvml

        pynvml.nvmlInit()
        handle: Any = pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except Exception as error:
        gap = Unavailable(f"NVML: {error}", "error")
        return lambda: (gap, gap)

    def read(call: Callable[[Any], int]) -> Figure:
        driver.out.start(driver.item, doing=call.__name__)
        try:
            return call(handle)
        except Exception as error:
            return Unavailable(f"{call.__name__}: {error}", "error")

    return lambda: (read(pynvml.nvmlDeviceGetCurrPcieLinkGeneration), read(pynvml.nvmlDeviceGetCurrPcieLinkWidth))
