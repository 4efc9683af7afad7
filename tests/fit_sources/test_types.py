from __future__ import annotations

import gguf
import pytest

from gpudoctor.fit.sources.types import BY_NUMBER, fits, tensor_bytes


def test_every_type_agrees_with_the_gguf_package() -> None:
    theirs = {int(kind): (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGML_QUANT_SIZES}
    shared = theirs.keys() & BY_NUMBER.keys()
    assert len(shared) > 25
    assert {n: tuple(BY_NUMBER[n]) for n in shared} == {n: theirs[n] for n in shared}


def test_bytes_follow_whole_blocks() -> None:
    assert tensor_bytes("Q4_K", (4096, 14336)) == 4096 // 256 * 144 * 14336
    assert not fits("Q4_K", (2880, 2880))
    with pytest.raises(ValueError, match="no whole number"):
        tensor_bytes("Q4_K", (2880, 2880))
