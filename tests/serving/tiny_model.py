"""A llama of a few hundred kilobytes that a real engine loads and that says random words."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

LAYERS, WIDTH, HEADS, FEED, CONTEXT, WORDS = 2, 64, 4, 128, 512, 512


def write_tiny_model(path: Path) -> Path:
    """Write it: a SentencePiece vocabulary of bytes and words, weights from a fixed seed."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256)), *(f"\u2581word{n}" for n in range(WORDS))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL,
             *[gguf.TokenType.BYTE] * 256, *[gguf.TokenType.NORMAL] * WORDS]  # fmt: skip
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(n) for n in range(WORDS)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    random = np.random.default_rng(7)

    def matrix(name: str, *shape: int) -> None:
        data: Any = random.normal(0, 0.3, shape).astype(np.float32)
        if name == "output":
            data[:259] = 0.0  # neither the end nor bytes: it goes on as long as it may
        writer.add_tensor(f"{name}.weight", data)

    matrix("token_embd", len(tokens), WIDTH)
    for n in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{n}.{name}.weight", np.ones(WIDTH, dtype=np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{n}.{name}", WIDTH, WIDTH)
        matrix(f"blk.{n}.ffn_gate", FEED, WIDTH)
        matrix(f"blk.{n}.ffn_up", FEED, WIDTH)
        matrix(f"blk.{n}.ffn_down", WIDTH, FEED)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    matrix("output", len(tokens), WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
