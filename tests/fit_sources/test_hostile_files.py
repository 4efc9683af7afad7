"""Whatever the bytes, the answer is a model or one line, in bounded memory."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpudoctor.fit.model import Form, Unusable
from gpudoctor.fit.sources import catalogue, gguf, load, safetensors
from gpudoctor.fit.sources.strict_json import parse_json
from gpudoctor.fit.sources.window import Window

from .making import write_folder, write_gguf

HUGE = 1 << 60


def window(data: bytes, size: int | None = None) -> Window:
    file = io.BytesIO(data)

    def fetch(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return Window(fetch, len(data) if size is None else size, "test")


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


def head(tensors: int, pairs: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def tensor(name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return (
        struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape))
        + struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)
    )  # fmt: skip


ABSURD = {
    "empty": b"",
    "other": b"PK\x03\x04" + bytes(100),
    "version 1": head(0, 0, 1) + bytes(64),
    "version 99": head(0, 0, 99) + bytes(64),
    "many tensors": head(HUGE, 0) + bytes(64),
    "many pairs": head(0, HUGE) + bytes(64),
    "long key": head(0, 1) + struct.pack("<Q", 1 << 40) + bytes(64),
    "long string": head(0, 1) + pair(b"k", 8, struct.pack("<Q", 1 << 40)) + bytes(64),
    "long array": head(0, 1) + pair(b"k", 9, struct.pack("<IQ", 4, HUGE)) + bytes(64),
    "long strings": head(0, 1) + pair(b"k", 9, struct.pack("<IQ", 8, HUGE)) + bytes(64),
    "string in array beyond": head(0, 1) + pair(b"k", 9, struct.pack("<IQQ", 8, 2, 1 << 62)) + bytes(64),
    "nested arrays": head(0, 1) + pair(b"k", 9, struct.pack("<IQ", 9, 1) * 50) + bytes(64),
    "unknown type": head(0, 1) + pair(b"k", 77, bytes(8)) + bytes(64),
    "key twice": head(0, 2) + pair(b"k", 4, bytes(4)) * 2 + bytes(64),
    "no dimensions": head(1, 0) + tensor(b"t", ()) + bytes(64),
    "many dimensions": head(1, 0) + struct.pack("<Q1sI", 1, b"t", 1 << 30) + bytes(64),
    "dimension of zero": head(1, 0) + tensor(b"t", (0, 4)) + bytes(64),
    "negative dimension": head(1, 0) + tensor(b"t", (1 << 63,)) + bytes(64),
    "dimensions that overflow": head(1, 0) + tensor(b"t", (1 << 32, 1 << 32)) + bytes(64),
    "tensor twice": head(2, 0) + tensor(b"t", (8,)) + tensor(b"t", (8,), 0, 32) + bytes(64),
    "offset beyond": head(1, 0) + tensor(b"t", (8,), 0, 1 << 50) + bytes(64),
    "offsets that overlap": head(2, 0) + tensor(b"t", (64,)) + tensor(b"u", (64,), 0, 32) + bytes(600),
    "half a block": head(1, 0) + tensor(b"t", (100,), 12) + bytes(64),
    "unknown tensor type": head(1, 0) + tensor(b"t", (32,), 999) + bytes(64),
    "odd alignment": head(0, 1) + pair(b"general.alignment", 4, struct.pack("<I", 3)) + bytes(64),
    "alignment of zero": head(0, 1) + pair(b"general.alignment", 4, bytes(4)) + bytes(64),
}


@pytest.mark.parametrize("case", ABSURD)
def test_an_absurd_gguf_header_is_one_line(case: str, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(ABSURD[case])
    tracemalloc.start()
    with pytest.raises(Unusable) as caught:
        load(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert peak < 8 << 20


def test_an_array_that_fills_a_huge_file_is_not_walked() -> None:
    """Zero-length strings take eight bytes each: a sparse file could hold more than anyone can step over."""
    size = 1 << 40
    data = head(0, 1) + pair(b"k", 9, struct.pack("<IQ", 8, (size - 100) // 8))

    def fetch(offset: int, count: int) -> bytes:
        return data[offset : offset + count].ljust(count, b"\0")

    with pytest.raises(Unusable, match="longer than any tokenizer"):
        gguf.read_header(Window(fetch, size, "test"))


HEADERS = {
    "empty": b"",
    "huge length": struct.pack("<Q", HUGE) + b"{}",
    "length beyond": struct.pack("<Q", 100) + b"{}",
    "no object": struct.pack("<Q", 4) + b"[1] ",
    "deep": struct.pack("<Q", 400_000) + b'{"a":' * 50_000 + b" " * 150_000,
    "NaN": struct.pack("<Q", 12) + b'{"a": NaN }  ',
    "key twice": struct.pack("<Q", 15) + b'{"a":{},"a":{}}',
    "no bytes": struct.pack("<Q", 4) + b"\xff\xfe{}",
}


@pytest.mark.parametrize("case", HEADERS)
def test_an_absurd_safetensors_header_is_one_line(case: str) -> None:
    with pytest.raises(Unusable) as caught:
        safetensors.read_header(window(HEADERS[case]))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "described",
    [
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 4]},
        {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 6]},
        {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1]},
        [],
    ],
)
def test_an_absurd_tensor_is_one_line(described: object) -> None:
    text = json.dumps({"t": described}).encode()
    with pytest.raises(Unusable):
        safetensors.read_header(window(struct.pack("<Q", len(text)) + text + bytes(8)))


def test_tensors_that_share_bytes_are_refused() -> None:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    text = json.dumps({"a": one, "b": one}).encode()
    with pytest.raises(Unusable, match="overlap"):
        safetensors.read_header(window(struct.pack("<Q", len(text)) + text + bytes(8)))


def judged(data: bytes, kind: str, folder: Path) -> None:
    path = folder / f"mutant.{kind}"
    path.write_bytes(data)
    said = ""
    try:
        if kind == "gguf":
            load(str(path))
        else:
            safetensors.read_safetensors(path)
    except Unusable as error:
        said = error.message
    assert "\n" not in said


FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(data=st.data())
def test_a_mutated_gguf_header_never_breaks_the_reader(data: st.DataObject, tmp_path: Path) -> None:
    seed = tmp_path / "seed.gguf"
    if not seed.exists():
        write_gguf(seed)
    bytes_ = bytearray(seed.read_bytes()[:9000])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(bytes_), 8500) - 9))
        change = data.draw(st.sampled_from(["flip", "huge", "cut", "zero", "copy"]))
        if change == "flip":
            bytes_[place] ^= 1 << data.draw(st.integers(0, 7))
        elif change == "huge":
            bytes_[place : place + 8] = struct.pack(
                "<Q", data.draw(st.sampled_from([HUGE, 1 << 40, 2**64 - 1, 1 << 31]))
            )
        elif change == "zero":
            bytes_[place : place + 8] = bytes(8)
        elif change == "copy":
            other = data.draw(st.integers(0, 4000))
            bytes_[place : place + 16] = bytes_[other : other + 16]
        else:
            del bytes_[max(64, place) :]
    judged(bytes(bytes_), "gguf", tmp_path)


@FUZZ
@given(data=st.data())
def test_a_mutated_safetensors_header_never_breaks_the_reader(data: st.DataObject, tmp_path: Path) -> None:
    seed = tmp_path / "model" / "model.safetensors"
    if not seed.exists():
        write_folder(seed.parent)
    bytes_ = bytearray(seed.read_bytes()[:6000])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(bytes_) - 9))
        new = data.draw(st.sampled_from([b"[", b"{", b'"', b"9", b"-", b"\0", b"\xff", b"NaN", b"1e99", b"}", b":"]))
        bytes_[place : place + len(new)] = new
    judged(bytes(bytes_), "safetensors", tmp_path)


@FUZZ
@given(st.binary(max_size=400))
def test_any_bytes_behind_the_magic(data: bytes) -> None:
    with pytest.raises(Unusable):
        gguf.read_header(window(b"GGUF" + data + b"\x01"))


KINDS = [
    "llama", "qwen3", "qwen3_moe", "deepseek_v3", "gemma3_text", "gemma3n", "gemma4", "gpt_oss", "qwen3_next",
    "jamba", "nemotron_h", "whisper", "llama4", "lfm2", "falcon_h1", "granitemoehybrid", "mamba", "nemotron-nas",
    "phi3", "cohere2", "nobody",
]  # fmt: skip
KEYS = [
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "intermediate_size", "vocab_size", "layer_types", "sliding_window", "text_config", "vision_config",
    "num_experts", "quantization_config", "torch_dtype", "max_position_embeddings", "kv_lora_rank",
    "hybrid_override_pattern", "block_configs", "d_model", "tie_word_embeddings",
]  # fmt: skip


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@FUZZ
@given(
    kind=st.sampled_from(KINDS),
    changes=st.dictionaries(
        st.sampled_from(KEYS),
        VALUES,
        max_size=6,
    ),
)
def test_any_configuration(kind: str, changes: dict[str, object], tmp_path: Path) -> None:
    base = {
        "model_type": kind, "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 128, "num_experts": 4,
        "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    }  # fmt: skip
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**base, **changes}))
    said, size = "", 1
    try:
        size = load(str(path)).weights_bytes
    except Unusable as error:
        said = error.message
    assert "\n" not in said
    assert size > 0


ROWS = [catalogue.row(number).config for number in range(len(catalogue.index().tables))]
ODD: list[object] = [
    0, -1, 1, 3, 1 << 20, 1 << 31, 1 << 60, 1.5, None, True, "x", "LG" * 9, [], [1] * 5, ["sliding_attention"] * 4,
    {}, {"a": 1}, [None], [[]], "M*-E",
]  # fmt: skip


@settings(FUZZ, max_examples=400)
@given(
    row=st.sampled_from(ROWS),
    changes=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(ODD), st.booleans()), min_size=1, max_size=3),
    form=st.sampled_from([None, "gguf", "safetensors"]),
    quant=st.sampled_from([None, "Q4_K_M", "AWQ", "FP8"]),
)
def test_any_change_to_a_real_configuration(
    row: dict[str, object],
    changes: list[tuple[int, object, bool]],
    form: Form | None,
    quant: str | None,
    tmp_path: Path,
) -> None:
    config = json.loads(json.dumps(row))
    for place, value, inside in changes:
        part = config["text_config"] if inside and isinstance(config.get("text_config"), dict) else config
        keys = sorted(part)
        if keys:
            part[keys[place % len(keys)]] = json.loads(json.dumps(value))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    said = ""
    try:
        load(str(path), form=form, quant=quant)
    except Unusable as error:
        said = error.message
    assert "\n" not in said
    assert len(said) < 600


def test_deep_and_huge_json(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="deep"):
        parse_json(b'{"a":' * 200_000, "x")
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Unusable, match="too many"):
        load(str(tmp_path))


def test_a_folder_with_nothing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"no config\.json"):
        load(str(tmp_path))
    with pytest.raises(Unusable, match="no such file"):
        load(str(tmp_path / "nothing.gguf"))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(Unusable, match="no model"):
        load(str(tmp_path / "notes.txt"))
