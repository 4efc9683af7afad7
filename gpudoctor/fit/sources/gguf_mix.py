"""Which tensor type each tensor of a GGUF file gets: llama.cpp's mixes behind names such as Q4_K_M.

A mix has a base type and exceptions by the tensor's role and layer. The rules were read from
``llama_tensor_get_type`` in llama.cpp's src/llama-quant.cpp (2025 and 2026 versions, retrieved 2026-11-20)
and are checked in the tests against published file sizes. One rule changed between the versions: since
2026 a fused ``attn_qkv`` and MLA's ``attn_kv_b`` follow ``attn_v``; published files were mostly made before.
"""

from functools import lru_cache
from typing import NamedTuple

from gpudoctor.fit.sources.tensors import Tensor
from gpudoctor.fit.sources.types import fits, tensor_bytes

BASE: dict[str, str] = {
    **{name: name for name in ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q6_K"]},
    **{name: name for name in ["IQ4_NL", "IQ4_XS"]},
    **{name: name for name in ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ3_S", "TQ1_0", "TQ2_0", "NVFP4"]},
    "Q2_K": "Q2_K", "Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K",
    "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K", "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K",
    "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S", "IQ3_XS": "IQ3_S", "IQ3_M": "IQ3_S", "MXFP4": "MXFP4",
}  # fmt: skip
"""Base tensor type of every mix that can be computed."""

_LOW = frozenset({"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"})
_TWO_S = frozenset({"IQ2_S", "IQ2_M"})
_NARROW = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
           "TQ1_0": "Q4_0", "TQ2_0": "Q4_0"}  # fmt: skip
_EIGHT_EXPERTS_Q5 = frozenset(
    ["Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS"]
)
_DELTA = frozenset({"qwen3next", "qwen35", "qwen35moe"})
_UNQUANTIZED = ("ffn_gate_inp", "ssm_conv1d", "ssm_a", "altup", "laurel", "per_layer_model_proj",
                "shortconv.conv", "attn_rel_b", "position_embd", "token_types", "indexer.")  # fmt: skip


class Traits(NamedTuple):
    """What the mixes ask of a model besides the tensor itself."""

    layers: int
    heads_per_kv_head: int
    experts: int
    tied: bool
    seventy_billion: bool
    """llama.cpp calls a model 70B by its layers: 80 of them in the llama, qwen2 and deepseek families."""
    importance_matrix: bool
    ollama: str = ""
    """The architecture when Ollama itself made the file, ``qat`` for Google's quantization-aware ones. Ollama's
    own gpt-oss keeps everything but the experts in BF16, and its first qwen3 files keep attn_v in F16 (sizes of
    qwen3:8b, :14b and :32b agree to the header)."""
    native_experts: bool = False
    """The experts were trained in MXFP4 and stay so in every mix: gpt-oss-120b has 65.4 GB as F16 and 62.8 GB as
    Q4_K_M (unsloth/gpt-oss-120b-GGUF)."""


def _more_bits(layer: int, layers: int) -> bool:
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def _value(mix: str, base: str, layer: int, traits: Traits) -> str:
    many = traits.heads_per_kv_head >= 4
    kind = base
    if mix == "Q2_K":
        kind = "Q4_K" if many else "Q3_K"
    elif mix in ("Q2_K_S", "IQ3_XS", "IQ3_S"):
        kind = "Q4_K" if many else base
    elif mix == "IQ3_XXS":
        kind = "Q4_K" if many else base if traits.importance_matrix else "IQ3_S"
    elif mix == "IQ3_M":
        kind = "Q4_K"
    elif mix == "Q3_K_M":
        kind = "Q5_K" if layer < 2 else "Q4_K"
    elif mix == "Q3_K_L":
        kind = "Q5_K"
    elif mix in ("IQ4_NL", "IQ4_XS"):
        kind = "Q5_K" if many else base
    elif mix in ("Q4_K_M", "Q5_K_M"):
        kind = "Q6_K" if _more_bits(layer, traits.layers) else base
    elif mix == "Q4_K_S":
        kind = "Q5_K" if layer < 4 else base
    if traits.seventy_billion and kind in ("Q3_K", "Q4_K"):
        kind = "Q5_K"
    return "Q8_0" if traits.experts == 8 else kind


def _down(mix: str, base: str, layer: int, traits: Traits) -> str:
    eighth = layer < traits.layers // 8
    if mix in _LOW:
        return base if not eighth else "IQ3_S" if mix in _TWO_S else "Q2_K"
    if mix == "Q2_K":
        return "Q3_K"
    if mix == "Q2_K_S" and eighth:
        return "Q4_K"
    if mix == "IQ3_XXS" and not traits.importance_matrix:
        return "Q4_K" if eighth else "Q3_K"
    if mix == "Q3_K_M":
        return "Q5_K" if layer < traits.layers // 16 else "Q4_K"
    if mix == "Q3_K_L":
        return "Q5_K"
    if mix == "IQ3_M" and (eighth or (traits.experts == 8 and _more_bits(layer, traits.layers))):
        return "Q4_K"
    if mix in ("Q4_K_M", "Q5_K_M") and _more_bits(layer, traits.layers):
        return "Q6_K"
    if mix in ("IQ4_NL", "IQ4_XS") and eighth and not traits.importance_matrix:
        return "Q5_K"
    if mix == "Q4_K_S" and eighth:
        return "Q5_K"
    if mix in ("Q4_0", "Q5_0") and eighth and traits.importance_matrix:
        return mix[:-1] + "1"
    return base


def _attention_output(mix: str, base: str, traits: Traits) -> str:
    if mix in _LOW:
        if traits.experts == 8:
            return "Q5_K"
        return "IQ2_XXS" if mix in ("IQ1_S", "IQ1_M") else "IQ3_S" if mix in _TWO_S else base
    if traits.experts == 8:
        return "Q5_K" if mix in _EIGHT_EXPERTS_Q5 else base
    return {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}.get(mix, base)


def _embedding(mix: str, base: str) -> str:
    if mix in ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"):
        return "Q2_K"
    if mix in ("IQ2_S", "IQ2_M", "IQ3_XXS"):
        return "IQ3_S"
    return "Q4_K" if mix in ("TQ1_0", "TQ2_0") else base


def _output(mix: str, base: str, shape: tuple[int, ...]) -> str:
    if mix == "MXFP4" or not fits(base, shape):
        return "Q8_0"
    if mix in _LOW or mix == "IQ3_XXS":
        return "Q5_K"
    return base if base == "Q8_0" else "Q6_K"


def _wanted(mix: str, tensor: Tensor, layer: int, traits: Traits) -> str:
    base, role = BASE[mix], tensor.role
    if role == "output" or (role == "token_embd" and traits.tied):
        return _output(mix, base, tensor.shape)
    if mix == "MXFP4":
        return "MXFP4" if len(tensor.shape) > 2 else "Q8_0"
    if role in ("token_embd", "per_layer_token_embd"):
        return _embedding(mix, base)
    if role == "attn_v":
        if mix in _LOW:
            strong = traits.heads_per_kv_head >= 4 or traits.experts >= 4
            return "Q4_K" if strong else "IQ3_S" if mix in _TWO_S else "Q2_K"
        return _value(mix, base, layer, traits)
    if role in ("attn_q", "attn_k"):
        if role == "attn_k" and traits.experts == 8:
            return "Q4_K" if mix in _LOW else "Q8_0"
        return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(mix, base)
    if role.startswith("ffn_down"):
        return _down(mix, base, layer, traits)
    if role == "attn_output":
        return _attention_output(mix, base, traits)
    if role == "attn_qkv":
        wide = {"Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}
        return wide.get(mix, base)
    if mix == "IQ3_XS" and role.startswith(("ffn_gate", "ffn_up")):
        return "IQ3_XXS" if traits.layers // 8 <= layer < 7 * traits.layers // 8 else base
    return base


def _unquantized(tensor: Tensor, base: str) -> str | None:
    """F32 for what no mix touches: vectors, biases, routers and small state matrices."""
    role = tensor.role
    if len(tensor.shape) < 2 or role.endswith(".bias") or role.startswith(_UNQUANTIZED):
        return "F32"
    return base if base in ("F32", "F16", "BF16") else None


@lru_cache(maxsize=4096)
def tensor_type(mix: str, tensor: Tensor, layer: int, traits: Traits) -> str:
    """GGUF type of this tensor in a file of this mix; `layer` is ignored for tensors outside the blocks."""
    if traits.native_experts and tensor.role.endswith("_exps"):
        return "MXFP4"
    plain = _unquantized(tensor, BASE[mix])
    if plain is not None:
        return plain
    if traits.ollama == "gptoss" and mix == "MXFP4" and tensor.part != "experts":
        return "BF16"
    if traits.ollama == "qat" and tensor.role == "token_embd":
        return "F16"
    if traits.ollama == "qwen3" and tensor.role == "attn_v":
        return "F16"
    if traits.ollama in _DELTA and mix in ("Q4_K_M", "Q4_K_S"):
        if tensor.role == "attn_v" or tensor.role.startswith(("ffn_down_exps", "ffn_down_shexp")):
            return "Q6_K"
        if tensor.part in ("recurrent", "query", "key_value", "experts", "shared_experts"):
            return "Q4_K"
    kind = _wanted(mix, tensor, layer, traits)
    if not fits(kind, tensor.shape):
        kind = _NARROW.get(kind, "IQ4_NL" if kind.startswith("IQ") else "F16")
        if not fits(kind, tensor.shape):
            kind = "F16"
    return kind


def gguf_bytes(mix: str, tensor: Tensor, layer: int, traits: Traits) -> int:
    """Bytes of this tensor in a file of this mix, without the padding between tensors."""
    return tensor_bytes(tensor_type(mix, tensor, layer, traits), tensor.shape)
