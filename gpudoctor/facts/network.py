"""Listening ports with their owners, running exporters, and InfiniBand/RoCE ports."""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import Item, Section


class Listener(Item, frozen=True, kw_only=True):
    """One listening TCP socket; ``process`` and ``pid`` None when this user may not know the owner."""

    port: int
    address: str
    pid: int | None = None
    process: str | None = None


class Processes(Section, frozen=True, kw_only=True):
    """Running processes as far as checks need them: listeners, monitoring exporters, engines, and those stuck
    in the kernel (state D).
    """

    listeners: Annotated[tuple[Listener, ...], Meta(max_length=65536)] = ()
    exporters: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    uninterruptible: Annotated[tuple[str, ...], Meta(max_length=256)] = ()


class FabricPort(Item, frozen=True, kw_only=True):
    """One port of an RDMA device; ``state`` and ``physical_state`` are the kernel's words, rate in Gb/s."""

    device: str
    port: int
    state: str
    physical_state: str = ""
    rate_gbps: float | None = None
    link_layer: str = ""


class FabricPorts(Section, frozen=True, kw_only=True):
    """InfiniBand and RoCE ports under ``/sys/class/infiniband``."""

    ports: Annotated[tuple[FabricPort, ...], Meta(max_length=1024)] = ()
