"""An InfiniBand or RoCE port is down, waits for a subnet manager, or runs far too slowly.

## Why it matters
Engines that span machines, and file systems over RDMA, fall back to TCP without a word or hang in NCCL's start when a
port is not active.

The rule: an InfiniBand port that is not ACTIVE is a warning; INIT or ARMED means that the cable is fine and no subnet
manager answers. A port that was switched off, and an Ethernet (RoCE) port without a cable, is only noted: most servers
have spare ones. An active InfiniBand link below 40 Gb/s has lost lanes or speed.

## How to fix
Down: cable, transceiver, switch port. INIT: start a subnet manager on the switch or on one machine (`opensm`). Slow:
reseat or replace the cable.

## References
- https://docs.kernel.org/admin-guide/abi-stable-files.html
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.network import FabricPort, FabricPorts
from gpudoctor.judging.remedies import fitting

SOURCE = "/sys/class/infiniband"


@check(gatekeeper_of="fabric_ports")
def fabric_link(
    fabric_ports: FabricPorts | Unavailable, host: Host | Unavailable, policy: Policy
) -> Iterator[Finding]:
    """Judge the state and the rate of each port."""
    if isinstance(fabric_ports, Unavailable):
        said = skipped if fabric_ports.harmless else unknown
        yield said("host", "InfiniBand and RoCE ports could not be read: {reason}", reason=fabric_ports.reason)
        return
    if not fabric_ports.ports:
        yield skipped("host", "no InfiniBand or RoCE device", evidence=saw("ports", 0, SOURCE))
    for port in fabric_ports.ports:
        yield _judge(port, host, policy)


def _judge(port: FabricPort, host: Host | Unavailable, policy: Policy) -> Finding:
    subject = f"fabric:{port.device}/{port.port}"
    name = f"{port.device} port {port.port}"
    seen = (
        saw("state", f"{port.state} ({port.physical_state})", SOURCE),
        saw("rate, Gb/s", port.rate_gbps, SOURCE),
        saw("link layer", port.link_layer, SOURCE),
    )
    state = port.state.upper()
    ethernet = port.link_layer == "Ethernet"
    if state in ("INIT", "ARMED"):
        return warned(
            subject,
            "{name} has a link but no subnet manager answers (state {state})",
            name=name, state=state, evidence=seen,
            fix=fitting(
                host,
                other=step("Start a subnet manager on the switch or on one machine of the fabric."),
                debian=step("Start a subnet manager, on one machine of the fabric only.",
                            "sudo apt install opensm && sudo systemctl enable --now opensm"),
                rhel=step("Start a subnet manager, on one machine of the fabric only.",
                          "sudo dnf install opensm && sudo systemctl enable --now opensm"),
            ),
        )
    if state != "ACTIVE" and (ethernet or port.physical_state.lower() == "disabled"):
        return noted(subject, "{name} is not in use: {state}, {physical}", name=name, state=state,
                     physical=port.physical_state, evidence=seen)
    if state != "ACTIVE":
        return warned(
            subject,
            "{name} is {state} ({physical})",
            name=name, state=state, physical=port.physical_state, evidence=seen,
            fix=step("Check cable, transceiver and switch port; a port that is not used can be ignored."),
        )
    if not ethernet and port.rate_gbps is not None and port.rate_gbps < policy["fabric_rate_min_gbps"]:
        return warned(
            subject,
            "{name} runs at {rate:g} Gb/s, less than any four-lane InfiniBand link",
            name=name, rate=port.rate_gbps, evidence=seen,
            fix=step("Reseat or replace the cable; see which lanes and speed were agreed on.",
                     "ibstatus {device}", device=port.device),
        )
    return passed(subject, "{name} is active", name=name, evidence=seen)
