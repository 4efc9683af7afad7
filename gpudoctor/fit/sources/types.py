"""Tensor types of GGUF files and how many bytes a row of each takes.

Every type packs a fixed number of elements (a block) into a fixed number of bytes; a row that is not a
whole number of blocks cannot have the type. Numbers: the block structs of ggml (ggml-common.h), checked in
the tests against `gguf.GGML_QUANT_SIZES`.
"""

from typing import NamedTuple


class BlockType(NamedTuple):
    """One tensor type: `elements` numbers take `bytes_` bytes."""

    name: str
    elements: int
    bytes_: int


_TABLE = """0 F32 1 4|1 F16 1 2|2 Q4_0 32 18|3 Q4_1 32 20|6 Q5_0 32 22|7 Q5_1 32 24|8 Q8_0 32 34|9 Q8_1 32 40
10 Q2_K 256 84|11 Q3_K 256 110|12 Q4_K 256 144|13 Q5_K 256 176|14 Q6_K 256 210|15 Q8_K 256 292
16 IQ2_XXS 256 66|17 IQ2_XS 256 74|18 IQ3_XXS 256 98|19 IQ1_S 256 50|20 IQ4_NL 32 18|21 IQ3_S 256 110
22 IQ2_S 256 82|23 IQ4_XS 256 136|24 I8 1 1|25 I16 1 2|26 I32 1 4|27 I64 1 8|28 F64 1 8|29 IQ1_M 256 56
30 BF16 1 2|34 TQ1_0 256 54|35 TQ2_0 256 66|39 MXFP4 32 17|40 NVFP4 64 36|41 Q1_0 128 18"""

BY_NUMBER: dict[int, BlockType] = {
    int(number): BlockType(name, int(elements), int(size))
    for number, name, elements, size in (row.split() for row in _TABLE.replace("\n", "|").split("|"))
}
BY_NAME: dict[str, BlockType] = {kind.name: kind for kind in BY_NUMBER.values()}


def tensor_bytes(kind: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor of this type; the first dimension is a row.

    Raises ValueError when a row is not a whole number of blocks.
    """
    _, elements, size = BY_NAME[kind]
    if shape[0] % elements:
        raise ValueError(f"{shape[0]} elements a row are no whole number of {kind} blocks")
    rows = 1
    for dimension in shape[1:]:
        rows *= dimension
    return shape[0] // elements * size * rows


def fits(kind: str, shape: tuple[int, ...]) -> bool:
    """Whether a row of this shape is a whole number of blocks."""
    return not shape[0] % BY_NAME[kind].elements
