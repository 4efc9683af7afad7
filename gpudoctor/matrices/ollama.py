"""Ollama by version: drivers, CUDA runners, default context, settings, models. Source: `ollama.toml`."""

from functools import cache

import msgspec

from gpudoctor.matrices.table import Confidence, Table, load
from gpudoctor.matrices.versions import release as parse
from gpudoctor.matrices.versions import within


class DriverRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The oldest driver with which a range of releases uses NVIDIA GPUs.

    `enforced`: on an older driver the release leaves the GPU aside and runs on the CPU; otherwise its documents ask
    for the driver and nothing checks it. GPUs below the compute capability `old_gpu_below` need
    `old_gpu_min_driver`. `min_driver` is None where nothing was asked for.
    """

    enforced: bool
    confidence: Confidence
    source: str
    since: str | None = None
    before: str | None = None
    min_driver: str | None = None
    old_gpu_below: tuple[int, int] | None = None
    old_gpu_min_driver: str | None = None
    note: str | None = None

    def floor(self, compute_capability: tuple[int, int] | None) -> str | None:
        """Return the oldest driver for a GPU, or for newer GPUs when the capability is None."""
        if compute_capability is None or self.old_gpu_below is None or compute_capability >= self.old_gpu_below:
            return self.min_driver
        return self.old_gpu_min_driver


class Runner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A CUDA back end in the package; `arch_list` is empty where the presets of the time do not tell."""

    name: str
    cuda: str
    confidence: Confidence
    source: str
    since: str | None = None
    before: str | None = None
    arch_list: tuple[str, ...] = ()
    min_driver: str | None = None


class MemoryStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default context of machines with less than `below_gib` GiB of video memory, or of all larger ones."""

    tokens: int
    below_gib: int | None = None


class ContextRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default context in tokens: one number or by memory; gpt-oss gets no less than `gpt_oss_tokens` ever."""

    confidence: Confidence
    source: str
    since: str | None = None
    before: str | None = None
    tokens: int | None = None
    gpt_oss_tokens: int | None = None
    by_memory: tuple[MemoryStep, ...] = ()


class RocmVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ROCm a range of releases is built with."""

    version: str
    confidence: Confidence
    source: str
    since: str | None = None
    before: str | None = None


class RocmGfx(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AMD architectures in the package from a release on."""

    since: str
    gfx: tuple[str, ...]
    source: str


class Variable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An environment variable that releases from `since` on read, up to `last` when it is gone."""

    name: str
    since: str
    source: str
    last: str | None = None


class NeverExisted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variable that guides recommend and no release ever read, and the knob that works instead."""

    name: str
    instead: str
    source: str


class ModelSupport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first release that runs an architecture (`general.architecture` of a GGUF file), or an earlier one."""

    architecture: str
    since: str
    confidence: Confidence
    source: str
    or_earlier: bool = False


class LlamaCppBuild(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The llama.cpp build that releases from `since` on are made with."""

    since: str
    build: str
    source: str


class OllamaTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `ollama.toml`."""

    known_until: str
    min_compute_capability: tuple[int, int]
    drivers: tuple[DriverRule, ...]
    runners: tuple[Runner, ...]
    contexts: tuple[ContextRule, ...]
    rocm: tuple[RocmVersion, ...]
    rocm_gfx: RocmGfx
    never_existed: tuple[NeverExisted, ...]
    variables: tuple[Variable, ...]
    models: tuple[ModelSupport, ...]
    llama_cpp: tuple[LlamaCppBuild, ...]


@cache
def table() -> OllamaTable:
    """Return the whole table with its sources, parsed once."""
    return load("ollama", OllamaTable)


def is_known(version: str) -> bool:
    """Tell whether a release (`0.11.10`, `v0.11.10`) is among those read."""
    have, newest = parse(version), parse(table().known_until)
    return have is not None and newest is not None and have <= newest


def driver_rule(version: str) -> DriverRule | None:
    """Return what a release asks of the NVIDIA driver, None for an unknown release."""
    if not is_known(version):
        return None
    return next((row for row in table().drivers if within(version, row.since, row.before)), None)


def runners(version: str) -> tuple[Runner, ...]:
    """Return the CUDA back ends of a release, oldest CUDA first; empty for an unknown release."""
    if not is_known(version):
        return ()
    found = [row for row in table().runners if within(version, row.since, row.before)]
    return tuple(sorted(found, key=lambda row: row.name))


def rocm_version(version: str) -> str | None:
    """Return the ROCm version a release is built with, None before 0.5.13 and for an unknown release."""
    if not is_known(version):
        return None
    return next((row.version for row in table().rocm if within(version, row.since, row.before)), None)


def default_context(version: str, memory_bytes: int | None = None, *, gpt_oss: bool = False) -> int | None:
    """Return the context in tokens that a release takes when nobody sets one.

    `memory_bytes` is the video memory of all GPUs less `OLLAMA_GPU_OVERHEAD`; releases from 0.15.5 on decide by it, so
    without it the answer is None, as it is for an unknown release. The model's own limit caps the answer.
    """
    if not is_known(version):
        return None
    rule = next((row for row in table().contexts if within(version, row.since, row.before)), None)
    if rule is None:
        return None
    if not rule.by_memory:
        return rule.gpt_oss_tokens if gpt_oss and rule.gpt_oss_tokens else rule.tokens
    if memory_bytes is None:
        return None
    steps = (step for step in rule.by_memory if step.below_gib is None or memory_bytes < step.below_gib * 2**30)
    return next((step.tokens for step in steps), None)


def variable(name: str) -> Variable | None:
    """Return since and until when an environment variable is read, None when no release read has it."""
    return next((row for row in table().variables if row.name == name), None)


def never_existed(name: str) -> NeverExisted | None:
    """Return a variable of this name that guides recommend in vain, None when it is not one of those."""
    return next((row for row in table().never_existed if row.name == name), None)


def model(architecture: str) -> ModelSupport | None:
    """Return since when an architecture runs, None when the table does not know: that is no refusal."""
    return next((row for row in table().models if row.architecture == architecture), None)


def llama_cpp_build(version: str) -> str | None:
    """Return the llama.cpp build of a release (`b10488`), None before 0.30 and for an unknown release."""
    if not is_known(version):
        return None
    reached = [row.build for row in table().llama_cpp if within(version, row.since, None)]
    return reached[-1] if reached else None
