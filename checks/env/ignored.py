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

import difflib
from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.host import Host
from gpudoctor.matrices import ollama
from gpudoctor.matrices.versions import release, within


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
    table = ollama.table()
    seen = (saw(name, value, "environment"), saw("Ollama", version, where))
    never = ollama.never_existed(name)
    if never is not None:
        return warned("host", "{name} is set, and no release of Ollama ever read it: what works is {instead}",
                      name=name, instead=never.instead, evidence=seen,
                      fix=(step("Use what works: {instead}."), step("Unset it, for this shell:", "unset {name}")))
    row = ollama.variable(name)
    if row is None:
        if version is not None and not ollama.is_known(version):
            return noted("host", "{name} is set; whether Ollama {version} reads it is not recorded", name=name,
                         version=version, evidence=seen)
        near = difflib.get_close_matches(name, [each.name for each in table.variables], 1, 0.8)
        if near:
            return warned("host", "{name} is set, and no release of Ollama up to {last} reads it; {near} exists",
                          name=name, last=table.known_until, near=near[0], evidence=seen,
                          fix=step("Use the name that exists.", "unset {name}; export {near}={value}", near=near[0],
                                   value=value, name=name))
        return warned("host", "{name} is set, and no release of Ollama up to {last} reads it", name=name,
                      last=table.known_until, evidence=seen,
                      fix=step("Unset it where it is set, for this shell:", "unset {name}"))
    if version is None or release(version) is None:
        return None
    if not within(version, row.since, None):
        return warned("host", "{name} is set, and Ollama {version} does not read it yet: {since} is the first",
                      name=name, version=version, since=row.since, evidence=seen,
                      fix=step("Upgrade Ollama to {since} or newer.", "curl -fsSL https://ollama.com/install.sh | sh",
                               risk="restarts Ollama"))
    if row.last is not None and not within(version, None, row.last) and release(version) != release(row.last):
        return warned("host", "{name} is set, and Ollama {version} no longer reads it: {last} was the last", name=name,
                      version=version, last=row.last, evidence=seen,
                      fix=step("Unset it where it is set, for this shell:", "unset {name}"))
    return None
