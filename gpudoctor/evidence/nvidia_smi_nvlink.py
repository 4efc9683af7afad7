"""``nvidia-smi nvlink --status``: which links of each GPU are up.

Sample input:

    GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5b2f...)
             Link 0: 26.562 GB/s
             Link 1: <inactive>
"""

import re

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.gpus import Gpu, Gpus, NvLink
from gpudoctor.facts.signatures import NOT_PASTED

_HEAD = re.compile(r"GPU (\d{1,3}): (.{1,120}?)(?: \(UUID: (GPU-[\w-]{1,60})\))?\s*$")
_LINK = re.compile(r"\s+Link (\d{1,3}): (?:(\d[\d.]{0,10} GB/s)|(<inactive>))\s*$")
_MAX_GPUS = 64


def read(text: str, line: int, file: str) -> Reading | None:
    """Read the states; None where a line says neither up nor down, and for another question's answer."""
    told: dict[int, tuple[re.Match[str], list[NvLink]]] = {}
    links: list[NvLink] | None = None
    for row in text.split("\n"):
        head, link = _HEAD.match(row), _LINK.match(row)
        if head is not None and len(told) < _MAX_GPUS:
            links = told.setdefault(int(head[1]), (head, []))[1]
        elif link is not None and links is not None:
            links.append(NvLink(link=int(link[1]), active=link[2] is not None))
        elif row.strip():
            return None
    if not any(links for _, links in told.values()):
        return None
    gpus = tuple(
        Gpu(index=index, name=head[2], uuid=head[3] or NOT_PASTED, pci_address=NOT_PASTED, nvlinks=tuple(links))
        for index, (head, links) in sorted(told.items()) if links
    )  # fmt: skip
    return Reading(sections={"gpus": Gpus(gpus=gpus)})


KIND = Kind(
    name="nvidia-smi-nvlink",
    begins=r"GPU \d{1,3}: .{1,180}\(UUID: GPU-[\w-]{1,60}\)\s*$",
    extent=lambda: While(re.compile(r"GPU \d{1,3}: |\s+Link \d{1,3}: |\s*$")),
    read=read,
)
