"""InfiniBand and RoCE ports under /sys/class/infiniband."""

import re

from gpudoctor.facts.network import FabricPort, FabricPorts
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("fabric_ports",)
OPTIONS: tuple[str, ...] = ()

BASE = "/sys/class/infiniband"


def probe(out: Reporter, root: Root) -> None:
    """Fill ``fabric_ports``; a machine without RDMA devices has none."""
    out.section("fabric_ports", FabricPorts(ports=tuple(read_ports(root))))


def read_ports(root: Root) -> list[FabricPort]:
    """Read every port of every RDMA device."""
    found: list[FabricPort] = []
    for device in root.list(BASE):
        for port in root.list(f"{BASE}/{device}/ports"):
            if not port.isdigit():
                continue
            folder = f"{BASE}/{device}/ports/{port}"
            found.append(
                FabricPort(
                    device=device,
                    port=int(port),
                    state=word(root.read(f"{folder}/state") or ""),
                    physical_state=word(root.read(f"{folder}/phys_state") or ""),
                    rate_gbps=rate(root.read(f"{folder}/rate") or ""),
                    link_layer=(root.read(f"{folder}/link_layer") or "").strip(),
                )
            )
    return found


def word(text: str) -> str:
    """Return the kernel's word of ``4: ACTIVE``."""
    return text.partition(":")[2].strip() or text.strip()


def rate(text: str) -> float | None:
    """Read Gb/s of ``100 Gb/sec (4X EDR)``."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)\s*Gb/sec", text)
    return float(match[1]) if match else None
