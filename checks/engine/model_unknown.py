"""This engine version is older than the model's architecture.

## Why it matters
The engine stops with "Model architectures [...] are not supported for now" or "unknown model architecture", after the
weights were downloaded. gpt-oss, for one, needs vLLM 0.10.1, Ollama 0.11.0 or SGLang 0.5.1; guides that pin an older
release cannot have served it.

## How to fix
Upgrade the engine to the release that the finding names, or newer.

## References
- https://docs.vllm.ai/en/stable/models/supported_models.html
- https://github.com/ollama/ollama/releases
- https://docs.sglang.ai/supported_models/generative_models.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Step, Target, check, failed, passed, saw, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.asked_model import chosen_engines, known_since, model_for
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.by_build import by_build
from gpudoctor.judging.choices import Choice, best, steps
from gpudoctor.judging.cuda_fit import Machinery, machinery
from gpudoctor.matrices.versions import within


@check()
def model_unknown(
    engines: Engines | Unavailable,
    python_envs: PythonEnvs | Unavailable,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Compare the release with the first one that has the model's architecture."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    yield from by_build(chosen_engines(builds), target, here, _judge)


def _judge(build: Build, target: Target, here: Machinery) -> Finding:
    model = model_for(target, build.engine)
    since = known_since(build, model)
    seen = (saw("architecture", model.architecture, "catalogue"), saw("first release with it", since.since,
            since.source), saw("release", build.version, build.where))
    if since.knows:
        return passed(build.subject, "{label} knows {architecture}, since {since}", label=build.label,
                      architecture=model.architecture, since=since.since, evidence=seen)
    if since.knows is None:
        return unknown(build.subject, "the matrices do not tell whether {label} knows {architecture}",
                       label=build.label, architecture=model.architecture, evidence=seen)
    return failed(build.subject, "{label} does not know {architecture}, the architecture of {model}; {engine} {since} "
                  "is the first that does", label=build.label, architecture=model.architecture, model=model.name,
                  engine=build.engine, since=since.since, evidence=seen, fix=_upgrade(build, since.since, here))


def _upgrade(build: Build, since: str | None, here: Machinery) -> tuple[Step, ...]:
    choice = best(build.engine, here)
    if choice is not None and since is not None and within(choice.version, since, None):
        return steps(choice)
    other = best("ollama", here) if build.engine != "ollama" else None
    words = step("No release of {engine} that knows the model runs on this driver and these GPUs, as far as the "
                 "matrices tell.", engine=build.engine) if here.cards else step(
                 "Install {engine} {since} or newer.", engine=build.engine, since=since)
    return (words, *_of(other))


def _of(choice: Choice | None) -> tuple[Step, ...]:
    return steps(choice) if choice else ()
