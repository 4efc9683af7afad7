"""Files that somebody pasted, as chunks of whole lines in bounded memory: UTF-8, UTF-16 or gzip, whatever they hold."""

import codecs
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CHUNK_BYTES = 1 << 19
#: What is longer than this is no line of a log; the rest of it is left out.
MAX_LINE_BYTES = 1 << 16
#: A log that unpacks to more than this, and to more than MAX_RATIO times its size, is a bomb.
MAX_UNPACKED_BYTES = 1 << 30
MAX_RATIO = 200

_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|[\]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = bytes([*range(0, 9), 11, *range(14, 32), 127])
_SLICE_BYTES = 1 << 13
_GZIP = b"\x1f\x8b"
#: What else logs are packed with, and what unpacks it.
_PACKED = ((b"\x28\xb5\x2f\xfd", "zstd -d"), (b"\xfd7zXZ\x00", "xz -d"), (b"BZh", "bzip2 -d"))


class Chunk(NamedTuple):
    """Some whole lines; ``line`` is the number of the first one."""

    data: bytes
    line: int


class BadInput(Exception):
    """Why a file, or the rest of it, could not be read, in one line."""


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Yield a file's text without terminal control sequences and carriage returns.

    Raises:
        BadInput: It is no text, or breaks off. What came before has been yielded.
    """
    head = file.read(CHUNK_BYTES)
    for magic, unpacker in _PACKED:
        if head.startswith(magic):
            raise BadInput(f"is packed in a way that is not read here: unpack it with {unpacker}")
    blocks = _unpack(head, file) if head.startswith(_GZIP) else _blocks(head, file)
    yield from _lines(_decode(blocks))


def _blocks(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    while head:
        yield head
        head = file.read(CHUNK_BYTES)


def _unpack(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    """Unpack members one after another: a bug report has one for each of its sections, a joke a million."""
    waiting = bytearray()
    try:
        for text in _members(head, file):
            waiting += text
            if len(waiting) >= CHUNK_BYTES:
                yield bytes(waiting)
                waiting.clear()
    except BadInput:
        yield bytes(waiting)
        raise
    if waiting:
        yield bytes(waiting)


def _members(head: bytes, file: BinaryIO) -> Iterator[bytes]:
    stream = None
    taken = given = 0
    rest = b""
    try:
        for piece in _slices(_blocks(head, file)):
            block, rest = rest + piece, b""
            taken += len(piece)
            while block:
                if stream is None:
                    block = block.lstrip(b"\0")
                    if len(block) < len(_GZIP):
                        rest = block
                        break
                    if not block.startswith(_GZIP):
                        return
                    stream = zlib.decompressobj(wbits=31)
                text = stream.decompress(block, CHUNK_BYTES)
                given += len(text)
                if given > MAX_UNPACKED_BYTES and given > taken * MAX_RATIO:
                    raise BadInput("unpacks to far more than a log can be; only its beginning was read")
                if text:
                    yield text
                block = stream.unused_data if stream.eof else stream.unconsumed_tail
                stream = None if stream.eof else stream
    except zlib.error as error:
        raise BadInput(f"the gzip file is damaged: {error}") from None
    if stream is not None:
        raise BadInput("the gzip file breaks off; what came before was read")


def _slices(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut blocks small: what is left of one is copied at each member's end."""
    for block in blocks:
        for start in range(0, len(block), _SLICE_BYTES):
            yield block[start : start + _SLICE_BYTES]


def _decode(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Turn UTF-16 into UTF-8 and refuse what is no text."""
    first = next(blocks, b"")
    encoding = _utf16(first)
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
    bad = None if decoder else _no_text(first)
    if bad:
        raise BadInput(bad)
    block: bytes | None = first
    while block is not None:
        yield decoder.decode(block).encode("utf-8", "replace") if decoder else block.removeprefix(codecs.BOM_UTF8)
        block = next(blocks, None)


def _utf16(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" in head:
        return "utf-16"
    sample = head[:2000]
    if len(sample) > 20 and sample[1::2].count(0) * 10 > len(sample) * 4 and sample[0::2].count(0) == 0:
        return "utf-16-le"
    return None


def _no_text(head: bytes) -> str | None:
    sample = head[:8192]
    if not sample:
        return "is empty"
    odd = len(sample) - len(sample.translate(None, b"\0\x01\x02\x03\x04\x05\x06\x0e\x0f\x10\x11\x12\x13\x14\x15\x16"))
    return "is no text" if odd * 20 > len(sample) else None


def _lines(blocks: Iterator[bytes]) -> Iterator[Chunk]:
    """Cut at line ends. Of a line that does not end only the beginning is kept."""
    rest, line, skipping = b"", 1, False
    for block in blocks:
        if skipping:
            _, newline, block = block.partition(b"\n")
            if not newline:
                continue
            skipping = False
            line += 1
        data = rest + block
        end = data.rfind(b"\n") + 1
        whole, rest = data[:end], data[end:]
        if len(rest) > MAX_LINE_BYTES:
            whole, rest, skipping = whole + rest[:MAX_LINE_BYTES] + b"\n", b"", True
        if whole:
            yield Chunk(_clean(whole), line)
            # The newline of a line that is cut comes later, and is counted then.
            line += whole.count(b"\n") - skipping
    if rest:
        yield Chunk(_clean(rest + b"\n"), line)


def _clean(data: bytes) -> bytes:
    if b"\r" in data:
        # A progress bar writes over its line; what it says is of no use, its last state is enough.
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    if b"\x1b" in data:
        data = _ESCAPE.sub(b"", data)
    return data.translate(None, _CONTROL)
