"""What each layer of a GGUF file remembers, from its metadata.

Keys are those of gguf-py's constants and the defaults those of llama.cpp's loader (retrieved 2026-11-20):
which layers slide is in the file for some architectures and in llama.cpp for the others.
"""

from collections.abc import Callable
from typing import NamedTuple

from gpudoctor.fit.model import Attention, Cache, Latent, Unusable
from gpudoctor.fit.sources.gguf import Header

_EVERY = {"gemma2": 2, "gpt-oss": 2, "gptoss": 2, "gemma3": 6, "cohere2": 4, "exaone4": 4, "olmo2": 4,
          "gemma3n": 5, "smallthinker": 4, "exaone-moe": 4}  # fmt: skip
_CHUNKED = {"llama4": (8192, 4)}
_NOT_SLIDING = frozenset({"phi3", "llama", "qwen2", "starcoder2"})
_LAYERS = 4096
_ENCODERS = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "neo-bert", "modern-bert", "t5encoder"}
)
"""Embedding models: they look at the whole text at once and remember nothing."""


class Geometry(NamedTuple):
    """The shape of a model's memory."""

    caches: tuple[Cache, ...]
    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    latent: Latent | None
    unknown: tuple[str, ...]


def geometry(header: Header, present: dict[int, set[str]]) -> Geometry:
    """One cache for each block; `present` are the roles of the tensors in each block.

    Raises `Unusable` when the metadata lacks the number of blocks or heads.
    """
    arch = header.text("general.architecture")

    def number(key: str, default: int = 0) -> int:
        value = header.number(f"{arch}.{key}")
        if value is None:
            return default
        if not 0 <= value < 1 << 31:
            raise Unusable(f"{arch}.{key} is {value}", where=header.path)
        return value

    blocks = block_count(header)
    heads = _per_layer(header, f"{arch}.attention.head_count", blocks, 0)
    kv = _per_layer(header, f"{arch}.attention.head_count_kv", blocks, 0)
    if not any(kv) and header.metadata.get(f"{arch}.attention.head_count_kv") is None:
        kv = heads
    width = number("embedding_length")
    most = max(heads, default=0)
    key_dim = number("attention.key_length", width // most if most else 0)
    value_dim = number("attention.value_length", width // most if most else 0)
    unknown: list[str] = []
    sliding, window, kind = _sliding(header, arch, blocks, unknown)
    kv_rank, latent = number("attention.kv_lora_rank"), None
    rope = number("rope.dimension_count")
    if kv_rank and any("attn_kv_a_mqa" in roles for roles in present.values()):
        key = number("attention.key_length_mla", key_dim)
        value = number("attention.value_length_mla", value_dim)
        latent = Latent(kv_rank, rope, most * key, most * value)
        key_dim, value_dim = key, value
    narrow = (number("attention.key_length_swa", key_dim), number("attention.value_length_swa", value_dim))
    shared = number("attention.shared_kv_layers")
    conv, state = _recurrent(number)
    caches = []
    for index in range(blocks):
        roles = present.get(index, set())
        mixing = any(role.startswith(("ssm_", "time_mix", "shortconv")) for role in roles)
        attends = bool(roles & {"attn_k", "attn_v", "attn_kv_a_mqa"}) or ("attn_qkv" in roles and not mixing)
        attends = attends or (not roles and kv[index] > 0)
        states = (conv, state) if mixing else (0, 0)
        if arch in _ENCODERS:
            cache = Cache("none")
        elif latent and "attn_kv_a_mqa" in roles:
            cache = Cache("latent", 1, kv_rank + rope, 0)
        elif attends and kv[index]:
            cache = Cache("full", kv[index], kv[index] * key_dim, kv[index] * value_dim)
            if sliding[index]:
                cache = Cache(kind, kv[index], kv[index] * narrow[0], kv[index] * narrow[1], window)
            if shared and index >= blocks - shared:
                cache = cache._replace(shared=True)
        else:
            cache = Cache("none")
        caches.append(cache._replace(conv_state_values=states[0], ssm_state_values=states[1]))
    if (
        arch not in _ENCODERS
        and any(c.kind == "none" and not c.ssm_state_values and not c.conv_state_values for c in caches)
        and not any(c.key_values for c in caches)
    ):
        unknown.append("what the layers remember: the file names no attention and no recurrent state")
    return Geometry(tuple(caches), most, max(kv, default=0), key_dim, value_dim, latent, tuple(unknown))


def block_count(header: Header) -> int:
    """Blocks of the model itself, without multi-token-prediction blocks behind them."""
    arch = header.text("general.architecture")
    count = header.number(f"{arch}.block_count")
    if count is None or not 0 < count <= _LAYERS:
        shown = "no" if count is None else f"{count}"
        raise Unusable(f"the metadata gives {shown} blocks for architecture {arch[:40]!r}", where=header.path)
    ahead = header.number(f"{arch}.nextn_predict_layers") or 0
    return count - ahead if 0 < ahead < count else count


def _per_layer(header: Header, key: str, blocks: int, default: int) -> list[int]:
    listed = header.numbers(key)
    if listed:
        values = (listed + [listed[-1]] * blocks)[:blocks]
    else:
        value = header.number(key)
        values = [default if value is None else value] * blocks
    if any(not 0 <= value < 1 << 20 for value in values):
        raise Unusable(f"{key} is out of any range", where=header.path)
    return values


def _sliding(header: Header, arch: str, blocks: int, unknown: list[str]) -> tuple[list[bool], int, Attention]:
    window = header.number(f"{arch}.attention.sliding_window") or 0
    if arch in _CHUNKED:
        size, every = _CHUNKED[arch]
        size = header.number(f"{arch}.attention.chunk_size") or size
        return [bool((i + 1) % every) for i in range(blocks)], size, "chunked"
    if window <= 0 or arch in _NOT_SLIDING:
        return [False] * blocks, 0, "full"
    listed = header.numbers(f"{arch}.attention.sliding_window_pattern")
    if len(listed) >= blocks:
        return [bool(value) for value in listed[:blocks]], window, "sliding"
    every = header.number(f"{arch}.attention.sliding_window_pattern") or _EVERY.get(arch, 0)
    if every > 0:
        return [bool((i + 1) % every) for i in range(blocks)], window, "sliding"
    unknown.append(f"which layers of {arch} slide: the file gives a window but no pattern; all counted in full")
    return [False] * blocks, 0, "full"


def _recurrent(number: Callable[[str], int]) -> tuple[int, int]:
    """Elements of the convolution and the state of one recurrent layer and sequence."""
    inner, state = number("ssm.inner_size"), number("ssm.state_size")
    if inner:
        convolved = inner + 2 * number("ssm.group_count") * state
        return max(0, number("ssm.conv_kernel") - 1) * convolved, state * inner
    width = number("embedding_length")
    if number("wkv.head_size"):
        return 2 * width, width * number("wkv.head_size")
    if number("shortconv.l_cache"):
        return (number("shortconv.l_cache") - 1) * width, 0
    return 0, 0
