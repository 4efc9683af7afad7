"""What a release of an engine asks of driver and GPU, whichever table knows it."""

from typing import Literal

import msgspec

from gpudoctor.matrices import cuda_arch, cuda_driver, images, ollama, pytorch, sglang, tgi, vllm
from gpudoctor.matrices.table import Confidence, Source

Machine = Literal["x86_64", "aarch64"]


class EngineRequirement(msgspec.Struct, frozen=True, kw_only=True):
    """What one build of an engine needs.

    `cuda` is the CUDA it brings along, None for a build without. `min_driver` is the oldest Linux driver with which
    it runs on the GPU, None where no floor is known; on an older one it fails, or with `falls_back_to_cpu` runs
    without saying so. `driver_checked` is False where the floor is only what its documents ask for.
    `min_compute_capability` and `arch_list` are None and empty where not known, which says nothing about the GPU.
    """

    engine: str
    version: str
    cuda: str | None
    min_driver: str | None
    confidence: Confidence
    source: Source
    min_compute_capability: tuple[int, int] | None = None
    arch_list: tuple[str, ...] = ()
    torch: str | None = None
    requires_python: str | None = None
    driver_checked: bool = True
    falls_back_to_cpu: bool = False

    @property
    def cuda_major(self) -> int | None:
        """The major version of `cuda`."""
        return int(self.cuda.partition(".")[0]) if self.cuda else None


def engine_requirement(
    engine: str,
    version: str,
    *,
    compute_capability: tuple[int, int] | None = None,
    machine: Machine = "x86_64",
) -> EngineRequirement | None:
    """Return what a release of `vllm`, `sglang`, `ollama`, `tgi` or `torch` needs, None when it is not known.

    A local part names another CUDA build (`0.20.0+cu129`). Ollama's driver floor depends on the GPU: without
    `compute_capability` it is that of GPUs from 7.0 on. `machine` matters for PyTorch alone.
    """
    if engine == "vllm":
        return _vllm(version)
    if engine == "sglang":
        return _sglang(version)
    if engine == "ollama":
        return _ollama(version, compute_capability)
    if engine == "tgi":
        return _tgi(version)
    if engine in ("torch", "pytorch"):
        return _torch(version, machine)
    return None


def image_requirement(reference: str, *, compute_capability: tuple[int, int] | None = None) -> EngineRequirement | None:
    """Return what a public image needs by its tag, None for an image or tag that says nothing (`latest`)."""
    found = images.contents(reference)
    if found is None:
        return None
    if found.engine == "cuda":
        floor = _floor(found.version)
        return EngineRequirement(
            engine="cuda",
            version=found.version,
            cuda=found.version,
            min_driver=floor.min_driver if floor else None,
            min_compute_capability=floor.min_compute_capability if floor else None,
            confidence=floor.confidence if floor else "unknown",
            source=images.table().source("cuda"),
        )
    local = f"+cu{found.cuda.replace('.', '')}" if found.cuda else ""
    need = engine_requirement(found.engine, found.version + local, compute_capability=compute_capability)
    if need is None or found.cuda:
        return need
    if not found.like_wheel:
        return msgspec.structs.replace(
            need, cuda=None, min_driver=None, min_compute_capability=None, confidence="unverified"
        )
    release = vllm.release(found.version) if found.engine == "vllm" else None
    return msgspec.structs.replace(need, cuda=release.image_cuda) if release and release.image_cuda else need


def _vllm(version: str) -> EngineRequirement | None:
    row = vllm.release(version)
    if row is None:
        return None
    need = EngineRequirement(
        engine="vllm",
        version=row.version,
        cuda=row.cuda,
        min_driver=row.min_driver,
        min_compute_capability=row.min_compute_capability,
        arch_list=row.arch_list,
        torch=row.torch,
        requires_python=row.requires_python,
        confidence=row.confidence,
        source=vllm.table().source(row.source),
    )
    return _other_cuda(need, pytorch.cuda_of_local_version(version))


def _sglang(version: str) -> EngineRequirement | None:
    row = sglang.release(version)
    if row is None:
        return None
    need = EngineRequirement(
        engine="sglang",
        version=row.version,
        cuda=row.cuda,
        min_driver=row.min_driver,
        min_compute_capability=row.min_compute_capability,
        torch=row.torch,
        requires_python=row.requires_python,
        confidence=row.confidence,
        source=sglang.table().source(row.source),
    )
    return _other_cuda(need, pytorch.cuda_of_local_version(version))


def _torch(version: str, machine: Machine) -> EngineRequirement | None:
    row = pytorch.release(version)
    if row is None:
        return None
    local = version.partition("+")[2]
    cuda = row.cuda if machine == "x86_64" else row.aarch64_cuda
    archs = row.arch_list if machine == "x86_64" else row.aarch64_arch_list
    confidence, source = row.confidence, row.source
    asked = pytorch.cuda_of_local_version(version)
    if local == "cpu" or cuda is None:
        cuda, archs = None, ()
    if asked is not None and asked != cuda:
        build = pytorch.variant(version, asked)
        if build is None or machine != "x86_64":
            return None
        cuda, archs, confidence, source = build.cuda, build.arch_list, build.confidence, build.source
    elif local and asked is None and local != "cpu":
        return None
    floor = _floor(cuda) if cuda else None
    return EngineRequirement(
        engine="torch",
        version=row.version,
        cuda=cuda,
        min_driver=floor.min_driver if floor else None,
        min_compute_capability=cuda_arch.lowest(archs),
        arch_list=archs,
        torch=row.version,
        requires_python=row.requires_python,
        confidence=confidence,
        source=pytorch.table().source(source),
    )


def _ollama(version: str, compute_capability: tuple[int, int] | None) -> EngineRequirement | None:
    rule = ollama.driver_rule(version)
    if rule is None:
        return None
    # The runner of the oldest CUDA decides: a newer one is only taken when the driver has it.
    runner = next(iter(ollama.runners(version)), None)
    return EngineRequirement(
        engine="ollama",
        version=version.removeprefix("v"),
        cuda=runner.cuda if runner else None,
        min_driver=rule.floor(compute_capability),
        min_compute_capability=ollama.table().min_compute_capability,
        arch_list=runner.arch_list if runner else (),
        confidence=rule.confidence,
        source=ollama.table().source(rule.source),
        driver_checked=rule.enforced,
        falls_back_to_cpu=True,
    )


def _tgi(version: str) -> EngineRequirement | None:
    row = tgi.release(version)
    if row is None:
        return None
    return EngineRequirement(
        engine="tgi",
        version=row.version,
        cuda=row.cuda,
        min_driver=row.min_driver,
        arch_list=row.arch_list,
        torch=row.torch,
        confidence=row.confidence,
        source=tgi.table().source(row.source),
        driver_checked=False,
    )


def _other_cuda(need: EngineRequirement, cuda: str | None) -> EngineRequirement:
    if cuda is None or cuda == need.cuda:
        return need
    floor = _floor(cuda)
    return msgspec.structs.replace(
        need,
        cuda=cuda,
        min_driver=floor.min_driver if floor else None,
        min_compute_capability=floor.min_compute_capability if floor else None,
        arch_list=(),
        confidence="unverified",
    )


def _floor(cuda: str) -> cuda_driver.CudaFloor | None:
    return cuda_driver.floor_for_cuda(int(cuda.partition(".")[0]))
