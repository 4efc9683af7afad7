"""A service sets a variable that its engine, or this release of it, never reads.

## Why it matters
It looks like a setting and does nothing: no release of Ollama ever read `OLLAMA_NUM_GPU_LAYERS` or `OLLAMA_NUM_CTX`,
others came with a later release or went with one, and vLLM reads none of Ollama's. The engine runs with its defaults.

## How to fix
Use the knob that the finding names.

## References
- https://github.com/ollama/ollama/blob/main/envconfig/config.go
- https://github.com/ollama/ollama/blob/main/docs/faq.mdx
- https://docs.vllm.ai/en/stable/configuration/env_vars.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.compose import Compose, Service, Variable
from gpudoctor.fit.compose_service import version_of
from gpudoctor.judging.composed import at, engine
from gpudoctor.judging.ollama_variables import judged


@check()
def ignored_variable(compose: Compose) -> Iterator[Finding]:
    """Compare every OLLAMA_ variable of services that run an engine with those that it reads."""
    for service in compose.services:
        name = engine(service)
        variables = [each for each in service.variables if each.name.startswith("OLLAMA_")]
        if name is None or not variables:
            yield skipped(service.subject, "sets no variable whose reader the matrices know")
            continue
        found = [finding for each in variables if (finding := _judge(service, name, each)) is not None]
        yield from found or [passed(service.subject, "{engine} reads {names}", engine=name,
                                    names=tuple(each.name for each in variables),
                                    evidence=saw("variables", tuple(v.name for v in variables), service.place.file))]


def _judge(service: Service, engine_name: str, variable: Variable) -> Finding | None:
    name, version = variable.name, version_of(service.image or "")
    seen = (saw(name, variable.value, f"{variable.place.file}:{variable.place.line}"),
            saw("image", service.image, service.place.file))
    remove = step("Take it out of the service's environment.")
    if engine_name != "ollama":
        return at(variable.place, warned(
            service.subject, "{name} is set, and {engine} reads none of Ollama's variables", name=name,
            engine=engine_name, evidence=seen, fix=remove))
    said = judged(name, version)
    if said.verdict == "never":
        return at(variable.place, warned(
            service.subject, "{name} is set, and no release of Ollama ever read it: what works is {instead}", name=name,
            instead=said.instead, evidence=seen, fix=(step("Use what works: {instead}."), remove)))
    if said.verdict == "misspelt":
        return at(variable.place, warned(
            service.subject, "{name} is set, and no release of Ollama up to {last} reads it; {near} exists", name=name,
            last=said.release, near=said.instead, evidence=seen, fix=step("Write {near} in its place.")))
    if said.verdict == "unknown":
        return at(variable.place, warned(
            service.subject, "{name} is set, and no release of Ollama up to {last} reads it", name=name,
            last=said.release, evidence=seen, fix=remove))
    if said.verdict == "not-yet":
        return at(variable.place, warned(
            service.subject, "{name} is set, and Ollama {version} does not read it yet: {since} is the first",
            name=name, version=version, since=said.release, evidence=seen,
            fix=step("Take the image ollama/ollama:{since} or newer.")))
    if said.verdict == "no-longer":
        return at(variable.place, warned(
            service.subject, "{name} is set, and Ollama {version} no longer reads it: {last} was the last", name=name,
            version=version, last=said.release, evidence=seen, fix=remove))
    if said.verdict == "not-recorded":
        return at(variable.place, noted(
            service.subject, "{name} is set; whether Ollama {version} reads it is not recorded", name=name,
            version=version, evidence=seen))
    return None
