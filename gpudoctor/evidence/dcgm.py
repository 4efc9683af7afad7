"""``dcgmi diag``, as JSON (-j) or as a table: which tests ran on which GPU, and what they said. DCGM 2 to 4."""

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.signatures import Diagnostic
from gpudoctor.probes.without_secrets import plain_text

_HEADS = ("DCGM GPU Diagnostic", "DCGM Diagnostic")
_MAX_TESTS = 4096
_RESULT = re.compile(r"(Pass|Fail|Warn|Skip)(?: - (?:All|GPUs?: ([\d, ]{1,100})))?\s*$")
_Status = Literal["pass", "fail", "warn", "skip"]


def read(told: Any, line: int) -> Reading | None:
    """Read every result; None for another document."""
    inner = next((told[head] for head in _HEADS if isinstance(told, dict) and head in told), None)
    if not isinstance(inner, dict):
        return None
    found = [each for test in _tests(inner) for each in _results(test)]
    return Reading(name="dcgm-diagnostic", diagnostics=tuple(found[:_MAX_TESTS]))


def read_table(text: str, line: int, file: str) -> Reading | None:
    """Read the table: a row's result is of all GPUs, or of those that it or the next row names."""
    found: list[Diagnostic] = []
    name = ""
    for row in text.split("\n")[:_MAX_TESTS]:
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        if len(cells) != 2 or set(row) <= set("+-=| "):
            continue
        head, told = cells
        result = _RESULT.match(told)
        if head in ("Warning", "Info", "Error") or (not head and result is None):
            # A message goes on over rows, cut anywhere.
            if found and found[-1].status in ("fail", "warn"):
                words = ("".join(found[-1].words) + told)[:400]
                found[-1] = msgspec.structs.replace(found[-1], words=(words,))
        elif result is not None:
            name = head or name
            gpus = [int(number) for number in re.findall(r"\d{1,3}", result[2] or "")]
            status = _status(result[1])
            found += [Diagnostic(name=name, status=status, gpu=gpu) for gpu in gpus] if status in ("fail", "warn") \
                and gpus else [Diagnostic(name=name, status=status)]  # fmt: skip
    return Reading(name="dcgm-diagnostic", diagnostics=tuple(found)) if found else None


def _tests(inner: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for category in [inner, *_objects(inner.get("test_categories"))]:
        yield from _objects(category.get("tests"))


def _results(test: dict[str, Any]) -> Iterator[Diagnostic]:
    name = str(test.get("name", "?"))[:100]
    results = _objects(test.get("results"))
    for result in results:
        ids = result.get("gpu_ids", result.get("gpu_id", result.get("entity_id")))
        words = tuple(_text(each) for key in ("warnings", "warning", "info") for each in _listed(result.get(key)))
        status = _status(result.get("status"))
        # What holds for all GPUs is one result; a trouble of one names it.
        number = str(ids) if result.get("entity_group", "GPU") == "GPU" else ""
        gpu = int(number) if re.fullmatch(r"\d{1,3}", number) else None
        yield Diagnostic(name=name, status=status, gpu=gpu, words=words[:16])
    summary = test.get("test_summary")
    if not results and isinstance(summary, dict):
        yield Diagnostic(name=name, status=_status(summary.get("status")))


def _status(value: Any) -> _Status:
    """A word that is not known is no pass."""
    words: dict[str, _Status] = {"pass": "pass", "fail": "fail", "warn": "warn"}
    return words.get(str(value).strip().lower(), "skip")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)][:_MAX_TESTS] if isinstance(value, list) else []


def _listed(value: Any) -> list[Any]:
    return value[:16] if isinstance(value, list) else [value] if isinstance(value, str) else []


def _text(value: Any) -> str:
    words = value.get("warning", "") if isinstance(value, dict) else value
    return plain_text(" ".join(str(words).split()))[:400]


KIND = Kind("dcgm-diagnostic", r"\|\s*Diagnostic\s+\|\s*Result\s+\|", lambda: While(re.compile(r"\s*[|+]")),
            read_table, words=("| diagnostic",))
