"""Quantization by name: what people call it, and the bytes a matrix takes in the safetensors schemes.

A scheme stores a matrix as packed integers with a scale (and perhaps a zero point) for each group of inputs,
for each block or for each row. Which matrices it touches: linear layers inside the blocks; never the
embedding, the output matrix, norms, routers or vision towers. Layouts: AutoAWQ, GPTQ, compressed-tensors,
bitsandbytes and OCP microscaling as their documentation describes them (read 2026-11-20).
"""

import re
from typing import NamedTuple

from gpudoctor.fit.sources.gguf_mix import BASE
from gpudoctor.fit.sources.tensors import Tensor

FLOATS: dict[str, int] = {"BF16": 2, "F16": 2, "F32": 4}
"""Bytes per element of the unquantized forms."""


class Scheme(NamedTuple):
    """How a safetensors quantization stores one matrix."""

    bits: int
    group: int = 0
    """Inputs that share a scale; 0 for one scale a row."""
    scale_bytes: int = 0
    zero_bits: int = 0
    input_bytes: int = 0
    """Bytes for each input of the matrix (GPTQ's g_idx)."""
    experts_only: bool = False
    block: int = 0
    """Side of square blocks with one fp32 scale each (DeepSeek's FP8)."""


SCHEMES: dict[str, Scheme] = {
    "FP8": Scheme(8, scale_bytes=2),
    "AWQ": Scheme(4, group=128, scale_bytes=2, zero_bits=4),
    "GPTQ-Int4": Scheme(4, group=128, scale_bytes=2, zero_bits=4, input_bytes=4),
    "GPTQ-Int8": Scheme(8, group=128, scale_bytes=2, zero_bits=8, input_bytes=4),
    "W8A8": Scheme(8, scale_bytes=2),
    "W4A16": Scheme(4, group=128, scale_bytes=2),
    "NF4": Scheme(4, group=64, scale_bytes=1),
    "INT8": Scheme(8, scale_bytes=4),
    "MXFP4": Scheme(4, group=32, scale_bytes=1, experts_only=True),
    "NVFP4": Scheme(4, group=16, scale_bytes=1),
}
"""Every quantization that safetensors files come in."""

FP8_BLOCK = Scheme(8, block=128)
"""FP8 in square blocks, as DeepSeek and Qwen publish it themselves."""

_ALIASES = {
    "BFLOAT16": "BF16", "FLOAT16": "F16", "FP16": "F16", "HALF": "F16", "FLOAT32": "F32", "FP32": "F32",
    "FLOAT": "F32", "FP8-DYNAMIC": "FP8", "FP8-E4M3": "FP8", "F8": "FP8", "FBGEMM-FP8": "FP8",
    "AWQ-INT4": "AWQ", "AWQ-MARLIN": "AWQ", "INT4-AWQ": "AWQ", "AWQ-4BIT": "AWQ",
    "GPTQ": "GPTQ-Int4", "GPTQ-INT4": "GPTQ-Int4", "GPTQ-4BIT": "GPTQ-Int4", "GPTQ-MARLIN": "GPTQ-Int4",
    "GPTQ-INT8": "GPTQ-Int8", "GPTQ-8BIT": "GPTQ-Int8",
    "INT8-W8A8": "W8A8", "SMOOTHQUANT": "W8A8", "W8A16": "W8A8", "INT4": "W4A16", "INT4-W4A16": "W4A16",
    "AUTOROUND": "W4A16", "INT4-AUTOROUND": "W4A16",
    "BNB-4BIT": "NF4", "BNB": "NF4", "BITSANDBYTES": "NF4", "4BIT": "NF4", "BNB-NF4": "NF4",
    "BNB-8BIT": "INT8", "8BIT": "INT8", "LLM-INT8": "INT8", "FP4": "NVFP4", "NVFP4A16": "NVFP4",
    "MXFP4-MOE": "MXFP4", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q3_K": "Q3_K_M", "Q8": "Q8_0", "Q4": "Q4_0",
}  # fmt: skip
_GGUF = {name.upper(): name for name in BASE}
_SAFETENSORS = {name.upper(): name for name in (*SCHEMES, *FLOATS)}
_IK = {
    "IQ1_KT": "IQ1_M", "IQ2_KS": "IQ2_XXS", "IQ2_KT": "IQ2_XXS", "IQ2_K": "IQ2_XS", "IQ2_KL": "Q2_K",
    "IQ3_KT": "IQ3_XXS", "IQ3_KS": "IQ3_XXS", "IQ3_K": "IQ3_S", "IQ4_KT": "IQ4_XS", "IQ4_KSS": "IQ4_XS",
    "IQ4_KS": "IQ4_XS", "IQ4_K": "Q4_K_S", "IQ5_KS": "Q5_K_S", "IQ5_K": "Q5_K_S", "IQ6_K": "Q6_K",
}  # fmt: skip
"""ik_llama.cpp's types and the nearest mix of llama.cpp in bits a weight."""
_DYNAMIC = r"UD-?(I?Q\d_[A-Z0-9_]+?)(?:_XL|_L)?$"


def canonical(text: str) -> str | None:
    """The canonical name of a quantization as people write it, None when it is none we know."""
    key = text.strip().upper()
    if key in _GGUF:
        return _GGUF[key]
    key = key.replace("_", "-") if key.replace("_", "-") in _ALIASES else key
    if key in _ALIASES:
        return _ALIASES[key]
    return _SAFETENSORS.get(key.replace("_", "-"))


def near_dynamic(text: str) -> str | None:
    """The plain mix nearest to one of Unsloth's dynamic ones (``UD-Q4_K_XL``) or of ik_llama.cpp's own types.

    None for every other name.
    """
    name = text.strip().upper()
    match = re.match(_DYNAMIC, name)
    if match is not None:
        stem = match.group(1)
        return next((mix for mix in (stem, f"{stem}_M") if mix in BASE), None)
    plain = re.sub(r"^SMOL-|_R[48]$", "", name)
    return _IK.get(plain) or (plain if plain != name and plain in BASE else None)


def is_approximated(text: str) -> bool:
    """Whether a quantization is only stood in for by a similar one."""
    return canonical(text) is None and near_dynamic(text) is not None


def known() -> list[str]:
    """Every canonical name."""
    return sorted({*BASE, *SCHEMES, *FLOATS})


def in_gguf(name: str) -> bool:
    """Whether a GGUF file can have this quantization."""
    return name in BASE


def in_safetensors(name: str) -> bool:
    """Whether a safetensors folder can have this quantization."""
    return name in SCHEMES or name in FLOATS


_PLAIN = ("token_embd", "output", "per_layer", "ffn_gate_inp", "ssm_conv1d", "ssm_a", "ssm_d", "ssm_ba",
          "position_embd", "conv", "altup", "laurel", "exp_probs")  # fmt: skip


def quantizable(tensor: Tensor) -> bool:
    """Whether the safetensors schemes touch this tensor at all."""
    return len(tensor.shape) > 1 and not tensor.role.endswith(".bias") and not tensor.role.startswith(_PLAIN)


def safetensors_bytes(tensor: Tensor, scheme: Scheme | None, float_bytes: int) -> int:
    """Bytes of this tensor in a safetensors file with its scales and zero points.

    `float_bytes` is the size of an unquantized element.
    """
    if scheme is None or not quantizable(tensor) or (scheme.experts_only and tensor.part != "experts"):
        return tensor.elements * float_bytes
    inputs, outputs = tensor.shape[0], tensor.shape[1]
    matrices = tensor.elements // (inputs * outputs)
    size = (inputs * outputs * scheme.bits + 7) // 8
    if scheme.block:
        size += 4 * -(-inputs // scheme.block) * -(-outputs // scheme.block)
    else:
        groups = -(-inputs // scheme.group) if scheme.group else 1
        size += groups * outputs * scheme.scale_bytes + groups * outputs * scheme.zero_bits // 8
    return matrices * (size + inputs * scheme.input_bytes)
