"""Rewrite the JSON twins of the large tables: `python -m gpudoctor.matrices.compact`."""

import msgspec

from gpudoctor.matrices.table import FOLDER, read_toml

COMPACT = ("cuda_driver", "gpus", "ollama", "pytorch", "signatures", "vllm")
"""The tables whose TOML takes more than 3 ms to parse."""


def compacted(name: str) -> bytes:
    """Return a table as the JSON that `load` prefers."""
    return msgspec.json.encode(read_toml(name)) + b"\n"


if __name__ == "__main__":
    for table_name in COMPACT:
        (FOLDER / f"{table_name}.json").write_bytes(compacted(table_name))
