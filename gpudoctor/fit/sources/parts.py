"""Tensor arithmetic of the building blocks that architectures share.

Each function gives the tensors of one building block from its dimensions, named as GGUF names them and
shaped innermost first. What each holds is read from the model definitions in transformers and llama.cpp;
a count that differs from the published one is a wrong rule, and the catalogue's test finds it.
"""

from gpudoctor.fit.sources.tensors import Tensor


def vector(role: str, size: int, part: str = "replicated") -> Tensor:
    """A norm or any other vector."""
    return Tensor(role, (size,), part)


def linear(role: str, inputs: int, outputs: int, part: str, *, bias: bool = False) -> list[Tensor]:
    """A matrix, and its bias if it has one."""
    tensors = [Tensor(role, (inputs, outputs), part)]
    if bias:
        tensors.append(Tensor(f"{role}.bias", (outputs,), part))
    return tensors


def attention(
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    value_dim: int | None = None,
    bias: bool = False,
    output_bias: bool = False,
    head_norm: bool = False,
    full_norm: bool = False,
    fused: bool = False,
    gated: bool = False,
    sinks: bool = False,
) -> list[Tensor]:
    """Grouped-query attention.

    `head_norm` is a norm of one head for query and key each, `full_norm` one of their whole width;
    `gated` doubles the query projection (Qwen3-Next), `sinks` adds one logit a head (gpt-oss).
    """
    value = head_dim if value_dim is None else value_dim
    names = ("attn_qkv",) * 3 if fused else ("attn_q", "attn_k", "attn_v")
    query_width = heads * head_dim * (2 if gated else 1)
    tensors = [
        *linear(names[0], hidden, query_width, "query", bias=bias),
        *linear(names[1], hidden, kv_heads * head_dim, "key_value", bias=bias),
        *linear(names[2], hidden, kv_heads * value, "key_value", bias=bias),
        *linear("attn_output", heads * value, hidden, "query", bias=output_bias),
    ]
    if head_norm:
        tensors += [vector("attn_q_norm", head_dim), vector("attn_k_norm", head_dim)]
    if full_norm:
        tensors += [vector("attn_q_norm", heads * head_dim), vector("attn_k_norm", kv_heads * head_dim)]
    if sinks:
        tensors.append(vector("attn_sinks", heads, "query"))
    return tensors


def latent_attention(
    hidden: int,
    heads: int,
    *,
    query_rank: int | None,
    kv_rank: int,
    nope: int,
    rope: int,
    value: int,
) -> list[Tensor]:
    """DeepSeek's multi-head latent attention, with or without a compressed query."""
    query_width = heads * (nope + rope)
    if query_rank:
        tensors = [
            *linear("attn_q_a", hidden, query_rank, "replicated"),
            vector("attn_q_a_norm", query_rank),
            *linear("attn_q_b", query_rank, query_width, "query"),
        ]
    else:
        tensors = linear("attn_q", hidden, query_width, "query")
    return [
        *tensors,
        *linear("attn_kv_a_mqa", hidden, kv_rank + rope, "replicated"),
        vector("attn_kv_a_norm", kv_rank),
        *linear("attn_kv_b", kv_rank, heads * (nope + value), "query"),
        *linear("attn_output", heads * value, hidden, "query"),
    ]


def feed_forward(
    hidden: int, width: int, *, gate: bool = True, bias: bool = False, fused: bool = False
) -> list[Tensor]:
    """A dense feed-forward block: gated (SwiGLU, GeGLU) or plain, gate and up fused in one matrix or not."""
    up = "ffn_up" if fused or not gate else "ffn_gate"
    tensors = linear(up, hidden, width, "mlp", bias=bias) if gate else []
    return [
        *tensors,
        *linear("ffn_up", hidden, width, "mlp", bias=bias),
        *linear("ffn_down", width, hidden, "mlp", bias=bias),
    ]


def mixture(
    hidden: int,
    width: int,
    count: int,
    *,
    shared_width: int = 0,
    shared_gate: bool = False,
    router_bias: bool = False,
    selection_bias: bool = False,
    bias: bool = False,
    gate: bool = True,
) -> list[Tensor]:
    """A mixture of experts: router, routed experts and the ones that always run.

    `selection_bias` is DeepSeek's load-balancing vector, `bias` gpt-oss's biases inside each expert.
    """
    tensors = linear("ffn_gate_inp", hidden, count, "replicated", bias=router_bias)
    if selection_bias:
        tensors.append(vector("exp_probs_b.bias", count))
    shapes = [("ffn_up_exps", hidden, width), ("ffn_down_exps", width, hidden)]
    for role, inputs, outputs in [("ffn_gate_exps", hidden, width)] * gate + shapes:
        tensors.append(Tensor(role, (inputs, outputs, count), "experts"))
        if bias:
            tensors.append(Tensor(f"{role}.bias", (outputs, count), "experts"))
    if shared_width:
        shared = [("ffn_up_shexp", hidden, shared_width), ("ffn_down_shexp", shared_width, hidden)]
        for role, inputs, outputs in [("ffn_gate_shexp", hidden, shared_width)] * gate + shared:
            tensors.append(Tensor(role, (inputs, outputs), "shared_experts"))
        if shared_gate:
            tensors.append(vector("ffn_gate_inp_shexp", hidden))
    return tensors


def mamba(hidden: int, inner: int, state: int, kernel: int, rank: int, *, norms: bool = False) -> list[Tensor]:
    """A Mamba-1 mixer; `norms` are Jamba's and Falcon-Mamba's norms on dt, B and C."""
    tensors = [
        *linear("ssm_in", hidden, 2 * inner, "recurrent"),
        Tensor("ssm_conv1d", (kernel, inner), "recurrent"),
        vector("ssm_conv1d.bias", inner, "recurrent"),
        *linear("ssm_x", inner, rank + 2 * state, "recurrent"),
        *linear("ssm_dt", rank, inner, "recurrent", bias=True),
        Tensor("ssm_a", (state, inner), "recurrent"),
        vector("ssm_d", inner, "recurrent"),
        *linear("ssm_out", inner, hidden, "recurrent"),
    ]
    if norms:
        tensors += [vector("ssm_dt_norm", rank), vector("ssm_b_norm", state), vector("ssm_c_norm", state)]
    return tensors


def mamba2(
    hidden: int,
    inner: int,
    heads: int,
    groups: int,
    state: int,
    kernel: int,
    *,
    bias: bool = False,
    norm: bool = True,
) -> list[Tensor]:
    """A Mamba-2 mixer."""
    convolved = inner + 2 * groups * state
    tensors = [
        *linear("ssm_in", hidden, inner + convolved + heads, "recurrent", bias=bias),
        Tensor("ssm_conv1d", (kernel, convolved), "recurrent"),
        vector("ssm_conv1d.bias", convolved, "recurrent"),
        vector("ssm_dt.bias", heads, "recurrent"),
        vector("ssm_a", heads, "recurrent"),
        vector("ssm_d", heads, "recurrent"),
        *linear("ssm_out", inner, hidden, "recurrent", bias=bias),
    ]
    if norm:
        tensors.append(vector("ssm_norm", inner, "recurrent"))
    return tensors


def delta_net(hidden: int, key_heads: int, value_heads: int, key_dim: int, value_dim: int, kernel: int) -> list[Tensor]:
    """A gated delta-rule mixer (Qwen3-Next, Qwen3.5): linear attention with a short convolution."""
    keys, values = key_heads * key_dim, value_heads * value_dim
    return [
        *linear("attn_qkv", hidden, 2 * keys + values, "recurrent"),
        *linear("attn_gate", hidden, values, "recurrent"),
        *linear("ssm_ba", hidden, 2 * value_heads, "recurrent"),
        Tensor("ssm_conv1d", (kernel, 2 * keys + values), "recurrent"),
        vector("ssm_dt.bias", value_heads, "recurrent"),
        vector("ssm_a", value_heads, "recurrent"),
        vector("ssm_norm", value_dim, "recurrent"),
        *linear("ssm_out", values, hidden, "recurrent"),
    ]
