"""``nvidia-smi topo -m``: what lies between every two GPUs, and which NUMA node each is near.

Sample input:

            GPU0    GPU1    NIC0    CPU Affinity    NUMA Affinity
    GPU0     X      NV4     SYS     0-23            0
    GPU1    NV4      X      SYS     24-47           1
"""

import re

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.base import NOT_RECORDED
from gpudoctor.facts.gpus import Gpu, Gpus, NvLink, Peer

#: NVML's topology levels. SOC is what drivers before 384 wrote for SYS.
_LEVELS = {"PSB": 0, "PIX": 10, "PXB": 20, "PHB": 30, "NODE": 40, "SYS": 50, "SOC": 50}
_MAX_LINKS = 18
_ROW = r"\s{0,8}GPU\d{1,3}\s+(?:X|NV\d{1,2}|PSB|PIX|PXB|PHB|NODE|SYS|SOC)\s"


def read(text: str, line: int, file: str) -> Reading | None:
    """Read one table; None when a row does not fit its head."""
    head, *rows = (row.split() for row in text.split("\n") if row.strip())
    columns = [int(name[3:]) if re.match(r"GPU\d{1,3}$", name) else None for name in head]
    # After the devices come "CPU Affinity" and others, in two words each.
    devices = columns[: head.index("CPU")] if "CPU" in head else columns
    found: dict[int, Gpu] = {}
    for name, *cells in rows:
        if not re.match(r"GPU\d{1,3}$", name) or len(cells) < len(devices):
            continue
        index = int(name[3:])
        peers = tuple(
            _peer(other, cell) for other, cell in zip(devices, cells, strict=False) if other not in (None, index)
        )
        found.setdefault(index, _gpu(index, peers, cells[len(devices) + 1 : len(devices) + 2]))
    if not found:
        return None
    context = frozenset({"several-gpus"} if len(found) > 1 else ())
    return Reading(sections={"gpus": Gpus(count=len(found), gpus=tuple(found.values()))}, context=context)


def _peer(index: int | None, cell: str) -> Peer:
    links = re.match(r"NV(\d{1,2})$", cell)
    return Peer(
        index=index or 0,
        common_ancestor=_LEVELS.get(cell, NOT_RECORDED),
        nvlinks=int(links[1]) if links else 0 if cell in _LEVELS else NOT_RECORDED,
    )


def _gpu(index: int, peers: tuple[Peer, ...], numa: list[str]) -> Gpu:
    counts = [peer.nvlinks for peer in peers if isinstance(peer.nvlinks, int)]
    # Through switches the same links lead to every peer; directly each peer has its own.
    total = sum(counts) if sum(counts) <= _MAX_LINKS else max(counts)
    return Gpu(
        index=index,
        peers=peers,
        nvlinks=tuple(NvLink(link=link, active=True) for link in range(total)) if counts else NOT_RECORDED,
        numa_node=int(numa[0]) if numa and re.match(r"\d{1,3}$", numa[0]) else NOT_RECORDED,
    )


KIND = Kind(
    name="nvidia-smi-topology",
    begins=r"\s{1,12}GPU0(?:\s+(?:GPU|NIC|mlx|CPU)\S{0,12}){1,80}(?:\s|$)",
    extent=lambda: While(re.compile(_ROW + r"|\s{1,12}GPU0\s|\s{0,8}(?:NIC\d|mlx\d_\d)\S{0,8}\s")),
    read=read,
    words=("cpu affinity", "gpu0"),
)
