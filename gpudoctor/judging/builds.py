"""What shall run here: engines named with --for, and what is installed. Each with its CUDA and GPU code."""

from collections.abc import Iterable
from typing import NamedTuple

from gpudoctor.checking.target import EngineWish, Target
from gpudoctor.facts.base import NOT_RECORDED, Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.engines import EngineBinary, Engines
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, TorchBuild
from gpudoctor.judging.cuda_fit import Machinery
from gpudoctor.judging.workloads import Workload, workloads
from gpudoctor.matrices import images, ollama, pytorch, sglang, tgi, vllm
from gpudoctor.matrices.engines import EngineRequirement, engine_requirement, image_requirement

#: Distribution -> engine, for those that the matrices know.
PACKAGES = {"vllm": "vllm", "sglang": "sglang", "text-generation-server": "tgi", "text-generation": "tgi"}
_MEANT = frozenset({"option", "active", "process"})


class Build(NamedTuple):
    """One build of an engine or of PyTorch.

    ``cuda`` and ``arch_list`` come from the installed files where there are some, else from the matrices (``need``).
    ``need`` is None for a release that the matrices do not know. ``where`` says where it was read.
    """

    label: str
    subject: str
    engine: str
    version: str | None
    need: EngineRequirement | None
    cuda: str | None
    arch_list: tuple[str, ...]
    where: str
    image: str | None = None
    environment: PythonEnvironment | None = None
    workload: Workload | None = None

    @property
    def installed(self) -> bool:
        """True for what was found here, False for what was asked for."""
        return self.subject != "host"


def newest(engine: str) -> str | None:
    """Return the newest release of an engine that the matrices know."""
    if engine == "ollama":
        return ollama.table().known_until
    if engine == "vllm":
        return vllm.releases()[-1].version
    if engine == "sglang":
        return sglang.releases()[-1].version
    if engine == "tgi":
        return tgi.table().releases[-1].version
    return pytorch.releases()[-1].version if engine == "torch" else None


def asked(target: Target, here: Machinery) -> tuple[Build, ...]:
    """Return the engines named with --for; without a version, the newest that the matrices know."""
    return tuple(_asked(wish, here) for wish in target.engines)


def _asked(wish: EngineWish, here: Machinery) -> Build:
    if wish.image is not None:
        need = image_requirement(wish.image, compute_capability=here.lowest)
        inside = images.contents(wish.image)
        version = inside.version if inside else None
    else:
        version = wish.version or newest(wish.name)
        need = _need(wish.name, version, here)
    label = wish.label if wish.image or wish.version or version is None else f"{wish.name} {version}"
    return Build(
        label=label, subject="host", engine=need.engine if need else wish.name, version=version, need=need,
        cuda=need.cuda if need else None, arch_list=need.arch_list if need else (),
        where=need.source.title if need else "matrices", image=wish.image,
    )


def _need(engine: str, version: str | None, here: Machinery) -> EngineRequirement | None:
    """What a release needs; None where the matrices know only its build for CUDA, and this is another (``+cpu``)."""
    if version is None:
        return None
    local = version.partition("+")[2]
    if engine != "torch" and local and pytorch.cuda_of_local_version(version) is None:
        return None
    return engine_requirement(engine, version, compute_capability=here.lowest, machine=here.machine)


def environments(envs: PythonEnvs | Unavailable, target: Target) -> tuple[PythonEnvironment, ...]:
    """Return the environments that the target runs in.

    Those with an engine named by --for; without one those with any engine, else those with PyTorch that are in use.
    An image on disk is none of them: nothing says that it will run, or ever did.
    """
    if isinstance(envs, Unavailable):
        return ()
    installed = tuple(each for each in envs.environments if not each.in_image)
    if target.engines:
        wanted = {wish.name for wish in target.engines if wish.image is None}
        return tuple(
            each for each in installed
            if any(PACKAGES.get(p.name, p.name) in wanted for p in each.engines)
            or ("torch" in wanted and each.torch is not None)
        )
    engines = tuple(each for each in installed if each.engines)
    return engines or tuple(each for each in installed if each.torch is not None and used(each))


def used(each: PythonEnvironment) -> bool:
    """True if somebody means this environment now: named with --python, activated, or running."""
    return bool(_MEANT & set(each.found)) or bool(each.pids)


def subject_of(each: PythonEnvironment) -> str:
    """Return an environment's subject."""
    return f"env:{each.path}"


def torch_builds(found: Iterable[PythonEnvironment]) -> tuple[Build, ...]:
    """Return the builds of PyTorch in environments, as their files say."""
    builds: list[Build] = []
    for each in found:
        build = each.torch
        if not isinstance(build, TorchBuild):
            continue
        archs = () if isinstance(build.arch_list, Unavailable) else build.arch_list
        builds.append(Build(
            label=f"torch {build.version}", subject=subject_of(each), engine="torch", version=build.version,
            need=engine_requirement("torch", build.version),
            cuda=build.cuda if isinstance(build.cuda, str) else None, arch_list=archs,
            where=f"{build.path or each.path}/version.py", environment=each,
        ))  # fmt: skip
    return tuple(builds)


def engine_builds(found: Iterable[PythonEnvironment], here: Machinery) -> tuple[Build, ...]:
    """Return the engines in environments; ``cuda`` is the matrices' and moves with the torch beside it."""
    builds: list[Build] = []
    for each in found:
        for package in each.engines:
            engine = PACKAGES.get(package.name)
            if engine is None or package.version is None:
                continue
            need = _need(engine, package.version, here)
            builds.append(Build(
                label=f"{package.name} {package.version}", subject=subject_of(each), engine=engine,
                version=package.version, need=need, cuda=_linked(each, package.name) or (need.cuda if need else None),
                arch_list=_compiled(each, package.name) or (need.arch_list if need else ()),
                where=f"{package.name} in {each.path}", environment=each,
            ))  # fmt: skip
    return tuple(builds)


def _linked(each: PythonEnvironment, package: str) -> str | None:
    """The CUDA major that the package's own files ask the loader for."""
    for extension in each.extensions:
        for soname in extension.needs if extension.package == package else ():
            if soname.startswith("libcudart.so."):
                return soname.removeprefix("libcudart.so.")
    return None


def _compiled(each: PythonEnvironment, package: str) -> tuple[str, ...]:
    own = [e for e in each.extensions if e.package == package]
    found = [e.arch_list for e in own if isinstance(e.arch_list, tuple)]
    if len(found) < len(own):
        return ()  # A file that was not read may hold the code for this GPU.
    return tuple(dict.fromkeys(arch for archs in found for arch in archs))


def binaries(
    engines: Engines | Unavailable, target: Target, here: Machinery
) -> tuple[tuple[Build, str | None], ...]:
    """Return installed Ollama programs, each with the id of its container.

    What else is in the section has no releases that the matrices know.
    """
    if isinstance(engines, Unavailable):
        return ()
    wanted = {wish.name for wish in target.engines if wish.image is None}
    return tuple(
        (_binary(each, here), each.container) for each in engines.engines
        if each.engine == "ollama" and (not target.engines or "ollama" in wanted)
    )


def _binary(each: EngineBinary, here: Machinery) -> Build:
    version = each.version.removeprefix("v") if each.version else None
    need = _need("ollama", version, here)
    return Build(
        label=f"ollama {version or '(version not told)'}", subject=f"file:{each.path}", engine="ollama",
        version=version, need=need, cuda=need.cuda if need else None, arch_list=need.arch_list if need else (),
        where=f"{each.path} ({each.version_source or 'no version'})",
    )


def _in_container(each: Workload, here: Machinery) -> Build:
    """An engine of a service or a running container by its image's tag; one without a release has no ``version``."""
    need = image_requirement(each.image, compute_capability=here.of(each.gpus).lowest)
    inside = images.contents(each.image)
    return Build(
        label=each.service.image or each.engine, subject=each.subject, engine=each.engine,
        version=inside.version if inside else None, need=need, cuda=need.cuda if need else None,
        arch_list=need.arch_list if need else (), where=each.image, image=each.image, workload=each,
    )


def _inside(build: Build, short: str | None, running: Iterable[Workload]) -> Build:
    """Put a build that was found in a container's own files beside what that container was told."""
    each = next((w for w in running if short and w.container and w.container.startswith(short)), None)
    return build if each is None else build._replace(subject=each.subject, workload=each)


class Running(NamedTuple):
    """Who says what runs in containers: Compose files that were named, and the engine."""

    compose: Compose | Unavailable = NOT_RECORDED
    containers: Containers | Unavailable = NOT_RECORDED


def all_builds(
    target: Target,
    envs: PythonEnvs | Unavailable,
    engines: Engines | Unavailable,
    here: Machinery,
    running: Running = Running(),  # noqa: B008 - immutable
) -> tuple[Build, ...]:
    """Return everything that shall run: asked for, in environments, installed as programs, in containers.

    A service stands in the place of the --for that its image stands for. With --for, what runs is not asked.
    """
    found = workloads(running.compose, running.containers, here.gpus)
    services = tuple(each for each in found if each.container is None)
    inside = () if target.engines else tuple(each for each in found if each.container is not None)
    composed = {each.service.image for each in services}
    wishes = tuple(each for each in asked(target, here) if each.image is None or each.image not in composed)
    own = environments(envs, target)
    looked = (*torch_builds(own), *engine_builds(own, here))
    looked_into = tuple(_inside(b, b.environment.container if b.environment else None, inside) for b in looked)
    programs = tuple(_inside(b, short, inside) for b, short in binaries(engines, target, here))
    known = {b.workload.container for b in (*looked_into, *programs) if b.workload and b.engine != "torch"}
    return (*wishes, *looked_into, *programs, *(_in_container(each, here) for each in services),
            *(_in_container(each, here) for each in inside if each.container not in known))


def engines_wanted(
    target: Target,
    envs: PythonEnvs | Unavailable,
    engines: Engines | Unavailable,
    here: Machinery,
    running: Running = Running(),  # noqa: B008 - immutable
) -> tuple[Build, ...]:
    """Return the engines among those: without PyTorch itself and CUDA base images."""
    return tuple(b for b in all_builds(target, envs, engines, here, running) if b.engine not in ("torch", "cuda"))
