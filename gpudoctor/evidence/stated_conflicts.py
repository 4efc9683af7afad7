"""What two notes of a paste prove together, as lines that the table of signatures knows."""

import re
from collections.abc import Iterator

from gpudoctor.evidence.statements import Statements, version_in
from gpudoctor.matrices import cuda_driver, gpus
from gpudoctor.matrices.versions import at_least

#: The figures of a share of memory are rounded to two digits.
_ROUNDED_GIB = 0.01
_BFLOAT16 = re.compile(r"(?:torch\.)?(?:bfloat16|bf16)\b", re.IGNORECASE)
#: The first compute capability with bfloat16.
_BFLOAT16_FROM = 8
_MIG_ON = re.compile(r"(?:\d ?x ?)?(?:enabled|on|yes|\dg\.)", re.IGNORECASE)


def conflicts(stated: Statements) -> Iterator[str]:
    """Yield a line for each pair of statements that cannot go together. A CUDA that works refutes what is on it."""
    told = stated.told
    yield from _heads(told)
    yield from _free_memory(told)
    if not told.get("cuda works", "").lower().startswith("true"):
        yield from _bfloat16(told)
        yield from _slices(told)
        yield from _image(told)
        yield from _dropped(stated)
        yield from _flavour(stated)


def _heads(told: dict[str, str]) -> Iterator[str]:
    heads, parallel = _whole(told.get("heads")), _whole(told.get("tensor parallel"))
    if heads and parallel and heads % parallel:
        yield f"stated: {heads} attention heads for tensor parallel size {parallel}"


def _free_memory(told: dict[str, str]) -> Iterator[str]:
    free, total = _figure(told.get("gpu free gib")), _figure(told.get("gpu total gib"))
    share = _figure(told.get("gpu memory utilization"))
    if free and total and share and share <= 1 and free < total * share - _ROUNDED_GIB:
        yield f"stated: {free:g} of {total:g} GiB free for a share of {share:g}"


def _bfloat16(told: dict[str, str]) -> Iterator[str]:
    capability = _figure(told.get("capability"))
    if capability and capability < _BFLOAT16_FROM and _BFLOAT16.match(told.get("model dtype", "")):
        yield f"stated: bfloat16 on compute capability {capability:g}"


def _slices(told: dict[str, str]) -> Iterator[str]:
    parallel = _whole(told.get("tensor parallel"))
    if parallel and parallel > 1 and _MIG_ON.match(told.get("mig", "")):
        yield f"stated: tensor parallel size {parallel} over MIG slices"


def _image(told: dict[str, str]) -> Iterator[str]:
    wanted, there = version_in(told.get("image cuda", "")), version_in(told.get("driver cuda", ""))
    if wanted and there and "." in wanted and "." in there and not at_least(there, wanted):
        yield f"stated: image for CUDA {wanted} on a driver for CUDA {there}"


def _dropped(stated: Statements) -> Iterator[str]:
    driver = version_in(stated.told.get("driver", "")) or ""
    branch = cuda_driver.branch_of(driver)
    if branch is None or branch < 100 or "wsl" in stated.told.get("driver", "").lower():
        return
    for facts in stated.gpus.values():
        last = [row.max_driver_branch for row in gpus.by_name(facts.get("name", ""))]
        found = [each for each in last if each is not None]
        if found and len(found) == len(last) and max(found) < branch:
            yield f"stated: {facts['name']} on driver {driver}, last branch {max(found)}"
            return


def _flavour(stated: Statements) -> Iterator[str]:
    told = re.search(r"\b(?:(open)|proprietary|closed)\b", stated.told.get("driver", "").lower())
    if told is None:
        return
    refused = "unsupported" if told[1] else "required"
    for facts in stated.gpus.values():
        found = {row.open_kernel_modules for row in gpus.by_name(facts.get("name", ""))}
        if found == {refused}:
            yield f"stated: {facts['name']} under {told[1] or 'proprietary'} modules"
            return


def _whole(text: str | None) -> int | None:
    found = re.match(r"\s*(\d{1,4})\b(?!\.\d)", text or "")
    return int(found[1]) if found else None


def _figure(text: str | None) -> float | None:
    found = re.match(r"\s*(\d{1,6}(?:\.\d{1,4})?)\b", text or "")
    return float(found[1]) if found else None
