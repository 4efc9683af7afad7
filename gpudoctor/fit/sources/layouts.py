"""Which layers of a model look back on everything, on a window, or keep a state instead.

A configuration says so in ``layer_types``, or in one number whose meaning depends on the architecture; the
defaults are those of the model definitions in transformers.
"""

from gpudoctor.fit.model import Attention, Cache
from gpudoctor.fit.sources.facts import Facts

_EVERY = {"gemma2": 2, "gpt_oss": 2, "gemma3_text": 6, "gemma3": 6, "cohere2": 4, "exaone4": 4, "olmo3": 4,
          "gemma3n_text": 5, "gemma3n": 5, "exaone_moe": 4}  # fmt: skip
"""Every n-th layer is full, the others slide."""
_UNIFORM = frozenset({"mistral", "mixtral", "phi3", "starcoder2", "phimoe"})
_KINDS: dict[str, Attention] = {
    "full_attention": "full", "sliding_attention": "sliding", "chunked_attention": "chunked",
    "linear_attention": "none", "mamba": "none", "conv": "none", "attention": "full", "moe": "none",
    "mlp": "none", "global": "full", "local": "sliding",
}  # fmt: skip


def attention_kinds(facts: Facts, model_type: str, layers: int) -> list[Attention]:
    """The kind of attention of every layer."""
    given = facts.words("layer_types")
    if len(given) == layers:
        unknown = sorted({kind for kind in given if kind not in _KINDS})
        if unknown:
            raise facts.wrong("layer_types", f"names {unknown[0][:60]!r}, a kind that is not known")
        window = window_of(facts)
        return [("full" if _KINDS[k] == "sliding" and not window else _KINDS[k]) for k in given]
    if not window_of(facts):
        return ["full"] * layers
    pattern = facts.text("sliding_window_pattern")
    if pattern and set(pattern) <= set("LG"):
        kinds: list[Attention] = ["sliding" if pattern[i % len(pattern)] == "L" else "full" for i in range(layers)]
        return [*kinds[:-1], "full"]
    every = facts.maybe("sliding_window_pattern", "_sliding_window_pattern") or _EVERY.get(model_type)
    if every:
        kinds = ["sliding" if (i + 1) % every else "full" for i in range(layers)]
        if model_type == "exaone4":
            kinds[-1] = "full"
        return kinds
    if model_type in _UNIFORM:
        return ["sliding"] * layers
    if facts.flag("use_sliding_window"):
        first = facts.number("max_window_layers", default=layers, least=0)
        return ["full" if i < first else "sliding" for i in range(layers)]
    return ["full"] * layers


def window_of(facts: Facts) -> int:
    """Tokens a sliding layer looks back on, 0 when the model has none or has it switched off."""
    if facts.config.get("use_sliding_window") is False:
        return 0
    if isinstance(facts.config.get("sliding_window"), list):
        return 0
    return facts.maybe("sliding_window", "sliding_window_size", least=0) or 0


def caches(kinds: list[Attention], window: int, kv_heads: int, key_dim: int, value_dim: int) -> dict[Attention, Cache]:
    """One cache for each kind of attention in the model."""
    made: dict[Attention, Cache] = {}
    for kind in set(kinds):
        if kind == "none":
            made[kind] = Cache("none")
        else:
            limited = window if kind in ("sliding", "chunked") else 0
            made[kind] = Cache(kind, kv_heads, kv_heads * key_dim, kv_heads * value_dim, limited)
    return made
