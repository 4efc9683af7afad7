"""What connects a GPU: PCIe, NVLink, the NVSwitch fabric, and its neighbours."""

import contextlib
import ctypes
import time
from typing import Any

import msgspec
import pynvml

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Fabric, NvLink, PcieLink, Peer
from gpudoctor.probes.nvml_figures import pci_address
from gpudoctor.probes.nvml_questions import INVALID_ARGUMENT, Questions

_REMOTE_TYPES = {0: "gpu", 1: "npu", 2: "switch"}
_REPLAY, _RECOVERY, _CRC_FLIT, _CRC_DATA = 0, 1, 2, 3
_P2P_READ = 0  # pynvml.NVML_P2P_CAPS_INDEX_READ is a tuple by a slip of that library
_P2P = {
    0: "ok", 1: "chipset-not-supported", 2: "gpu-not-supported", 3: "topology-not-supported",
    4: "disabled-by-setting", 5: "not-supported", 6: "unknown",
}
_CARD_WIDTH = Unavailable("NVML has no such figure", "not-supported")


class _FabricInfo(ctypes.Structure):
    """Version 2 of NVML's structure, which older releases of nvidia-ml-py lack."""

    _fields_ = (
        ("version", ctypes.c_uint), ("cluster", ctypes.c_uint8 * 16), ("status", ctypes.c_uint),
        ("clique", ctypes.c_uint32), ("state", ctypes.c_uint8), ("health", ctypes.c_uint32),
    )


def pcie(ask: Questions, handle: Any) -> PcieLink:
    """Read the link as it is now; at idle the generation is low to save power."""
    return PcieLink(
        generation=ask.ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration, handle),
        width=ask.ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth, handle),
        max_generation=ask.ask(pynvml.nvmlDeviceGetMaxPcieLinkGeneration, handle),
        max_width=ask.ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth, handle),
        card_max_generation=ask.ask(pynvml.nvmlDeviceGetGpuMaxPcieLinkGeneration, handle),
        card_max_width=_CARD_WIDTH,
        replays=ask.ask(pynvml.nvmlDeviceGetPcieReplayCounter, handle),
    )


def pcie_later(ask: Questions, handle: Any, link: PcieLink, seconds: float) -> PcieLink:
    """Add the second reading of the replay counter."""
    if isinstance(link.replays, Unavailable):
        return link
    later = ask.ask(pynvml.nvmlDeviceGetPcieReplayCounter, handle)
    return msgspec.structs.replace(link, replays_later=later, replay_interval_seconds=round(seconds, 2))


def nvlinks(ask: Questions, handle: Any) -> tuple[NvLink, ...] | Unavailable:
    """Read every link that the GPU has; unavailable when it has none."""
    found: list[NvLink] = []
    why = Unavailable("the GPU has no NVLink", "not-supported")
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        state = ask.ask(_state, handle, link, doing="nvmlDeviceGetNvLinkState")
        if state is None:
            break
        if not isinstance(state, Unavailable):
            found.append(_link(ask, handle, link, state))
        elif not found:
            why = state
            if state.kind == "driver-too-old":
                break
    return tuple(found) or why


def _state(handle: Any, link: int) -> bool | None:
    """True for active; None beyond the GPU's last link."""
    try:
        return bool(pynvml.nvmlDeviceGetNvLinkState(handle, link))
    except pynvml.NVMLError as error:
        if error.value == INVALID_ARGUMENT:
            return None
        raise


def _link(ask: Questions, handle: Any, link: int, active: bool) -> NvLink:
    if not active:
        return NvLink(link=link, active=False)
    remote = ask.ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, link)
    kind = ask.ask(pynvml.nvmlDeviceGetNvLinkRemoteDeviceType, handle, link)
    counter = pynvml.nvmlDeviceGetNvLinkErrorCounter
    return NvLink(
        link=link,
        active=True,
        remote=None if isinstance(remote, Unavailable) else pci_address(remote),
        remote_type=None if isinstance(kind, Unavailable) else _REMOTE_TYPES.get(kind),
        replay_errors=ask.ask(counter, handle, link, _REPLAY),
        recovery_errors=ask.ask(counter, handle, link, _RECOVERY),
        crc_errors=ask.ask(_crc_errors, handle, link, doing=counter.__name__),
    )


def _crc_errors(handle: Any, link: int) -> int:
    total: int = pynvml.nvmlDeviceGetNvLinkErrorCounter(handle, link, _CRC_FLIT)
    with contextlib.suppress(pynvml.NVMLError):
        total += pynvml.nvmlDeviceGetNvLinkErrorCounter(handle, link, _CRC_DATA)
    return total


def nvlinks_later(
    ask: Questions, handle: Any, links: tuple[NvLink, ...] | Unavailable, since: float
) -> tuple[NvLink, ...] | Unavailable:
    """Add the second reading of each link's CRC counter."""
    if isinstance(links, Unavailable):
        return links
    later: list[NvLink] = []
    for link in links:
        if isinstance(link.crc_errors, Unavailable):
            later.append(link)
            continue
        errors = ask.ask(_crc_errors, handle, link.link, doing="nvmlDeviceGetNvLinkErrorCounter")
        seconds = round(time.monotonic() - since, 2)
        later.append(msgspec.structs.replace(link, crc_errors_later=errors, interval_seconds=seconds))
    return tuple(later)


def fabric(ask: Questions, handle: Any) -> Fabric | Unavailable:
    """Read the registration with the NVSwitch fabric; the health mask came with the newer call."""
    newer = _FabricInfo(version=ctypes.sizeof(_FabricInfo) | 2 << 24)
    answer = ask.ask(pynvml.nvmlDeviceGetGpuFabricInfoV, handle, ctypes.byref(newer))
    if not isinstance(answer, Unavailable):
        return Fabric(state=newer.state, result=newer.status, health_mask=newer.health)
    if answer.kind != "driver-too-old":
        return answer
    older = pynvml.c_nvmlGpuFabricInfo_t()
    second = ask.ask(pynvml.nvmlDeviceGetGpuFabricInfo, handle, ctypes.byref(older))
    if isinstance(second, Unavailable):
        return second
    return Fabric(state=older.state, result=older.status, health_mask=answer)


def peer(ask: Questions, handle: Any, other: Any, index: int) -> Peer:
    """Say what lies between this GPU and the other, whose index is given."""
    return Peer(
        index=index,
        common_ancestor=ask.ask(pynvml.nvmlDeviceGetTopologyCommonAncestor, handle, other),
        p2p_read=ask.ask(
            pynvml.nvmlDeviceGetP2PStatus, handle, other, _P2P_READ, of=lambda number: _P2P.get(number, "unknown")
        ),
    )
