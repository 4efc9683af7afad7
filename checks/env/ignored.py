"""A variable is set that this engine, or this release of it, never reads.

## Why it matters
It looks like a setting and does nothing: guides recommend `OLLAMA_NUM_GPU_LAYERS` and `OLLAMA_NUM_CTX`, which no
release of Ollama ever read, and others came with a later release or went with one. The engine runs with its defaults.

## How to fix
Use the knob that the finding names; for Ollama as a service set it with `systemctl edit ollama`.

## References
- https://github.com/ollama/ollama/blob/main/envconfig/config.go
- https://github.com/ollama/ollama/blob/main/docs/faq.mdx
- https://github.com/ollama/ollama/blob/main/docs/modelfile.mdx
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.host import Host
from gpudoctor.judging.ollama_variables import judged
from gpudoctor.matrices import ollama


@check()
def ignored(host: Host, engines: Engines | Unavailable, target: Target) -> Iterator[Finding]:
    """Compare every OLLAMA_ variable with those that releases read."""
    names = sorted(name for name in host.environment if name.startswith("OLLAMA_"))
    if not names:
        yield skipped("host", "no variable of an engine whose settings the matrices know is set")
        return
    version, where = _version(engines, target)
    fine: list[str] = []
    for name in names:
        finding = _judge(name, host.environment[name], version, where)
        if finding is None:
            fine.append(name)
        else:
            yield finding
    if fine:
        yield passed("host", "Ollama {version} reads {names}", version=version or ollama.table().known_until,
                     names=tuple(fine), evidence=saw("variables", tuple(fine), "environment"))


def _version(engines: Engines | Unavailable, target: Target) -> tuple[str | None, str]:
    for wish in target.engines:
        if wish.name == "ollama" and wish.version is not None:
            return wish.version, "--for"
    for each in () if isinstance(engines, Unavailable) else engines.of("ollama"):
        if each.version is not None:
            return each.version, each.path
    return None, "matrices"


def _judge(name: str, value: str, version: str | None, where: str) -> Finding | None:
    seen = (saw(name, value, "environment"), saw("Ollama", version, where))
    unset = step("Unset it where it is set, for this shell:", "unset {name}")
    said = judged(name, version)
    if said.verdict == "never":
        return warned("host", "{name} is set, and no release of Ollama ever read it: what works is {instead}",
                      name=name, instead=said.instead, evidence=seen,
                      fix=(step("Use what works: {instead}."), step("Unset it, for this shell:", "unset {name}")))
    if said.verdict == "not-recorded":
        return noted("host", "{name} is set; whether Ollama {version} reads it is not recorded", name=name,
                     version=version, evidence=seen)
    if said.verdict == "misspelt":
        return warned("host", "{name} is set, and no release of Ollama up to {last} reads it; {near} exists",
                      name=name, last=said.release, near=said.instead, evidence=seen,
                      fix=step("Use the name that exists.", "unset {name}; export {near}={value}", near=said.instead,
                               value=value, name=name))
    if said.verdict == "unknown":
        return warned("host", "{name} is set, and no release of Ollama up to {last} reads it", name=name,
                      last=said.release, evidence=seen, fix=unset)
    if said.verdict == "not-yet":
        return warned("host", "{name} is set, and Ollama {version} does not read it yet: {since} is the first",
                      name=name, version=version, since=said.release, evidence=seen,
                      fix=step("Upgrade Ollama to {since} or newer.", "curl -fsSL https://ollama.com/install.sh | sh",
                               risk="restarts Ollama"))
    if said.verdict == "no-longer":
        return warned("host", "{name} is set, and Ollama {version} no longer reads it: {last} was the last", name=name,
                      version=version, last=said.release, evidence=seen, fix=unset)
    return None
