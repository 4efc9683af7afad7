"""Which release and build of an engine runs on this driver and these GPUs, and the line that installs it."""

from collections.abc import Iterator
from typing import NamedTuple

from gpudoctor.checking.finding import Step, step
from gpudoctor.judging.cuda_fit import Card, Machinery, driver_runs, reach
from gpudoctor.matrices import cuda_driver, ollama, pytorch, sglang, vllm
from gpudoctor.matrices.engines import EngineRequirement, engine_requirement
from gpudoctor.matrices.versions import release as parse


class Choice(NamedTuple):
    """One build that runs. ``image`` is the published image of the same; ``channel`` PyTorch's index (``cu126``)."""

    engine: str
    version: str
    cuda: str | None
    channel: str | None = None
    image: str | None = None

    @property
    def label(self) -> str:
        """``torch 2.14.1 (CUDA 12.6)``."""
        return f"{self.engine} {self.version}" + (f" (CUDA {self.cuda})" if self.cuda else "")


def steps(choice: Choice) -> tuple[Step, ...]:
    """Return the lines that install a choice."""
    values = {"version": choice.version, "channel": choice.channel, "choice": choice.label, "image": choice.image}
    if choice.engine == "ollama":
        return (
            step("Install Ollama {version}.", "curl -fsSL https://ollama.com/install.sh | OLLAMA_VERSION={version} sh",
                 risk="restarts Ollama", **values),
            step("Or take its image.", "docker pull ollama/ollama:{version}", **values),
        )
    if choice.engine == "torch" and choice.channel:
        return (step("Install {choice}, from PyTorch's own index.",
                     "pip install --force-reinstall torch=={version} "
                     "--index-url https://download.pytorch.org/whl/{channel}", **values),)
    if choice.engine == "torch":
        return (step("Install {choice}: it is the build that PyPI serves.",
                     "pip install --force-reinstall torch=={version}", **values),)
    if choice.engine == "sglang":
        return (step("Install {choice} in a fresh environment.", "pip install sglang=={version}", **values),)
    if choice.engine == "vllm" and choice.image and choice.channel:
        return (step("Or try the image of {choice}: the driver takes it, its code for this GPU is not in the matrices.",
                     "docker pull {image}", **values),)
    if choice.engine == "vllm":
        line = (
            step("Install {choice} in a fresh environment; PyTorch's index has the build with code for this GPU.",
                 "pip install vllm=={version} --extra-index-url https://download.pytorch.org/whl/{channel}", **values)
            if choice.channel else
            step("Install {choice} in a fresh environment.", "pip install vllm=={version}", **values)
        )
        return (line, step("Or take its image.", "docker pull {image}", **values)) if choice.image else (line,)
    return (step("Take the image of {choice}.", "docker pull {image}", **values),) if choice.image else ()


def best(engine: str, here: Machinery, *, newer_than: str | None = None) -> Choice | None:
    """Return the newest release of an engine that runs here, as far as the matrices tell; None when none does."""
    for each in candidates(engine, here):
        if newer_than is None or _older(newer_than, each.version):
            return each
    return None


def candidates(engine: str, here: Machinery) -> Iterator[Choice]:
    """Yield every release of an engine that runs here, the newest first."""
    found = {"torch": _torch, "vllm": _vllm, "sglang": _sglang, "ollama": _ollama}.get(engine)
    return found(here) if found else iter(())


def other_vllm_image(version: str, here: Machinery) -> Choice | None:
    """Return the image of the same vLLM for an older CUDA, where one is published and the driver takes it."""
    row = vllm.release(version)
    for cuda in row.alternate_cuda if row else ():
        floor = row.min_compute_capability if row else (0, 0)
        newer = all(each.capability >= floor for each in here.cards)
        # Images with the CUDA in their tag began with the CUDA 13 wheels.
        if row and row.cuda.startswith("13") and newer and driver_runs(here, cuda, None):
            digits = cuda.replace(".", "")
            return Choice("vllm", row.version, cuda, f"cu{digits}", f"vllm/vllm-openai:v{row.version}-cu{digits}")
    return None


def runs(need: EngineRequirement | None, here: Machinery) -> bool:
    """Tell whether a release surely runs: driver, lowest capability, and machine code or PTX that compiles."""
    if need is None or not driver_runs(here, need.cuda, need.min_driver):
        return False
    lowest, floor = here.lowest, need.min_compute_capability
    if lowest is None or (floor is not None and lowest < floor):
        return False
    return _all_reached(need.arch_list, need.cuda, here.cards, here.ceiling) if need.arch_list else floor is not None


def _all_reached(archs: tuple[str, ...], cuda: str | None, cards: tuple[Card, ...], ceiling: str | None) -> bool:
    return all(reach(archs, cuda, each, ceiling) in ("native", "ptx") for each in cards)


def _torch(here: Machinery) -> Iterator[Choice]:
    for row in reversed(pytorch.releases()):
        need = engine_requirement("torch", row.version, machine=here.machine)
        if need is not None and need.cuda is not None and runs(need, here):
            yield Choice("torch", row.version, need.cuda)
            continue
        if here.machine == "x86_64" and (index := torch_index(row.version, here)) is not None:
            yield Choice("torch", row.version, index[0], index[1])


def torch_index(version: str, here: Machinery) -> tuple[str, str] | None:
    """Return CUDA and index name (``12.6``, ``cu126``) of a release's build that runs here, the newest CUDA first."""
    builds = sorted(reversed(pytorch.variants(version)), key=lambda v: not v.stable)
    for build in builds:
        if driver_runs(here, build.cuda, None) and _all_reached(build.arch_list, build.cuda, here.cards, here.ceiling):
            return build.cuda, f"cu{build.cuda.replace('.', '')}"
    return None


def _vllm(here: Machinery) -> Iterator[Choice]:
    for row in reversed(vllm.releases()):
        if not row.arch_list or not runs(engine_requirement("vllm", row.version), here):
            continue
        torch = engine_requirement("torch", row.torch)
        if torch is not None and not runs(torch, here):
            index = torch_index(row.torch, here)
            if index is None:
                continue
            yield Choice("vllm", row.version, row.cuda, index[1])
            continue
        yield Choice("vllm", row.version, row.cuda, None, f"vllm/vllm-openai:v{row.version}")


def _sglang(here: Machinery) -> Iterator[Choice]:
    for row in reversed(sglang.releases()):
        torch = engine_requirement("torch", row.torch) if row.torch else None
        if runs(engine_requirement("sglang", row.version), here) and torch is not None and runs(torch, here):
            yield Choice("sglang", row.version, row.cuda)


def _ollama(here: Machinery) -> Iterator[Choice]:
    """The newest, then the last release before each step up of the driver floor."""
    table = ollama.table()
    if here.lowest is None or here.lowest < table.min_compute_capability or here.driver is None:
        return
    for version in (table.known_until, *_last_before_each_step()):
        rule = ollama.driver_rule(version)
        floor = rule.floor(here.lowest) if rule else None
        oldest = next(iter(ollama.runners(version)), None)
        if driver_runs(here, oldest.cuda if oldest else None, floor or "450.80.02"):
            yield Choice("ollama", version, oldest.cuda if oldest else None, None, f"ollama/ollama:{version}")


def _last_before_each_step() -> Iterator[str]:
    """Releases that the table names somewhere, so that they exist."""
    table = ollama.table()
    named = {row.since for row in table.variables} | {row.since for row in table.models}
    named |= {row.last for row in table.variables if row.last} | {row.since for row in table.llama_cpp}
    named |= {row.since for row in table.runners if row.since}
    for rule in reversed(table.drivers):
        older = [v for v in named if rule.since and _older(v, rule.since)]
        if older:
            yield max(older, key=lambda v: str(parse(v)) if parse(v) is None else parse(v))  # type: ignore[arg-type,return-value]


def _older(version: str, than: str) -> bool:
    have, limit = parse(version), parse(than)
    return have is not None and limit is not None and have < limit


def newest_bundled_driver(cuda: str) -> str | None:
    """Return the driver that came with the first toolkit of a CUDA version: it has that CUDA's own compiler."""
    number = ".".join(cuda.split(".")[:2])
    row = cuda_driver.toolkit(number)
    return row.bundled_driver if row else None
