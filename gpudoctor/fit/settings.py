"""What the user asked for: the flags of `gpudoctor fit`, and how sizes and versions are written."""

import re
from typing import NamedTuple

from gpudoctor.fit.model import Unusable

GIB = 2**30
MIB = 2**20

ENGINES = ("ollama", "llama.cpp", "vllm", "sglang", "tgi", "transformers", "ktransformers")

Version = tuple[int, ...]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([km]?)", re.IGNORECASE)


class Settings(NamedTuple):
    """The flags as given; None everywhere the engine's own default applies."""

    engine: str | None = None
    version: str | None = None
    quant: str | None = None
    dtype: str | None = None
    context: int | None = None
    """Tokens per request; 0 asks for the largest that fits."""
    parallel: int | None = None
    max_num_seqs: int | None = None
    prompt_tokens: int | None = None
    kv_cache_type: str | None = None
    flash_attention: bool | None = None
    batch: int | None = None
    ubatch: int | None = None
    gpu_layers: int | None = None
    cpu_moe: bool = False
    allow_partial: bool = False
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    gpu_memory_utilization: float | None = None
    enforce_eager: bool = False
    max_num_batched_tokens: int | None = None


def size(text: str) -> int:
    """Bytes of a written size: ``22.5GiB``, ``1TiB``, ``24GB``, ``512M`` (K, M, G alone are powers of 1024).

    Raises Unusable when it is not one.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match or len(text) > 40:
        raise Unusable(f"{text[:40]!r} is not a size", hint="Write it as 22.5GiB, 24GB or a number of bytes.")
    number, prefix, binary = match.groups()
    decimal = text.strip().lower().endswith("b") and not binary and prefix
    unit: int = (1000 if decimal else 1024) ** _POWER[prefix.lower()]
    return round(float(number) * unit)


def tokens(text: str) -> int:
    """Tokens of a written count: ``32768``, ``32k`` (32768), ``1m``.

    Raises Unusable when it is not one or is not positive.
    """
    match = _COUNT.fullmatch(text.strip())
    if not match or len(text) > 20:
        raise Unusable(f"{text[:20]!r} is not a number of tokens", hint="Write it as 32768 or 32k.")
    count = int(float(match[1]) * 1024 ** _POWER[match[2].lower()])
    if not 0 < count <= 2**31:
        raise Unusable(f"{text[:20]!r} tokens cannot be judged", hint="Give a context between 1 and 2147483648.")
    return count


def version_tuple(text: str | None) -> Version | None:
    """The leading numbers of a version (``0.11.5`` -> (0, 11, 5), ``b2900`` -> (2900,)), None without any.

    Release candidates count as their release: their memory rules are the same.
    """
    if text is None:
        return None
    match = re.match(r"[vb]?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in match[1].split(".")) if match else None
