"""vLLM releases: CUDA, PyTorch, GPUs, quantization methods, attention and model classes. Source: `vllm.toml`."""

from functools import cache, lru_cache
from typing import Literal

import msgspec

from gpudoctor.matrices.models import ModelGroup, RemovedModels, group_of
from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import same_release, within


class VllmRelease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Linux wheel on PyPI of one release, and the CUDA of its Docker image.

    `torch` is the pinned version or a lower bound (`>=2.0.0`). `arch_list` is empty, and `image_cuda` None, where not
    known.
    """

    version: str
    torch: str
    requires_python: str
    cuda: str
    min_driver: str
    min_compute_capability: tuple[int, int]
    wheel_tag: str
    transformers: str
    confidence: Confidence
    source: str
    arch_list: tuple[str, ...] = ()
    image_cuda: str | None = None
    alternate_cuda: tuple[str, ...] = ()
    flashinfer: str | None = None
    xformers: str | None = None


class QuantizationRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a quantization method asks of the GPU from version `since` on.

    `absent`: these versions have no such method, `plugin` naming the package that has. Below `native_from` a method
    with hardware support elsewhere is emulated.
    """

    since: str
    absent: bool = False
    min_capability: tuple[int, int] | None = None
    native_from: tuple[int, int] | None = None
    plugin: str | None = None


class Quantization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quantization method in vLLM's spelling, and its runs by version, oldest first."""

    method: str
    label: str
    runs: tuple[QuantizationRun, ...]
    confidence: Confidence
    source: str


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A data type, attention backend, kernel or engine, and the GPUs it runs on in some range of versions."""

    name: str
    kind: Literal["dtype", "engine", "attention", "mla", "kernel"]
    confidence: Confidence
    source: str
    since: str | None = None
    before: str | None = None
    min_capability: tuple[int, int] | None = None
    majors: tuple[int, ...] = ()
    note: str | None = None

    def runs_on(self, compute_capability: tuple[int, int]) -> bool:
        """Tell whether a GPU of this compute capability has it."""
        if self.majors:
            return compute_capability[0] in self.majors
        return self.min_capability is None or compute_capability >= self.min_capability


class Rocm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AMD architectures of the ROCm image, and those the source can be compiled for."""

    gfx: tuple[str, ...]
    compilable_gfx: tuple[str, ...]
    source: str


class VllmTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `vllm.toml`."""

    releases: tuple[VllmRelease, ...]
    quantization: tuple[Quantization, ...]
    features: tuple[Feature, ...]
    models: tuple[ModelGroup, ...]
    removed_models: tuple[RemovedModels, ...]
    rocm: Rocm


@cache
def table() -> VllmTable:
    """Return the whole table with its sources, parsed once."""
    return load("vllm", VllmTable)


def releases() -> tuple[VllmRelease, ...]:
    """Return every release known, oldest first."""
    return table().releases


@lru_cache(maxsize=1024)
def release(version: str) -> VllmRelease | None:
    """Return a release (`0.33.0`, `v0.33.0`; a local part like `+cu129` is left aside), None if unknown."""
    return next((row for row in releases() if same_release(version, row.version)), None)


def quantization(method: str, version: str) -> QuantizationRun | None:
    """Return what a quantization method asks in a release; None when the method or the release is unknown."""
    known = next((row for row in table().quantization if row.method == method), None)
    if known is None or release(version) is None:
        return None
    reached = [run for run in known.runs if within(version, run.since, None)]
    return reached[-1] if reached else None


def feature(name: str, version: str) -> Feature | None:
    """Return a feature as it is in a release; None when the feature or the release is unknown, or it has none."""
    if release(version) is None:
        return None
    rows = (row for row in table().features if row.name == name)
    return next((row for row in rows if within(version, row.since, row.before)), None)


def features(version: str, kind: str) -> tuple[Feature, ...]:
    """Return the features of one kind (`attention`, `mla`, …) in a release; empty when the release is unknown."""
    if release(version) is None:
        return ()
    rows = (row for row in table().features if row.kind == kind)
    return tuple(row for row in rows if within(version, row.since, row.before))


def model(architecture: str) -> ModelGroup | None:
    """Return since when an architecture is supported, None when the table does not know: that is no refusal."""
    return group_of(architecture, table().models)


def removed_model(architecture: str) -> RemovedModels | None:
    """Return the last release with an architecture that left, None for one that did not."""
    return next((row for row in table().removed_models if architecture in row.architectures), None)


def knows_model(architecture: str, version: str) -> bool | None:
    """Tell whether a release has a class of its own for an architecture.

    None when the table does not know: an unknown architecture or release, or one between two that were read. False
    does not rule out that Transformers runs the model for vLLM.
    """
    known, removed = model(architecture), removed_model(architecture)
    if known is None or release(version) is None:
        return None
    return False if removed is not None and not removed.has(version) else known.has(version)
