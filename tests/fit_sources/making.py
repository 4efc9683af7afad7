"""Small real files, written by the packages that define the formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np

LAYERS, HIDDEN, HEADS, KV_HEADS, WIDTH, WORDS = 3, 256, 4, 2, 512, 320
HEAD = HIDDEN // HEADS


def shapes() -> dict[str, tuple[int, ...]]:
    """Tensors of a small llama, innermost first."""
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (HIDDEN, WORDS), "output_norm.weight": (HIDDEN,)}
    for i in range(LAYERS):
        found |= {
            f"blk.{i}.attn_norm.weight": (HIDDEN,),
            f"blk.{i}.attn_q.weight": (HIDDEN, HIDDEN),
            f"blk.{i}.attn_k.weight": (HIDDEN, KV_HEADS * HEAD),
            f"blk.{i}.attn_v.weight": (HIDDEN, KV_HEADS * HEAD),
            f"blk.{i}.attn_output.weight": (HIDDEN, HIDDEN),
            f"blk.{i}.ffn_norm.weight": (HIDDEN,),
            f"blk.{i}.ffn_gate.weight": (HIDDEN, WIDTH),
            f"blk.{i}.ffn_up.weight": (HIDDEN, WIDTH),
            f"blk.{i}.ffn_down.weight": (WIDTH, HIDDEN),
        }
    return found | {"output.weight": (HIDDEN, WORDS)}


def write_gguf(path: Path, quant: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q8_0, **options: Any) -> Path:
    """A small llama of which every matrix has this type; `options` go to the writer."""
    writer = gguf.GGUFWriter(str(path), "llama", **options)
    writer.add_block_count(LAYERS)
    writer.add_context_length(4096)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_token_list([f"word{i}".encode() for i in range(WORDS)])
    writer.add_token_scores([0.5] * WORDS)
    writer.add_bool("general.flag", True)
    writer.add_array("general.mixed", ["a", "b"])
    for name, shape in shapes().items():
        data: Any = np.zeros(tuple(reversed(shape)), dtype=np.float32)
        if len(shape) > 1:
            writer.add_tensor(name, gguf.quants.quantize(data, quant), raw_dtype=quant)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


CONFIG = {
    "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS, "intermediate_size": WIDTH, "vocab_size": WORDS, "torch_dtype": "bfloat16",
    "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip


def hub_tensors() -> dict[str, tuple[int, ...]]:
    """The same model as a checkpoint names it, outermost first."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for i in range(LAYERS):
        at = f"model.layers.{i}"
        found |= {
            f"{at}.input_layernorm.weight": (HIDDEN,),
            f"{at}.post_attention_layernorm.weight": (HIDDEN,),
            f"{at}.self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            f"{at}.self_attn.k_proj.weight": (KV_HEADS * HEAD, HIDDEN),
            f"{at}.self_attn.v_proj.weight": (KV_HEADS * HEAD, HIDDEN),
            f"{at}.self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            f"{at}.mlp.gate_proj.weight": (WIDTH, HIDDEN),
            f"{at}.mlp.up_proj.weight": (WIDTH, HIDDEN),
            f"{at}.mlp.down_proj.weight": (HIDDEN, WIDTH),
        }
    return found | {"lm_head.weight": (WORDS, HIDDEN)}


def write_folder(folder: Path, shards: int = 1, *, index: bool = True, config: dict[str, Any] | None = None) -> Path:
    """A safetensors checkpoint in so many files, with its config.json."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or CONFIG))
    names = list(hub_tensors().items())
    mapping: dict[str, str] = {}
    for number in range(shards):
        name = "model.safetensors" if shards == 1 else f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part: dict[str, Any] = {key: np.zeros(shape, dtype=np.float16) for key, shape in names[number::shards]}
        save_file(part, str(folder / name))
        mapping |= dict.fromkeys(part, name)
    if index and shards > 1:
        total = sum(2 * int(np.prod(shape)) for _, shape in names)
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": total}, "weight_map": mapping})
        )
    return folder
