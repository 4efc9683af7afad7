"""One child of the deep probe: a result-checked exchange between two GPUs, and the same through host memory."""

import ctypes
import random

import msgspec

from gpudoctor.facts.cuda import P2pPair
from gpudoctor.probes.cuda_driver import CudaError, Driver, die_with, show_only
from gpudoctor.probes.cuda_gpu import wrong_bytes
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("cuda",)
OPTIONS = ("parent", "first", "second", "uuids")

#: A message that fits one packet, and one that keeps the path busy.
SIZES = (4, 16 << 20)
_ALREADY_ENABLED = 704


def probe(out: Reporter, root: Root, parent: int, first: int, second: int, uuids: list[str]) -> None:
    """Send one ``P2pPair``."""
    die_with(parent)
    show_only(*uuids)
    item = f"GPUs {first} and {second}"
    if out.left_out(item):
        return
    pair = P2pPair(first=first, second=second)
    exchange = Exchange(out, item, pair)
    exchange.tell()
    try:
        exchange.run()
    except CudaError as error:
        reason = f"{error.step}: {error}" + ("" if error.code is None else f" (CUDA code {error.code})")
        exchange.now(ok=False if exchange.pair.supported else None, failure=reason)
    exchange.tell()
    out.append("cuda", "pairs", exchange.pair)


class Exchange:
    """The two arms: through host memory first, so that a fault of one GPU is not blamed on the path."""

    def __init__(self, out: Reporter, item: str, pair: P2pPair) -> None:
        self.out = out
        self.item = item
        self.pair = pair

    def tell(self) -> None:
        """Tell the parent what is known so far."""
        self.out.start(self.item, section="cuda", field="pairs", placeholder=self.pair)

    def now(self, **fields: object) -> None:
        """Note what was just learnt."""
        self.pair = msgspec.structs.replace(self.pair, **fields)
        self.tell()

    def run(self) -> None:
        """Both arms, both directions.

        Raises:
            CudaError: A call failed.
        """
        self.driver = driver = Driver(self.out, self.item)
        driver.call("cuInit", 0)
        devices = [driver.number("cuDeviceGet", ordinal) for ordinal in (0, 1)]
        reach = [driver.number("cuDeviceCanAccessPeer", *order) for order in (devices, devices[::-1])]
        self.now(supported=all(reach))
        self.contexts, self.buffers = [], []
        for device in devices:
            self.contexts.append(driver.handle("cuDevicePrimaryCtxRetain", device))
            driver.call("cuCtxSetCurrent", self.contexts[-1])
            self.buffers.append(driver.handle("cuMemAlloc_v2", max(SIZES)))
        self.host = ctypes.create_string_buffer(max(SIZES))
        self.now(control_ok=all(self.through_host(size, turn) == 0 for size in SIZES for turn in (0, 1)))
        if not self.pair.supported:
            return
        for turn in (0, 1):
            self.enter(turn)
            try:
                driver.call("cuCtxEnablePeerAccess", self.contexts[1 - turn], 0)
            except CudaError as error:
                if error.code != _ALREADY_ENABLED:
                    raise
        wrong = sum(self.directly(size, turn) for size in SIZES for turn in (0, 1))
        self.now(ok=wrong == 0, mismatches=wrong)

    def enter(self, turn: int) -> None:
        """Make one GPU's context the current one."""
        self.driver.call("cuCtxSetCurrent", self.contexts[turn])

    def prepare(self, size: int, turn: int) -> bytes:
        """Put a pattern on the sender, and something else on the receiver."""
        pattern = random.Random(size + turn).randbytes(size)
        ctypes.memmove(self.host, pattern, size)
        self.enter(1 - turn)
        self.driver.call("cuMemsetD8_v2", self.buffers[1 - turn], 0xEE, size)
        self.driver.call("cuCtxSynchronize")
        self.enter(turn)
        self.driver.call("cuMemcpyHtoD_v2", self.buffers[turn], self.host, size)
        return pattern

    def received(self, size: int, turn: int) -> bytes:
        """Read what the receiver has."""
        self.enter(1 - turn)
        self.driver.call("cuCtxSynchronize")
        ctypes.memset(self.host, 0, size)
        self.driver.call("cuMemcpyDtoH_v2", self.host, self.buffers[1 - turn], size)
        return self.host.raw[:size]

    def through_host(self, size: int, turn: int) -> int:
        """Send by way of host memory; return the number of wrong bytes."""
        pattern = self.prepare(size, turn)
        ctypes.memset(self.host, 0, size)
        self.driver.call("cuMemcpyDtoH_v2", self.host, self.buffers[turn], size)
        self.enter(1 - turn)
        self.driver.call("cuMemcpyHtoD_v2", self.buffers[1 - turn], self.host, size)
        return wrong_bytes(self.received(size, turn), pattern)

    def directly(self, size: int, turn: int) -> int:
        """Send from GPU to GPU; return the number of wrong bytes."""
        pattern = self.prepare(size, turn)
        self.driver.call(
            "cuMemcpyPeer", self.buffers[1 - turn], self.contexts[1 - turn], self.buffers[turn], self.contexts[turn],
            size,
        )
        self.driver.call("cuCtxSynchronize")
        return wrong_bytes(self.received(size, turn), pattern)
