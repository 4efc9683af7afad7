"""PyTorch releases: CUDA, cuDNN, Python versions and GPU architectures in their wheels. Source: `pytorch.toml`."""

import re
from functools import cache

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load


class TorchRelease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Linux wheel on PyPI of one release.

    `pythons` are the versions a wheel exists for, `3.13t` being the free-threaded build. `aarch64_cuda` is None where
    the aarch64 wheel is built for the CPU only. `min_driver` is None below CUDA 11.
    """

    version: str
    cuda: str
    requires_python: str
    pythons: tuple[str, ...]
    wheel_tag: str
    arch_list: tuple[str, ...]
    confidence: Confidence
    source: str
    cudnn: str | None = None
    nccl: str | None = None
    triton: str | None = None
    aarch64_cuda: str | None = None
    aarch64_arch_list: tuple[str, ...] = ()
    min_driver: str | None = None


class TorchVariant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One CUDA build of a minor release (`2.8`); `pypi` marks the one that PyPI serves."""

    release: str
    cuda: str
    arch_list: tuple[str, ...]
    stable: bool
    confidence: Confidence
    source: str
    cudnn: str | None = None
    pypi: bool = False


class TorchTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `pytorch.toml`."""

    releases: tuple[TorchRelease, ...]
    variants: tuple[TorchVariant, ...]


@cache
def table() -> TorchTable:
    """Return the whole table with its sources, parsed once."""
    return load("pytorch", TorchTable)


def releases() -> tuple[TorchRelease, ...]:
    """Return every release known, oldest first."""
    return table().releases


def release(version: str) -> TorchRelease | None:
    """Return the PyPI wheel of a version (`2.5.1`; a local part like `+cu124` is left aside), None if unknown."""
    public = version.partition("+")[0]
    return next((row for row in releases() if row.version == public), None)


def variants(version: str) -> tuple[TorchVariant, ...]:
    """Return the CUDA builds of the minor release a version belongs to, oldest CUDA first; empty if unknown."""
    if release(version) is None:
        return ()
    minor = ".".join(version.partition("+")[0].split(".")[:2])
    return tuple(row for row in table().variants if row.release == minor)


def variant(version: str, cuda: str) -> TorchVariant | None:
    """Return the build of a version for one CUDA (`12.6`), None when the table knows of none."""
    return next((row for row in variants(version) if row.cuda == cuda), None)


def cuda_of_local_version(version: str) -> str | None:
    """Return `12.4` for `2.5.1+cu124`; None without a CUDA part."""
    match = re.fullmatch(r"[^+]*\+cu([0-9]{1,2})([0-9])(?:\..*)?", version)
    return f"{match[1]}.{match[2]}" if match else None
