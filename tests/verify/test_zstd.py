"""zstd archives, with each library that reads them: whole, cut, changed, and what no library can read."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard

from .conftest import Verdict
from .stores import oci_archive

Verify = Callable[..., Verdict]
LIBRARIES = ("compression", "backports", "zstandard")


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The variables of a Python that has this library alone."""
    name = str(request.param)
    pytest.importorskip(name if name == "zstandard" else f"{name}.zstd")
    return without([other for other in LIBRARIES if other != name], tmp_path)


def without(names: Sequence[str], tmp_path: Path) -> dict[str, str]:
    for name in names:
        (tmp_path / "hidden" / name).mkdir(parents=True)
        (tmp_path / "hidden" / name / "__init__.py").write_text("raise ImportError('hidden by a test')\n")
    return {"PYTHONPATH": str(tmp_path / "hidden")}


def packed(tmp_path: Path, *, checksum: bool = True, frames: int = 1) -> Path:
    """A saved image; several frames as ``zstd --rsyncable`` and parallel packers leave them."""
    plain = oci_archive(tmp_path / "image.tar")
    data = plain.read_bytes()
    plain.unlink()
    packer = zstandard.ZstdCompressor(write_checksum=checksum)
    step = -(-len(data) // frames)
    parts = [packer.compress(data[at : at + step]) for at in range(0, len(data), step)]
    file = tmp_path / "image.tar.zst"
    file.write_bytes(b"".join(parts))
    return file


@pytest.mark.parametrize("frames", [1, 3])
def test_a_whole_image(verify: Verify, library: dict[str, str], tmp_path: Path, frames: int) -> None:
    assert verify(packed(tmp_path, frames=frames), **library).code == 0


@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "bare"])
@pytest.mark.parametrize("lost", [1, 3, 40])
def test_a_cut_image(
    verify: Verify, library: dict[str, str], tmp_path: Path, checksum: bool, lost: int
) -> None:
    """One library ends quietly where the file does."""
    file = packed(tmp_path, checksum=checksum)
    os.truncate(file, file.stat().st_size - lost)
    verdict = verify(file, **library)
    assert (verdict.code, verdict.message()) == (1, "it is damaged: it is cut short")


@pytest.mark.parametrize("at", [0.3, 0.6, 0.999])
@pytest.mark.parametrize("image", [True, False], ids=["image", "text"])
def test_one_bit(verify: Verify, library: dict[str, str], tmp_path: Path, at: float, image: bool) -> None:
    file = packed(tmp_path) if image else text(tmp_path, zstandard.ZstdCompressor(write_checksum=True))
    data = bytearray(file.read_bytes())
    data[int(len(data) * at)] ^= 0x10
    file.write_bytes(data)
    assert verify(file, **library).code == 1


def test_something_else_behind_it(verify: Verify, library: dict[str, str], tmp_path: Path) -> None:
    file = packed(tmp_path)
    file.write_bytes(file.read_bytes() + b"<html>error 500</html>")
    assert verify(file, **library).code == 1


def text(tmp_path: Path, packer: zstandard.ZstdCompressor) -> Path:
    file = tmp_path / "corpus.zst"
    stream = packer.compressobj()
    file.write_bytes(stream.compress(os.urandom(100_000)) + stream.flush())
    return file


def test_frames_with_checksums_and_without_prove_nothing_together(
    verify: Verify, library: dict[str, str], tmp_path: Path
) -> None:
    with_, bare = (zstandard.ZstdCompressor(write_checksum=on).compress(os.urandom(9000)) for on in (True, False))
    file = tmp_path / "two.zst"
    file.write_bytes(with_ + with_)
    assert verify(file, **library).code == 0
    file.write_bytes(with_ + bare)
    assert verify(file, **library).code == 3


def test_a_dictionary_is_no_damage(verify: Verify, library: dict[str, str], tmp_path: Path) -> None:
    samples = [b"line %d of a log, with words that come again and again\n" % n * 9 for n in range(500)]
    dictionary = zstandard.train_dictionary(4096, samples)  # type: ignore[arg-type,unused-ignore]
    verdict = verify(text(tmp_path, zstandard.ZstdCompressor(dict_data=dictionary)), **library)
    assert verdict.code == 3
    assert "dictionary" in verdict.message("unknown")


def test_a_window_that_is_too_large_is_no_damage(verify: Verify, library: dict[str, str], tmp_path: Path) -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True, write_checksum=True)
    verdict = verify(text(tmp_path, zstandard.ZstdCompressor(compression_params=wide)), **library)
    assert verdict.code == 3
    assert "zstd -d --long=31" in verdict.message("unknown")


def test_without_any_library_it_is_said_and_a_cut_is_seen_all_the_same(verify: Verify, tmp_path: Path) -> None:
    file, nothing = packed(tmp_path), without(LIBRARIES, tmp_path)
    verdict = verify(file, **nothing)
    assert verdict.code == 3
    assert "pip install zstandard" in verdict.message("unknown")
    os.truncate(file, file.stat().st_size - 3)
    assert verify(file, **nothing).code == 1


def test_blocks_of_nothing_end_soon(verify: Verify, library: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "empty.zst"
    file.write_bytes(b"\x28\xb5\x2f\xfd\x00\x00" + b"\x00\x00\x00" * 5_000_000)
    assert verify(file, **library).code == 1
