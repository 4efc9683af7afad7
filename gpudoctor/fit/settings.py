"""What the user asked for: the flags of `gpudoctor fit`, and how sizes and versions are written."""

import re
from typing import NamedTuple

from gpudoctor.fit.model import Unusable

GIB = 2**30
MIB = 2**20

ENGINES = ("ollama", "llama.cpp", "vllm", "sglang", "tgi", "transformers", "ktransformers")

Version = tuple[int, ...]

# Patterns are compiled when they are first used: most runs use none, and every start pays for the others.
_SIZE = r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?"
_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_COUNT = r"(\d+(?:\.\d+)?)\s*([km]?)"


class Settings(NamedTuple):
    """The flags as given; None everywhere the engine's own default applies."""

    engine: str | None = None
    version: str | None = None
    quant: str | None = None
    dtype: str | None = None
    context: int | None = None
    """Tokens per request; 0 asks for the largest that fits."""
    parallel: int | None = None
    parallel_automatic: bool = False
    """The engine chose the number of slots and may take one instead."""
    max_num_seqs: int | None = None
    prompt_tokens: int | None = None
    kv_cache_type: str | None = None
    flash_attention: bool | None = None
    batch: int | None = None
    ubatch: int | None = None
    gpu_layers: int | None = None
    cpu_moe: bool = False
    cpu_moe_layers: int = 0
    """Layers whose experts llama.cpp's ``--fit`` leaves on the CPU: an answer, no flag."""
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
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE) if len(text) <= 40 else None
    if not match:
        raise Unusable(f"{text[:40]!r} is not a size", hint="Write it as 22.5GiB, 24GB or a number of bytes.")
    number, prefix, binary = match.groups()
    decimal = text.strip().lower().endswith("b") and not binary and prefix
    unit: int = (1000 if decimal else 1024) ** _POWER[prefix.lower()]
    return round(float(number) * unit)


def tokens(text: str) -> int:
    """Tokens of a written count: ``32768``, ``32k`` (32768), ``1m``; ``65k`` and ``131k`` are rounded powers of two.

    Raises Unusable when it is not one or is not positive.
    """
    match = re.fullmatch(_COUNT, text.strip(), re.IGNORECASE) if len(text) <= 20 else None
    if not match:
        raise Unusable(f"{text[:20]!r} is not a number of tokens", hint="Write it as 32768 or 32k.")
    count = int(float(match[1]) * 1024 ** _POWER[match[2].lower()])
    if match[2].lower() == "k":
        rounded = (2**power for power in range(10, 31) if 2**power // 1000 == float(match[1]))
        count = next(rounded, count)
    if not 0 < count <= 2**31:
        raise Unusable(f"{text[:20]!r} tokens cannot be judged", hint="Give a context between 1 and 2147483648.")
    return count


def version_tuple(text: str | None) -> Version | None:
    """The leading numbers of a version (``0.11.5`` -> (0, 11, 5), ``b2900`` -> (2900,)), None without any.

    Release candidates count as their release: their memory rules are the same.
    """
    if text is None:
        return None
    numbers: list[int] = []
    for part in text.strip().lstrip("vb")[:64].split("."):
        digits = 0
        while digits < len(part) and part[digits] in "0123456789":
            digits += 1
        if digits:
            numbers.append(int(part[:digits]))
        if digits < len(part) or not digits:
            break
    return tuple(numbers) or None
