"""A model as the memory arithmetic sees it: bytes and cache geometry per layer, nothing of its source.

`gpudoctor.fit.sources` fills it in, `gpudoctor.fit.engines` reads it. What the sources promise:

- `sources.load(name, *, quant, dtype, form, online, ollama_models)` returns a `Model` whose bytes are those
  of the quantization asked for (the artefact's own when none is). `form` is ``"gguf"`` (Ollama, llama.cpp,
  KTransformers), ``"safetensors"`` (vLLM, SGLang, TGI, transformers) or None: whatever the name is. It
  raises `Unusable` with one line for bad input, never anything else.
- `sources.requantized(model, quant)` returns the same model at another quantization, or None when its bytes
  cannot be computed. Reverse solving calls it often, so it must cost about a millisecond.
- Every byte count is what the file holds. What an engine adds (padding, a duplicated output matrix,
  replicated heads) is that engine's rule and never appears here.
- One `Layer` per block in the order of the model, so that a range of layers can be summed exactly. Equal
  layers are equal tuples (and best the same object): sums are taken per group.
- A number that is not known is None, and `Model.unknown` says which and why; it is never guessed.

Units: `_bytes` are bytes, `_values` are array elements, everything else is a count.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Form = Literal["gguf", "safetensors"]
Attention = Literal["full", "sliding", "chunked", "latent", "none"]


class Unusable(Exception):
    """The name, file or folder cannot be judged: one line for a person, a hint, and nearest names.

    Raised by sources and by the reading of flags and hardware; ends in exit code 2.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint


class Parts(NamedTuple):
    """Weights of one layer in bytes, apart by how tensor parallelism divides them.

    A bias belongs to its matrix, a quantization's scales and zero points to the matrix they scale.
    """

    query: int = 0
    """Query and attention-output projections, MLA's up-projections and per-head gates: divided by heads."""
    key_value: int = 0
    """Key and value projections: divided by KV heads, replicated beyond them."""
    mlp: int = 0
    """A dense feed-forward block: divided."""
    experts: int = 0
    """All routed experts together: divided (or placed on the CPU)."""
    shared_experts: int = 0
    """Experts that always run: divided."""
    recurrent: int = 0
    """Mamba, linear-attention or RWKV mixers: divided."""
    cross: int = 0
    """Cross-attention of an encoder-decoder: divided."""
    replicated: int = 0
    """Norms, routers, sinks, MLA's down-projections, per-layer embedding projections: whole on every GPU."""

    @property
    def total(self) -> int:
        """All weights of the layer in bytes."""
        return sum(self)

    @property
    def dense(self) -> int:
        """Everything but the routed experts, in bytes."""
        return sum(self) - self.experts


class Cache(NamedTuple):
    """What one layer remembers: elements per token, or a state of fixed size per sequence."""

    kind: Attention = "full"
    heads: int = 0
    """KV heads; 1 for a latent (MLA) cache, 0 without attention."""
    key_values: int = 0
    """Key elements per token: heads x key length; for a latent cache kv_lora_rank + rope length."""
    value_values: int = 0
    """Value elements per token: heads x value length; 0 for a latent cache, where they lie inside the key."""
    window: int = 0
    """Tokens a sliding or chunked layer looks back on; 0 for every other kind."""
    conv_state_values: int = 0
    """Recurrent layers: elements of the convolution state of one sequence."""
    ssm_state_values: int = 0
    """Recurrent layers: elements of the state-space or linear state of one sequence."""
    cross_values: int = 0
    """Encoder-decoder: key and value elements for all encoder positions, per sequence."""
    shared: bool = False
    """The layer reads an earlier layer's cache and keeps none of its own (Gemma 3n)."""


class Layer(NamedTuple):
    """One block: its weights and its cache."""

    weights: Parts
    cache: Cache
    routed: bool = False
    """The feed-forward block is a mixture of experts."""


class Experts(NamedTuple):
    """The mixture-of-experts shape, the same in every routed layer."""

    total: int
    """Routed experts of one layer."""
    active: int
    """Routed experts per token."""
    intermediate: int
    """Hidden width of one expert."""
    shared: int = 0


class Latent(NamedTuple):
    """Multi-head latent attention: what engines without a latent cache keep instead (all heads, expanded)."""

    kv_lora_rank: int
    rope_values: int
    key_values_expanded: int
    """heads x (nope + rope) elements per token and layer."""
    value_values_expanded: int
    """heads x value length elements per token and layer."""


class Encoder(NamedTuple):
    """A vision or audio tower (or Whisper's encoder) that runs beside the language model."""

    kind: Literal["vision", "audio"]
    weights_bytes: int
    """All of the tower and the projector into the language model."""
    parameters: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    heads: int | None = None
    positions: int | None = None
    """Tokens (patches, frames) the tower itself works on for the largest input."""
    output_tokens: int | None = None
    """Tokens of one such input in the language model's prompt."""
    separate_file: bool = False
    """Lies in a file of its own (an Ollama projector blob, an mmproj GGUF)."""


class Model(NamedTuple):
    """Everything about a model that decides how much memory it takes and how fast it runs."""

    name: str
    """As the user typed it."""
    architecture: str
    """GGUF's spelling where there is one (``llama``, ``gptoss``, ``deepseek2``), else model_type."""
    source: str
    """``catalogue``, ``ollama store``, ``gguf``, ``safetensors``, ``config.json``, ``hub cache``, ``hub`` or
    ``ollama registry``."""
    form: Form
    quantization: str
    """Canonical: a GGUF file type (``Q4_K_M``, ``MXFP4``), or one of ``BF16 F16 F32 FP8 AWQ GPTQ-Int4
    GPTQ-Int8 W8A8 W4A16 NF4 INT8 MXFP4 NVFP4``."""
    dtype: Literal["bf16", "f16", "f32"]
    """Type of the unquantized tensors as stored; engines compute and cache in it unless told otherwise."""
    parameters: int | None
    active_parameters: int | None
    """Parameters that one token runs through; equal to `parameters` for a dense model."""
    layers: tuple[Layer, ...]
    embedding_bytes: int
    """The token embedding matrix (or matrices)."""
    output_bytes: int
    """The output matrix; 0 when it is tied to the embedding."""
    tied_embeddings: bool
    final_bytes: int
    """Final norm and whatever else belongs to no layer: small, whole on the GPU that holds the output."""
    file_bytes: int | None
    """The file or files to download, headers and tokenizer included; None when nobody published it."""
    vocabulary: int
    hidden_size: int
    heads: int
    kv_heads: int
    """The most of any layer."""
    head_dim: int
    """Key length of one head, explicit where the configuration gives one."""
    value_head_dim: int
    intermediate_size: int
    """Width of the dense feed-forward block; of one expert when no layer is dense."""
    context_maximum: int | None
    """Tokens the model was trained for, rope scaling of the configuration applied once."""
    experts: Experts | None = None
    latent: Latent | None = None
    encoders: tuple[Encoder, ...] = ()
    encoder_decoder: bool = False
    host_bytes: int = 0
    """Tensors that every engine keeps in host memory (Gemma 3n's per-layer embedding table)."""
    draft_bytes: int = 0
    """Multi-token-prediction layers in the file, which engines load only when asked to."""
    embedding_type: str | None = None
    """Type of the token embedding as stored (a GGUF tensor type or a torch dtype name)."""
    output_type: str | None = None
    """Type of the output matrix as stored; of the embedding when tied."""
    expert_type: str | None = None
    """Type of the routed experts' matrices as stored."""
    files: tuple[str, ...] = ()
    """Where the bytes were read: paths or addresses."""
    origin: str | None = None
    """What a catalogue row or header is based on: a link or a sentence."""
    local: bool = False
    """The weights are on this machine, so that nothing has to be downloaded."""
    warnings: tuple[str, ...] = ()
    """What is wrong with the files (missing or short shards), one sentence each: a warning in the report."""
    unknown: tuple[str, ...] = ()
    """What could not be determined, one sentence each; widens the error band or makes a term null."""
    assumed: tuple[str, ...] = ()
    """What the source assumed to answer (a default quantization, a default tag)."""
    repacked: bool = False
    """Quantized by somebody else, and only the name was read: its groups and exceptions are the usual ones."""

    @property
    def weights_bytes(self) -> int:
        """All tensors of the language model and its encoders, in bytes."""
        encoders = sum(encoder.weights_bytes for encoder in self.encoders)
        own = self.embedding_bytes + self.output_bytes + self.final_bytes + self.host_bytes
        return sum(layer.weights.total for layer in self.layers) + own + encoders

    @property
    def encoder_bytes(self) -> int:
        """All vision and audio towers with their projectors, in bytes."""
        return sum(encoder.weights_bytes for encoder in self.encoders)

    @property
    def windowed(self) -> bool:
        """Whether some layer looks back on a limited window only."""
        return any(layer.cache.window for layer in self.layers)

    @property
    def recurrent(self) -> bool:
        """Whether some layer keeps a state instead of a cache that grows."""
        return any(layer.cache.conv_state_values or layer.cache.ssm_state_values for layer in self.layers)


def grouped(layers: Iterable[Layer]) -> dict[Layer, int]:
    """Count equal layers: most models have two or three kinds, so sums need not walk every block."""
    counts: dict[Layer, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    return counts
