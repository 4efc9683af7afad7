"""The tensors of a model by shape, before any quantization: what a configuration implies.

A `Blueprint` is the architecture without bytes. `build` puts a quantization to it and gives a `Model`;
`requantized` keeps the blueprint at hand and does so again.
"""

from typing import NamedTuple

from gpudoctor.fit.model import Cache, Encoder, Experts, Latent


class Tensor(NamedTuple):
    """One weight matrix or vector.

    `role` is GGUF's name without block number and ``.weight`` (``attn_q``, ``ffn_down_exps``); a bias ends
    in ``.bias``. `shape` is innermost first: inputs, outputs, experts. `part` is a field of `Parts`.
    A matrix that the original stores fused with others (``attn_qkv``) appears as several tensors of one
    role, apart by part: rows are independent in every format, so the bytes are the same.
    """

    role: str
    shape: tuple[int, ...]
    part: str

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count


class Block(NamedTuple):
    """One kind of layer: its tensors and what it remembers."""

    tensors: tuple[Tensor, ...]
    cache: Cache
    routed: bool = False


class Blueprint(NamedTuple):
    """A model's architecture: everything of a `Model` that no quantization changes."""

    architecture: str
    """GGUF's spelling where there is one."""
    model_type: str
    blocks: tuple[Block, ...]
    """One per layer, in order; equal layers are the same object."""
    embedding: tuple[Tensor, ...]
    output: tuple[Tensor, ...]
    """Empty when tied."""
    final: tuple[Tensor, ...]
    vocabulary: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    value_head_dim: int
    intermediate_size: int
    context_maximum: int | None
    dtype: str = "bf16"
    """Of the published weights: ``bf16``, ``f16`` or ``f32``."""
    experts: Experts | None = None
    latent: Latent | None = None
    encoders: tuple[tuple[Encoder, int], ...] = ()
    """Towers, each with its parameters; their bytes are filled in by `build`."""
    encoder_decoder: bool = False
    host: tuple[Tensor, ...] = ()
    draft: tuple[Tensor, ...] = ()
    """Multi-token-prediction layers in the published files."""
    quantization: str | None = None
    """Of the published weights when they are quantized themselves (gpt-oss, DeepSeek)."""
    kept: tuple[str, ...] = ()
    """Modules that this quantization leaves at 16 bit, as the configuration names them."""
    group: int | None = None
    """Inputs that share a scale in this quantization, 0 for one scale a row; None when the configuration is silent."""
    unknown: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Parameters of the language model and its encoders, without draft layers."""
        own = sum(sum(t.elements for t in block.tensors) for block in self.blocks)
        rest = sum(t.elements for t in (*self.embedding, *self.output, *self.final, *self.host))
        return own + rest + sum(count for _, count in self.encoders)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token runs through."""
        if self.experts is None:
            return self.parameters
        routed = sum(t.elements for block in self.blocks if block.routed for t in block.tensors if t.part == "experts")
        return self.parameters - routed + routed * self.experts.active // self.experts.total
