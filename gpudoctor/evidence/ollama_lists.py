"""``ollama ps`` and ``ollama list``: which models are in memory, where, with what context, and which lie on disk.

Sample input:

    NAME            ID              SIZE     PROCESSOR          CONTEXT    UNTIL
    gpt-oss:120b    a951a23b46a1    68 GB    31%/69% CPU/GPU    8192       4 minutes from now
"""

import re

import msgspec

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.serving import Endpoint, ServedModel, Serving
from gpudoctor.facts.signatures import PASTED_OLLAMA

_MAX_MODELS = 256
_ROW = re.compile(
    r"\s{0,4}(?P<name>[\w.\-/:@]{1,200})\s+(?P<id>[0-9a-f]{12}|-)\s+(?P<size>\d{1,6}(?:\.\d{1,2})?) (?P<unit>[KMGT]?B)"
    r"\s+(?:(?P<where>(?P<cpu>\d{1,3})%/(?P<gpu>\d{1,3})% CPU/GPU|100% [CG]PU|Unknown)\s+"
    r"(?:(?P<context>\d{1,9})\s{2,})?)?(?P<until>\S.{0,40}?)\s*$"
)
#: Ollama counts in thousands.
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def read(text: str, line: int, file: str) -> Reading | None:
    """Read one of the two lists; None without a row."""
    loaded = "PROCESSOR" in text.split("\n", 1)[0] or "PU" in text
    found = [_model(row) for row in (_ROW.match(row) for row in text.split("\n")[:_MAX_MODELS]) if row is not None]
    head_only = text.strip().startswith("NAME")
    if not found and not head_only:
        return None
    endpoint = Endpoint(url=PASTED_OLLAMA, origin="paste", engine="ollama", models=tuple(found))
    name = "ollama-ps" if loaded else "ollama-list"
    return Reading(name=name, sections={"serving": Serving(endpoints=(endpoint,))}, context=frozenset({"engine:llama"}))


def _model(row: "re.Match[str]") -> ServedModel:
    size = round(float(row["size"]) * _UNITS[row["unit"]])
    where = row["where"]
    if where is None:
        return ServedModel(name=row["name"], loaded=False, file_bytes=size)
    share = {"100% GPU": 1.0, "100% CPU": 0.0}.get(where, int(row["gpu"]) / 100 if row["gpu"] else None)
    return ServedModel(
        name=row["name"],
        size_bytes=size,
        gpu_bytes=None if share is None else round(size * share),
        context=int(row["context"]) if row["context"] else None,
    )


def completed(serving: Serving, gpus: object, version: str | None) -> Serving:
    """Add what other pieces tell: the version, and which processes on the GPUs are Ollama's."""
    listed = gpus.gpus if isinstance(gpus, Gpus) else ()
    pids = {
        each.pid for gpu in listed if isinstance(gpu.processes, tuple)
        for each in gpu.processes if "ollama" in (each.name or "").lower()
    }  # fmt: skip
    return msgspec.structs.replace(
        serving,
        endpoints=tuple(
            msgspec.structs.replace(each, version=each.version or version, pids=each.pids or tuple(sorted(pids))[:1024])
            if each.url == PASTED_OLLAMA else each for each in serving.endpoints
        ),
    )  # fmt: skip


KIND = Kind(
    name="ollama-ps",
    begins=r"\s{0,4}(?:NAME\s+ID\s+SIZE\s+(?:PROCESSOR|MODIFIED)|[\w.\-/:@]{1,200}\s+[0-9a-f]{12}\s+"
    r"\d{1,6}(?:\.\d{1,2})? [KMGT]?B\s+(?:\d{1,3}%|Unknown))",
    extent=lambda: While(re.compile(rf"\s{{0,4}}NAME\s+ID\s+SIZE|{_ROW.pattern}")),
    read=read,
    words=("cpu/gpu", "% gpu", "% cpu"),
)
