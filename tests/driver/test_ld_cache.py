"""The loader's cache, read without ldconfig."""

import contextlib
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.probes.ld_cache import MAX_CACHE_BYTES, CacheEntry, CacheError, parse_cache
from gpudoctor.probes.root import Root

X86_64, AARCH64, I386 = 0x0303, 0x0A03, 0x0003


def cache(*entries: tuple[str, str, int], count: int | None = None, old: bool = False) -> bytes:
    """What ldconfig would write; ``old`` puts the form of glibc before 2.32 in front."""
    strings, table = b"", b""
    start = 48 + 24 * len(entries)
    for name, path, flags in entries:
        table += struct.pack("<iIIIQ", flags, start + len(strings), start + len(strings) + len(name) + 1, 0, 0)
        strings += name.encode() + b"\0" + path.encode() + b"\0"
    number = len(entries) if count is None else count
    body = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", number, len(strings), 2, 0) + table + strings
    return (struct.pack("<12sI", b"ld.so-1.7.0", 2) + b"\0" * 24 + body) if old else body


ML = ("libnvidia-ml.so.1", "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", X86_64)


@pytest.mark.parametrize("old", [False, True])
def test_entries_keep_the_loaders_order(old: bool) -> None:
    second = ("libnvidia-ml.so.1", "/opt/lib/libnvidia-ml.so.1", X86_64)
    found = parse_cache(cache(ML, ("libc.so.6", "/lib/libc.so.6", X86_64), second, old=old), {"libnvidia-ml.so.1"})
    assert found == (CacheEntry(ML[0], ML[1], "x86_64"), CacheEntry(ML[0], second[1], "x86_64"))


def test_a_32_bit_copy_is_no_second_driver() -> None:
    data = cache(("libcuda.so.1", "/usr/lib/i386-linux-gnu/libcuda.so.1", I386),
                 ("libcuda.so.1", "/usr/lib/aarch64-linux-gnu/libcuda.so.1", AARCH64))
    assert [entry.architecture for entry in parse_cache(data, {"libcuda.so.1"})] == ["aarch64"]


@pytest.mark.parametrize(
    "data",
    [b"", b"not a cache", cache(ML)[:40], cache(ML)[:60], cache(ML, count=4_000_000_000),
     struct.pack("<12sI", b"ld.so-1.7.0", 4_000_000_000)],
    ids=["empty", "other", "no header", "cut short", "a billion entries", "old header only"],
)
def test_what_is_no_cache_is_refused(data: bytes) -> None:
    with pytest.raises(CacheError):
        parse_cache(data, {"libnvidia-ml.so.1"})


def test_offsets_outside_the_file_find_nothing() -> None:
    data = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", 1, 0, 2, 0)
    data += struct.pack("<iIIIQ", X86_64, 4_000_000_000, 4_000_000_000, 0, 0)
    assert parse_cache(data, {"libnvidia-ml.so.1"}) == ()


@given(st.binary(max_size=400))
def test_any_bytes_end_in_entries_or_a_refusal(tail: bytes) -> None:
    with contextlib.suppress(CacheError):
        parse_cache(b"glibc-ld.so.cache1.1" + tail, {"libcuda.so.1"})


def test_it_agrees_with_ldconfig_here() -> None:
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin:/usr/bin")
    if ldconfig is None or not Path("/etc/ld.so.cache").exists():
        pytest.skip("no ldconfig or no loader cache on this machine")
    printed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^\t(\S+) \((\S+?)(?:, .*)?\) => (.*)$", printed, re.MULTILINE)
    theirs = [(name, path) for name, kind, path in lines if kind == "libc6,x86-64" or kind == "libc6,AArch64"]
    data = Root().read_bytes("/etc/ld.so.cache", MAX_CACHE_BYTES)
    assert data is not None
    ours = [(e.soname, e.path) for e in parse_cache(data, {name for name, _, _ in lines})]
    assert theirs
    assert ours == theirs
