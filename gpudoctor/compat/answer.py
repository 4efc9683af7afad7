"""The answer: the stack's own checks on what was asked, and what to install, with the line that does it."""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from gpudoctor.checking.finding import Finding, Result, Step, noted, saw, step, unknown
from gpudoctor.checking.plugins import Catalogue
from gpudoctor.checking.policy import Policy
from gpudoctor.checking.run import run_checks
from gpudoctor.checking.target import EngineWish, Target
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.builds import Build, asked
from gpudoctor.judging.choices import Choice, candidates, other_vllm_image, steps
from gpudoctor.judging.cuda_fit import Machinery, machinery
from gpudoctor.judging.remedies import install_driver

#: Checks that decide whether a release runs.
DECIDING = ("engine.driver-too-old", "engine.gpu-unsupported", "torch.driver-too-old", "torch.arch-missing",
            "torch.cpu-only", "stack.cuda-too-new")
_MODEL = ("engine.model-unknown", "engine.quant-unsupported", "engine.dtype-unsupported",
          "engine.attention-unsupported", "engine.parallel-indivisible")
CHECKS = (*DECIDING, "stack.ptx-too-new", "driver.gpu-unsupported", *_MODEL)
ANSWER = "compat.answer"
_ENGINES = ("torch", "vllm", "sglang", "ollama")


def answer(wish: EngineWish, model: str | None, snapshot: Snapshot, policy: Policy, catalogue: Catalogue,
           gpus: tuple[int, ...] | None = None) -> list[Result]:
    """Return the judgement of every check that applies, and what to install as a result of its own."""
    target = Target(stage="pre-install", engines=(wish,), model=model, gpus=gpus)
    here = machinery(snapshot.gpus, snapshot.driver, snapshot.pci, snapshot.host, target)
    if wish.version is None and wish.image is None:
        # "Which one?" is answered with the newest that runs, not with a refusal of the newest.
        choice = next(_running(wish.name, _any_driver(here), target, snapshot, policy, catalogue), None)
        if choice is not None:
            local = f"+{choice.channel}" if choice.channel and choice.engine == "torch" else ""
            target = replace(target, engines=(EngineWish(choice.engine, choice.version + local),))
    results = _judged(target, snapshot, policy, catalogue)
    build = asked(target, here)[0]
    finding = _answer(build, results, target, snapshot, here, policy, catalogue)
    return [Result(id=ANSWER, finding=finding), *results]


def _judged(target: Target, snapshot: Snapshot, policy: Policy, catalogue: Catalogue) -> list[Result]:
    chosen = [each for name in CHECKS if (each := catalogue.get(name)) is not None]
    return [r for r in run_checks(chosen, snapshot, target, policy) if r.status != "skip"]


def _blocked(results: Iterable[Result]) -> bool:
    return any(r.status == "fail" for r in results)


def _answer(build: Build, results: list[Result], target: Target, snapshot: Snapshot, here: Machinery, policy: Policy,
            catalogue: Catalogue) -> Finding:
    need = build.need
    seen = (saw("GPUs", tuple(dict.fromkeys(f"{c.name} ({c.dotted})" for c in here.cards)), "matrices, NVML"),
            saw("driver", here.driver, "asked, NVML"), saw("CUDA of the driver", here.ceiling, "matrices"),
            saw("CUDA of the build", build.cuda, build.where),
            saw("PyTorch that it brings", need.torch if need else None, build.where),
            saw("Python that it runs on", need.requires_python if need else None, build.where),
            saw("how this was established", need.confidence if need else None, need.source.url if need else "matrices"))
    if not _blocked(results):
        if need is None or any(r.status == "unknown" and r.id in DECIDING for r in results):
            return unknown("host", "whether {label} runs here is not known: the matrices do not tell",
                           label=build.label, evidence=seen,
                           fix=_others(build, target, snapshot, here, policy, catalogue))
        if not here.cards:
            return noted("host", "{label} runs on these GPUs with ROCm", label=build.label, evidence=seen,
                         fix=steps(Choice("ollama", build.version or "", None)) if build.engine == "ollama" else (
                             step("Take its build for ROCm; the wheel on PyPI is for CUDA."),))
        if any(r.id == "driver.gpu-unsupported" and r.status in ("fail", "warn") for r in results):
            return noted("host", "{label} has code for these GPUs; driver {driver} may not know them",
                         label=build.label, driver=here.driver, evidence=seen,
                         fix=(*install_driver(snapshot.host), *_install(build, here)))
        if any(r.status == "warn" for r in results):
            return noted("host", "{label} runs here with the limits that the warnings name", label=build.label,
                         evidence=seen, fix=_install(build, here))
        if here.driver is None and build.cuda is not None:
            return noted("host", "{label} runs on these GPUs with NVIDIA driver {floor} or newer", label=build.label,
                         floor=need.min_driver, evidence=seen, fix=_install(build, here))
        return noted("host", "{label} runs here", label=build.label, evidence=seen, fix=_install(build, here))
    ways = _others(build, target, snapshot, here, policy, catalogue)
    floor = need.min_driver if need else None
    old = any(r.status == "fail" and r.id.endswith("driver-too-old") for r in results)
    drivers = (step("Or bring the driver to {floor} or newer.", floor=floor), *install_driver(snapshot.host)) if (
        old and floor) else ()
    # The checks' own findings fail; this one adds what would run.
    if not ways and not drivers:
        return noted("host", "{label} does not run here, and neither does any release of {engine} that the matrices "
                     "know", label=build.label, engine=build.engine, evidence=seen)
    return noted("host", "{label} does not run here; this would", label=build.label, evidence=seen,
                 fix=(*ways, *drivers))


def _install(build: Build, here: Machinery) -> tuple[Step, ...]:
    if build.image is not None:
        return (step("Take the image.", "docker pull {image}", image=build.image),)
    version, local = (build.version or "").partition("+")[::2]
    exact = next((c for c in candidates(build.engine, _any_driver(here)) if c.version == version), None)
    if local and build.engine == "torch":
        return steps(Choice("torch", version, build.cuda, local))
    if local and build.engine == "vllm":
        return (step("Take the image of that build.", "docker pull vllm/vllm-openai:v{version}-{channel}",
                     version=version, channel=local),)
    if build.engine == "tgi":
        return (step("Take its image.", "docker pull ghcr.io/huggingface/text-generation-inference:{version}",
                     version=version),)
    return steps(exact) if exact is not None else steps(Choice(build.engine, version, build.cuda))


def _any_driver(here: Machinery) -> Machinery:
    return here if here.driver is not None else here._replace(driver="9999", ceiling="99.9")


def _others(build: Build, target: Target, snapshot: Snapshot, here: Machinery, policy: Policy, catalogue: Catalogue
            ) -> tuple[Step, ...]:
    """The same release for another CUDA, the newest release of the engine that runs, else another engine."""
    if build.engine == "cuda":
        return (step("Take an image of CUDA {ceiling} or older, or of the same major version.", ceiling=here.ceiling),)
    here = _any_driver(here)
    found: list[Step] = []
    for engine in dict.fromkeys((build.engine, "ollama") if target.model or build.engine != "torch" else ("torch",)):
        choice = next(_running(engine, here, target, snapshot, policy, catalogue), None)
        if choice is not None and choice.version != build.version:
            found += steps(choice)
            if engine == build.engine:
                break
    same = other_vllm_image(build.version or "", here) if build.engine == "vllm" and build.image is None else None
    if same is not None and target.model is None:
        found += steps(same)
    return tuple(found)


def _running(engine: str, here: Machinery, target: Target, snapshot: Snapshot, policy: Policy, catalogue: Catalogue
             ) -> Iterator[Choice]:
    if engine not in _ENGINES:
        return
    for choice in candidates(engine, here):
        if _runs(choice, target, snapshot, policy, catalogue):
            yield choice


def _runs(choice: Choice, target: Target, snapshot: Snapshot, policy: Policy, catalogue: Catalogue) -> bool:
    if target.model is None:
        return True
    image = choice.image if choice.channel and choice.engine == "vllm" else None
    wish = EngineWish(choice.engine, choice.version, image)
    chosen = [each for name in _MODEL if (each := catalogue.get(name)) is not None]
    results = run_checks(chosen, snapshot, replace(target, engines=(wish,)), policy)
    return not any(r.status in ("fail", "unknown") for r in results if r.id != "engine.parallel-indivisible")
