"""Volumes that matter to model servers, and the health of the disks beneath."""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable


class Volume(Item, frozen=True, kw_only=True):
    """The file system that holds ``path``.

    ``purpose`` is ``root``, ``tmp``, ``docker``, ``ollama-models``, ``huggingface-cache`` or ``models``.
    ``device_class`` is ``nvme``, ``ssd``, ``hdd``, ``network``, ``memory`` or ``unknown``. ``failure`` says why
    it could not be read (a network file system that hangs, a missing right).
    """

    purpose: str
    path: str
    mount_point: str = ""
    file_system: str = ""
    device: str = ""
    device_class: str = "unknown"
    read_only: bool = False
    total_bytes: int | Unavailable = NOT_RECORDED
    free_bytes: int | Unavailable = NOT_RECORDED
    inodes_total: int | Unavailable = NOT_RECORDED
    inodes_free: int | Unavailable = NOT_RECORDED
    failure: str | None = None


class Disk(Item, frozen=True, kw_only=True):
    """One physical disk. ``critical_warning`` is the NVMe log's byte; ``smart_passed`` the drive's own verdict."""

    name: str
    model: str = ""
    device_class: str = "unknown"
    critical_warning: int | Unavailable = NOT_RECORDED
    smart_passed: bool | Unavailable = NOT_RECORDED
    percentage_used: int | Unavailable = NOT_RECORDED
    failure: str | None = None


class Storage(Section, frozen=True, kw_only=True):
    """Where models, images and temporary files lie."""

    volumes: Annotated[tuple[Volume, ...], Meta(max_length=256)] = ()


class DiskHealth(Section, frozen=True, kw_only=True):
    """What the disks say about themselves."""

    disks: Annotated[tuple[Disk, ...], Meta(max_length=256)] = ()
