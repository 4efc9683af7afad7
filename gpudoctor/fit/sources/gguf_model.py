"""A GGUF file (or all files of a split one) to a `Model`: real bytes, shapes kept for another quantization."""

import re
from pathlib import Path

from gpudoctor.fit.model import Encoder, Experts, Model, Unusable
from gpudoctor.fit.sources.build import build
from gpudoctor.fit.sources.gguf import Entry, Header, read_gguf
from gpudoctor.fit.sources.gguf_geometry import Geometry, block_count, geometry
from gpudoctor.fit.sources.gguf_mix import BASE
from gpudoctor.fit.sources.inventory import Inventory, applied
from gpudoctor.fit.sources.tensors import Block, Blueprint, Tensor

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
}  # fmt: skip
"""``general.file_type`` of a GGUF file: llama.cpp's llama_ftype."""

_SPELT = {"gpt-oss": "gptoss"}
"""Architectures that llama.cpp and Ollama spell differently."""
_BLOCK = re.compile(r"^blk\.(\d{1,4})\.(.+)$")
_TOWER = re.compile(r"^(?:v|vision|mm|a|audio|enc|resampler)\.")
_SPLIT = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)$", re.IGNORECASE)
_QUERY = frozenset({"attn_q", "attn_output", "attn_q_b", "attn_kv_b", "attn_k_b", "attn_v_b", "attn_sinks", "attn_out"})
_KEY_VALUE = frozenset({"attn_k", "attn_v"})


def part_of(role: str, recurrent: bool) -> str:
    """The part of a layer that a tensor of this role belongs to; `recurrent` says that the layer has a mixer."""
    stem = role.removesuffix(".bias")
    if stem.endswith("_norm"):
        return "replicated"
    if recurrent and stem in ("attn_qkv", "attn_gate"):
        return "recurrent"
    if stem in _QUERY or stem == "attn_gate":
        return "query"
    if stem in _KEY_VALUE:
        return "key_value"
    if stem.endswith("_exps"):
        return "experts"
    if stem.endswith("_shexp"):
        return "replicated" if stem.startswith("ffn_gate_inp") else "shared_experts"
    if stem in ("ffn_up", "ffn_gate", "ffn_down", "ffn_gate_up"):
        return "mlp"
    if stem.startswith(("ssm_", "time_mix", "shortconv", "channel_mix")):
        return "recurrent"
    return "cross" if stem.startswith("cross_attn") else "replicated"


def _role(text: str) -> str:
    return text.removesuffix(".weight")


def split_names(path: Path) -> list[Path]:
    """All files of a split set, the file alone when it is whole."""
    match = _SPLIT.match(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    if not 0 < count <= 4096:
        raise Unusable(f"a set of {count} files", where=str(path))
    return [
        path.with_name(f"{match['stem']}-{number:05d}-of-{match['count']}{match['end']}")
        for number in range(1, count + 1)
    ]


def load_gguf(path: Path, name: str, source: str = "gguf", projector: Path | None = None) -> tuple[Model, Blueprint]:
    """The model in a GGUF file or split set, and its shapes; `projector` is a tower in a file of its own.

    Missing and short files end as sentences in `Model.warnings`. Raises `Unusable` when no header with the
    model's metadata can be read.
    """
    headers, warnings = [], []
    for file in split_names(path):
        if not file.is_file():
            warnings.append(f"{file.name} is missing: the set has {len(split_names(path))} files")
            continue
        headers.append(read_gguf(file))
    if projector is not None:
        tower = read_gguf(projector)
        warnings += _short([tower])
        return from_headers(headers, name, source, warnings, tower)
    return from_headers(headers, name, source, warnings, None)


def _short(headers: list[Header]) -> list[str]:
    return [
        f"{Path(h.path).name} ends {h.missing_bytes} bytes early: an interrupted download or copy"
        for h in headers
        if h.missing_bytes
    ]


def from_headers(
    headers: list[Header], name: str, source: str, warnings: list[str], projector: Header | None
) -> tuple[Model, Blueprint]:
    """The model that these headers describe together; the first one with an architecture speaks for all."""
    lead = next((h for h in headers if h.text("general.architecture")), None)
    if lead is None:
        where = headers[0].path if headers else name
        raise Unusable("the GGUF metadata names no architecture", where=where)
    arch = lead.text("general.architecture")
    if arch == "clip":
        raise Unusable(
            "this is a vision projector, not a model", where=lead.path, hint="give the model's own GGUF file"
        )
    if lead.text("general.type") in ("adapter", "imatrix"):
        kind = lead.text("general.type")
        raise Unusable(f"this GGUF file holds an {kind}, not a model", where=lead.path, hint="give its base model")
    entries = [entry for header in headers for entry in header.tensors]
    expected = lead.number("split.tensors.count")
    if expected is not None and expected != len(entries) and not warnings:
        warnings = [*warnings, f"{expected} tensors announced, {len(entries)} found: a file of the set is missing"]
    blueprint, real, geo = _described(lead, arch, entries)
    if projector is not None:
        real.encoders["vision"] = real.encoders.get("vision", 0) + sum(e.size for e in projector.tensors)
    quantization = file_quantization(lead, entries)
    files = tuple(h.path for h in (*headers, *([projector] if projector else [])))
    model = build(
        blueprint, name=name, source=source, form="gguf", quantization=quantization if quantization in BASE else "F16",
        file_bytes=sum(h.file_bytes for h in headers) + (projector.file_bytes if projector else 0),
        files=files, origin=lead.path, local=True, warnings=(*warnings, *_short(headers)),
    )  # fmt: skip
    model = applied(model, real, separate=projector is not None)
    return model._replace(quantization=quantization, unknown=(*blueprint.unknown, *geo.unknown)), blueprint


def file_quantization(header: Header, entries: list[Entry]) -> str:
    """The file's quantization: its declared type, or MXFP4 or the commonest type when it declares none we know."""
    if any(e.type_name == "MXFP4" for e in entries):
        return "MXFP4"
    declared = FILE_TYPES.get(header.number("general.file_type") or 0)
    if declared and header.number("general.file_type") is not None:
        return declared
    sums: dict[str, int] = {}
    for entry in entries:
        if len(entry.shape) > 1:
            sums[entry.type_name or "unknown"] = sums.get(entry.type_name or "unknown", 0) + entry.size
    return max(sums, key=lambda kind: sums[kind]) if sums else "F32"


def _described(lead: Header, arch: str, entries: list[Entry]) -> tuple[Blueprint, Inventory, Geometry]:
    blocks = block_count(lead)
    present: dict[int, set[str]] = {}
    for entry in entries:
        match = _BLOCK.match(entry.name)
        if match:
            present.setdefault(int(match[1]), set()).add(_role(match[2]).removesuffix(".bias"))
    geo = geometry(lead, present)
    mixing = {i: any(r.startswith(("ssm_", "time_mix", "shortconv")) for r in roles) for i, roles in present.items()}
    real = Inventory()
    layers: dict[int, list[Tensor]] = {index: [] for index in range(blocks)}
    places: dict[str, list[Tensor]] = {"embedding": [], "output": [], "final": [], "host": [], "draft": []}
    tower = 0
    for entry in entries:
        match = _BLOCK.match(entry.name)
        if match and int(match[1]) < blocks:
            index, role = int(match[1]), _role(match[2])
            for tensor, size in _split_fused(entry, role, part_of(role, mixing[index]), geo):
                layers[index].append(tensor)
                real.add(index, tensor.part, size)
            if role in ("ffn_up_exps", "ffn_gate_up_exps"):
                real.types["expert"] = entry.type_name or "unknown"
            continue
        place = "draft" if match else _place(entry.name)
        if place in ("vision", "audio"):
            real.encoders[place] = real.encoders.get(place, 0) + entry.size
            tower += _elements(entry)
            continue
        places[place].append(Tensor(_role(entry.name), entry.shape, "replicated"))
        setattr(real, place, getattr(real, place) + entry.size)
        if place in ("embedding", "output") and len(entry.shape) > 1:
            real.types[place] = entry.type_name or "unknown"
    return _blueprint(lead, arch, geo, layers, places, tower), real, geo


def _elements(entry: Entry) -> int:
    count = 1
    for dimension in entry.shape:
        count *= dimension
    return count


def _place(name: str) -> str:
    if name.startswith("token_embd") or name.startswith(("token_types", "position_embd")):
        return "embedding"
    if name in ("output.weight", "output.bias"):
        return "output"
    if name.startswith("per_layer_token_embd"):
        return "host"
    if _TOWER.match(name):
        return "audio" if name.startswith(("a.", "audio", "mm.a.")) else "vision"
    return "final"


def _split_fused(entry: Entry, role: str, part: str, geo: Geometry) -> list[tuple[Tensor, int]]:
    """A fused query-key-value matrix as its rows by part; every other tensor alone."""
    stem = role.removesuffix(".bias")
    rows = entry.shape[-1]
    kv_rows = geo.kv_heads * (geo.key_dim + geo.value_dim)
    if stem != "attn_qkv" or part == "recurrent" or not 0 < kv_rows < rows:
        return [
            (Tensor(role, entry.shape, "query" if stem == "attn_qkv" and part == "replicated" else part), entry.size)
        ]
    rest = entry.size * kv_rows // rows
    head = entry.shape[:-1]
    return [
        (Tensor(role, (*head, rows - kv_rows), "query"), entry.size - rest),
        (Tensor(role, (*head, kv_rows), "key_value"), rest),
    ]


def _blueprint(
    lead: Header, arch: str, geo: Geometry, layers: dict[int, list[Tensor]], places: dict[str, list[Tensor]], tower: int
) -> Blueprint:
    def number(key: str) -> int:
        return lead.number(f"{arch}.{key}") or 0

    made: dict[tuple[tuple[Tensor, ...], object], Block] = {}
    blocks = []
    for index, tensors in layers.items():
        key = (tuple(tensors), geo.caches[index])
        routed = any(t.part == "experts" for t in tensors)
        blocks.append(made.setdefault(key, Block(key[0], geo.caches[index], routed)))
    count = number("expert_count")
    width = number("expert_feed_forward_length") or next(
        (t.shape[1] for b in blocks for t in b.tensors if t.role == "ffn_up_exps" and len(t.shape) > 2), 0
    )
    embedding = next((t.shape for t in places["embedding"] if t.role == "token_embd"), (number("embedding_length"), 0))
    vocabulary = embedding[1] if len(embedding) > 1 else 0
    listed = lead.numbers(f"{arch}.feed_forward_length")
    return Blueprint(
        architecture=_SPELT.get(arch, arch),
        model_type=arch,
        blocks=tuple(blocks),
        embedding=tuple(places["embedding"]),
        output=tuple(places["output"]),
        final=tuple(places["final"]),
        vocabulary=vocabulary or lead.length("tokenizer.ggml.tokens") or number("vocab_size"),
        hidden_size=number("embedding_length"),
        heads=geo.heads,
        kv_heads=geo.kv_heads,
        head_dim=geo.key_dim,
        value_head_dim=geo.value_dim,
        intermediate_size=max(listed, default=0) or number("feed_forward_length") or width,
        context_maximum=number("context_length") or None,
        dtype="f16",
        experts=Experts(count, number("expert_used_count"), width, number("expert_shared_count"))
        if count > 1
        else None,
        latent=geo.latent,
        encoders=((Encoder("vision", 0), tower),) if tower else (),
        host=tuple(places["host"]),
        draft=tuple(places["draft"]),
    )
