"""The model named with --model, as far as the shipped catalogue tells, and what engines say of its kind.

Only the catalogue is asked: a check touches neither files nor network.
"""

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor.checking.needs import NotKnown
from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.judging.builds import Build
from gpudoctor.matrices import ollama, sglang, vllm
from gpudoctor.matrices.versions import within

if TYPE_CHECKING:
    from gpudoctor.fit.model import Model

#: vLLM's method for each quantization of a model.
METHODS = {
    "FP8": "fp8", "AWQ": "awq", "GPTQ-Int4": "gptq", "GPTQ-Int8": "gptq", "W8A8": "compressed-tensors-int8",
    "W4A16": "compressed-tensors-wna16", "NF4": "bitsandbytes", "INT8": "bitsandbytes", "MXFP4": "mxfp4",
    "NVFP4": "nvfp4",
}  # fmt: skip
#: Families that vLLM refuses to run in float16: gpt-oss computes MXFP4 in bfloat16 alone, Gemma 3 overflows.
_BFLOAT16_ONLY = frozenset({"gptoss", "gemma3", "gemma3n"})
_SUFFIX = re.compile(r"(ForCausalLM|ForConditionalGeneration|LMHeadModel|Model)$")


def model_for(target: Target, engine: str) -> "Model":
    """Return the model in the form that an engine reads.

    Raises:
        NotKnown: No model was named, or the catalogue lacks it.
    """
    if target.model is None:
        raise NotKnown(Unavailable("no model was named; try --model openai/gpt-oss-20b", "not-asked"))
    from gpudoctor.fit.model import Unusable
    from gpudoctor.fit.sources.names import parse
    from gpudoctor.fit.sources.resolve import from_catalogue

    parsed = parse(target.model)
    try:
        found = from_catalogue(parsed, None, None, "gguf" if engine == "ollama" else "safetensors") if parsed else None
    except Unusable as problem:
        raise NotKnown(Unavailable(problem.message, "not-applicable")) from None
    if found is None:
        raise NotKnown(Unavailable(f"the catalogue does not know the model {target.model[:100]}", "not-applicable"))
    return found


def family(model: "Model") -> str:
    """Return the architecture without signs: ``gptoss``, ``qwen3moe``."""
    return re.sub(r"[^a-z0-9]", "", model.architecture.lower())


def bfloat16_only(model: "Model") -> bool:
    """True for families that an engine does not run in float16."""
    return family(model) in _BFLOAT16_ONLY


class Since(NamedTuple):
    """Whether a release knows the model's architecture (None: not known), and the first that does."""

    knows: bool | None
    since: str | None
    source: str


def known_since(build: Build, model: "Model") -> Since:
    """Ask the matrices since when an engine has the model's architecture."""
    version = build.version or ""
    if build.engine == "ollama":
        name = family(model)
        row = next((r for r in ollama.table().models if re.sub(r"[^a-z0-9]", "", r.architecture) == name), None)
        if row is None or not ollama.is_known(version):
            return Since(None, row.since if row else None, "matrices")
        have = within(version, row.since, None)
        return Since(have or (None if row.or_earlier else False), row.since, ollama.table().source(row.source).title)
    if build.engine == "vllm":
        for group in vllm.table().models:
            for name in group.architectures:
                if _plain(name) == family(model):
                    source = vllm.table().source(group.source).title
                    return Since(vllm.knows_model(name, version), group.since, source)
    if build.engine == "sglang":
        for group in sglang.table().models:
            for name in group.architectures:
                if _plain(name) == family(model):
                    source = sglang.table().source(group.source).title
                    return Since(sglang.knows_model(name, version), group.since, source)
    return Since(None, None, "matrices")


@functools.lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _SUFFIX.sub("", name).lower())


def chosen_engines(builds: tuple[Build, ...]) -> tuple[Build, ...]:
    """Return the builds that load models, without PyTorch itself and CUDA base images.

    Raises:
        NotKnown: There is none.
    """
    found = tuple(each for each in builds if each.engine in ("vllm", "sglang", "ollama", "tgi"))
    if not found:
        raise NotKnown(Unavailable("no engine was named or found; try --for vllm==0.33.0", "not-asked"))
    return found
