"""Dumps of memory and of packed data are no messages; a message that only looks a little like them is one."""

import io

import pytest

from gpudoctor.evidence.paste import Paste
from gpudoctor.evidence.shapes import is_dump
from gpudoctor.facts.signatures import Signatures


def shape(line: str) -> bytes:
    """A line as the scanner compares it: without figures, in lower case."""
    return "".join(c for c in line.lower() if not c.isdigit()).encode()


@pytest.mark.parametrize(
    "line",
    [
        "00000020: 4a1f 00c2 bb81 deaf 0000 0000 fe12 aa55  J.......oom..cud",
        "70: 86 80 5a 46 07 04 10 00 ab cd ef 00 00 00 00 0f",
        "bm8gcGFydGljdWxhciByZWFzb24gdG8gZGVjb2RlIHRoaXMgbGluZSBhdCBhbGwgYnV0",
    ],
)
def test_a_dump(line: str) -> None:
    assert is_dump(shape(line))


@pytest.mark.parametrize(
    "line",
    [
        "12:        CUDA out of memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1: cannot open shared object file",
    ],
)
def test_a_message(line: str) -> None:
    paste = Paste()
    paste.feed(io.BytesIO(line.encode()), "a.log")
    log = paste.snapshot().signatures
    assert isinstance(log, Signatures)
    assert log.matches
