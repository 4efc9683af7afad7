"""Bytes that the cache of one layer takes, by element type: the part every engine shares."""

import math

from gpudoctor.fit.model import Cache, Unusable

#: Bytes per element. Quantized types are ggml's blocks of 32 values with their scales (ggml-common.h).
ELEMENT_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "auto": 2.0,
    "fp8": 1.0,
    "fp8_e4m3": 1.0,
    "fp8_e5m2": 1.0,
    "int8": 1.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}


def element_bytes(kind: str) -> float:
    """Bytes per cached element of this type; raises Unusable for a type nobody has."""
    try:
        return ELEMENT_BYTES[kind.lower()]
    except KeyError:
        raise Unusable(
            f"{kind[:30]!r} is not a KV cache type", hint=f"Use one of {', '.join(ELEMENT_BYTES)}."
        ) from None


def padded(count: int, step: int) -> int:
    """`count` rounded up to a multiple of `step`."""
    return -(-count // step) * step


def token_bytes(cache: Cache, element: float) -> float:
    """Bytes that one token takes in this layer."""
    return 0.0 if cache.shared else (cache.key_values + cache.value_values) * element


def cells_bytes(cache: Cache, cells: int, element: float) -> int:
    """Bytes of `cells` cache cells of this layer."""
    return math.ceil(cells * token_bytes(cache, element))


def state_bytes(cache: Cache, conv_element: float, ssm_element: float) -> int:
    """Bytes of the fixed state and cross-attention cache of one sequence."""
    state = cache.conv_state_values * conv_element + cache.ssm_state_values * ssm_element
    return math.ceil(state + cache.cross_values * 2)
