"""ELF headers, read within bounds: sections, and what a file asks of the dynamic loader. Nothing is loaded."""

import struct
from typing import NamedTuple

from gpudoctor.probes.regular_file import RegularFile

_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x15: "ppc64le", 0xF3: "riscv64"}
_MAX_HEADERS = 4096
_MAX_STRINGS = 8 << 20
_MAX_DYNAMIC = 1 << 20
_MAX_NAME = 4096
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29


class ElfError(ValueError):
    """The file is no 64-bit ELF file, or cut short."""


class Elf(NamedTuple):
    """One file's headers.

    ``sections`` maps a name to where it lies (offset and size in bytes); the first of a name wins, empty when the
    table was stripped. ``rpath`` and ``runpath`` are as written, ``$ORIGIN`` included.
    """

    machine: str
    interpreter: str
    sections: dict[str, tuple[int, int]]
    soname: str | None
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]


def read_elf(file: RegularFile) -> Elf:
    """Read the headers.

    Raises:
        ElfError: It is no 64-bit ELF file, or cut short.
        OSError: It cannot be read.
    """
    head = file.read(0, 64)
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] != 2:
        raise ElfError("no 64-bit ELF file")
    order = ">" if head[5] == 2 else "<"
    machine, program_at, section_at = struct.unpack_from(f"{order}18xH12xQQ", head)
    program_size, program_count, section_size, section_count, names = struct.unpack_from(f"{order}54xHHHHH", head)
    programs = _table(file, program_at, program_size, program_count, 56)
    sections = _table(file, section_at, section_size, section_count, 64)
    loads: list[tuple[int, int, int]] = []
    dynamic, interpreter = b"", ""
    for entry in programs:
        kind, _, offset, address, _, size = struct.unpack_from(f"{order}IIQQQQ", entry)
        if kind == _LOAD:
            loads.append((address, offset, size))
        elif kind == _DYNAMIC:
            dynamic = file.read(offset, min(size, _MAX_DYNAMIC))
        elif kind == _INTERPRETER:
            interpreter = _text(file.read(offset, min(size, _MAX_NAME)), 0)
    tags = [struct.unpack_from(f"{order}qQ", dynamic, at) for at in range(0, len(dynamic) - 15, 16)]
    strings = _strings(file, tags, loads)
    return Elf(
        machine=_MACHINES.get(machine, f"machine-{machine}"),
        interpreter=interpreter,
        sections=_sections(file, sections, names, order),
        soname=next((_text(strings, value) for tag, value in tags if tag == _SONAME), None),
        needed=tuple(_text(strings, value) for tag, value in tags if tag == _NEEDED)[:256],
        rpath=_paths(strings, tags, _RPATH),
        runpath=_paths(strings, tags, _RUNPATH),
    )


def _table(file: RegularFile, at: int, size: int, count: int, smallest: int) -> list[bytes]:
    if not at or size < smallest or size > 1024:
        return []
    data = file.read(at, size * min(count, _MAX_HEADERS))
    return [data[start : start + size] for start in range(0, len(data) - size + 1, size)]


def _sections(file: RegularFile, table: list[bytes], names: int, order: str) -> dict[str, tuple[int, int]]:
    if names >= len(table):
        return {}
    at, size = struct.unpack_from(f"{order}24xQQ", table[names])
    strings = file.read(at, min(size, _MAX_STRINGS))
    found: dict[str, tuple[int, int]] = {}
    for entry in table:
        name, kind, offset, length = struct.unpack_from(f"{order}II16xQQ", entry)
        # A section without bits in the file (split debug symbols) says nothing of where they are.
        if kind != 8 and offset < file.size:
            found.setdefault(_text(strings, name), (offset, min(length, file.size - offset)))
    return found


def _strings(file: RegularFile, tags: list[tuple[int, int]], loads: list[tuple[int, int, int]]) -> bytes:
    address = next((value for tag, value in tags if tag == _STRTAB), None)
    size = next((value for tag, value in tags if tag == _STRSZ), 0)
    if address is None:
        return b""
    for start, offset, length in loads:
        if start <= address < start + length:
            return file.read(offset + address - start, min(size, _MAX_STRINGS))
    return b""


def _paths(strings: bytes, tags: list[tuple[int, int]], wanted: int) -> tuple[str, ...]:
    text = next((_text(strings, value) for tag, value in tags if tag == wanted), "")
    return tuple(part for part in text.split(":") if part)[:64]


def _text(data: bytes, start: int) -> str:
    if start >= len(data):
        return ""
    end = data.find(b"\0", start, start + _MAX_NAME)
    return data[start : end if end >= 0 else start + _MAX_NAME].decode("utf-8", "replace")
