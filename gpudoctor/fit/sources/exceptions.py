"""Matrices that a quantized checkpoint keeps at 16 bit, as its configuration lists them.

Publishers leave attention, the first and last layers or linear attention alone and name them: full module names,
names with ``*``, or expressions after ``re:``. An expression from a file is never run: what it says between its
``.*`` is looked for as it stands, and one that needs more than that keeps nothing.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gpudoctor.fit.sources.tensors import Tensor

_LISTS = ("modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers")
_MOST, _LONGEST = 20_000, 200
_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,4})(?:\.|$)")
_MODULES: dict[str, tuple[str, ...]] = {
    "attn_q": ("self_attn.q_proj",), "attn_k": ("self_attn.k_proj",), "attn_v": ("self_attn.v_proj",),
    "attn_output": ("self_attn.o_proj",), "attn_q_a": ("self_attn.q_a_proj",), "attn_q_b": ("self_attn.q_b_proj",),
    "attn_kv_a_mqa": ("self_attn.kv_a_proj_with_mqa",), "attn_kv_b": ("self_attn.kv_b_proj",),
    "ffn_gate": ("mlp.gate_proj",), "ffn_up": ("mlp.up_proj",), "ffn_down": ("mlp.down_proj",),
    "ffn_gate_exps": ("mlp.experts.0.gate_proj",), "ffn_up_exps": ("mlp.experts.0.up_proj",),
    "ffn_down_exps": ("mlp.experts.0.down_proj",),
    "ffn_gate_shexp": ("mlp.shared_experts.gate_proj", "mlp.shared_expert.gate_proj"),
    "ffn_up_shexp": ("mlp.shared_experts.up_proj", "mlp.shared_expert.up_proj"),
    "ffn_down_shexp": ("mlp.shared_experts.down_proj", "mlp.shared_expert.down_proj"),
    "attn_gate": ("linear_attn.in_proj_z",), "ssm_out": ("linear_attn.out_proj", "mixer.out_proj"),
    "ssm_in": ("mixer.in_proj",),
}  # fmt: skip
"""Hugging Face's names of a role of GGUF's."""


def listed(section: Mapping[str, Any]) -> tuple[str, ...]:
    """The modules that a ``quantization_config`` excludes, empty when it excludes none or too many to be true."""
    for key in _LISTS:
        names = section.get(key)
        if isinstance(names, list) and names:
            kept = tuple(name for name in names[:_MOST] if isinstance(name, str) and len(name) <= _LONGEST)
            return kept if len(names) <= _MOST else ()
    return ()


def _literal(name: str) -> str | None:
    """What a listed name says when its wildcards are taken away, None when it is an expression that says more."""
    plain = name.removeprefix("re:")
    if plain != name:
        plain = plain.replace(r"\.", "\0").replace(".*", "").strip("^$").replace("\0", ".")
    plain = plain.strip("*").rstrip(".")
    return None if not plain or re.search(r"[^\w.\-]", plain) else plain


def kept_by(names: Iterable[str]) -> Callable[[Tensor, int], bool]:
    """A function that tells whether these names keep a tensor of a layer at 16 bit."""
    everywhere: set[str] = set()
    layers: dict[int, set[str]] = {}
    for name in names:
        literal = _literal(name)
        if literal is None:
            continue
        match = _LAYER.search(literal)
        if match is None:
            everywhere.add(literal)
        else:
            layers.setdefault(int(match[1]), set()).add(literal[match.end() :])

    def kept(tensor: Tensor, layer: int) -> bool:
        modules = _MODULES.get(tensor.role, ())
        if tensor.role == "attn_qkv":
            modules = ("linear_attn.in_proj_qkv",) if tensor.part == "recurrent" else ("self_attn.qkv_proj",)
        for module in modules:
            path = f".{module}."
            if any(f".{literal}." in path for literal in everywhere):
                return True
            if any(not rest or path.startswith(f".{rest}.") for rest in layers.get(layer, ())):
                return True
        return False

    return kept
