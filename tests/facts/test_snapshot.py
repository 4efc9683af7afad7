"""A snapshot goes out and in unchanged; what is no snapshot is refused with the path of the fault."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Ecc, Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.redact import redact
from gpudoctor.facts.snapshot import (
    MAX_FILE_BYTES,
    Snapshot,
    SnapshotError,
    decode,
    encode,
    read_snapshot,
    write_snapshot,
)


def document(**sections: Any) -> bytes:
    return json.dumps({"schema": "gpudoctor.snapshot/1", **sections}).encode()


def test_out_and_in_again() -> None:
    gpu = Gpu(index=0, ecc=Ecc(enabled=True), temperature_celsius=Unavailable("no sensor", "not-supported"))
    snapshot = Snapshot(gpus=Gpus(gpus=(gpu,)), host=Unavailable("cut", "timeout"))
    assert decode(encode(snapshot), "x") == snapshot


def test_unknown_fields_and_sections_are_tolerated() -> None:
    data = document(weather="fine", gpus={"status": "recorded", "colour": "green", "gpus": [{"index": 0, "mood": 1}]})
    assert decode(data, "x").gpus == Gpus(gpus=(Gpu(index=0),))


def test_an_older_snapshot_without_a_section_says_not_recorded() -> None:
    memory = decode(document(), "x").memory
    assert isinstance(memory, Unavailable)
    assert memory.kind == "not-recorded"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (document(gpus={"status": "recorded", "gpus": [{"index": "a"}]}), r"\$\.gpus\.gpus\[0\]\.index"),
        (document(gpus={"status": "recorded", "gpus": [{"index": 0}, {"index": 0}]}), "two GPUs with one index"),
        (document(gpus={"status": "recorded", "gpus": [{"index": n} for n in range(5000)]}), "length <= 1024"),
        (document(gpus={"status": "recorded", "gpus": 1_000_000_000}), r"\$\.gpus\.gpus"),
        (document(memory=["much"]), r"\$\.memory"),
        (document(memory={"status": "recorded", "total_bytes": 1.5, "available_bytes": 1}), r"\$\.memory\.total_bytes"),
        (b'{"schema": "gpudoctor.snapshot/1", "gpus": {', "cut short"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a gpudoctor snapshot"),
        (b'{"schema": 7}', "not a gpudoctor snapshot"),
        (b'{"schema": "gpudoctor.report/1"}', "not a gpudoctor snapshot"),
        (b'{"schema": "gpudoctor.snapshot/9"}', "newer than this gpudoctor"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_snapshot_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(SnapshotError, match=says) as caught:
        decode(data, "file.json")
    assert str(caught.value).startswith("file.json: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_far_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES * 100)
    with pytest.raises(SnapshotError, match="larger than"):
        read_snapshot(path)


@pytest.mark.parametrize("what", ["missing.json", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, what: str) -> None:
    with pytest.raises(SnapshotError):
        read_snapshot(tmp_path / what)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "s.json"
    path.write_text("old", encoding="utf-8")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(SnapshotError, match="nothing was written"):
            write_snapshot(Snapshot(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_keeps_the_mode_of_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.touch()
    path.chmod(0o600)
    write_snapshot(Snapshot(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_snapshot(path) == Snapshot()


def test_redaction_takes_names_out_and_keeps_gpus_apart() -> None:
    first, second = "GPU-11111111-2222-3333-4444-555555555555", "GPU-99999999-2222-3333-4444-555555555555"
    gpus = Gpus(driver_version="535.247.01", gpus=(
        Gpu(index=0, uuid=first, serial="0123456789", vbios="90.02.3D.00.01"), Gpu(index=1, uuid=second)))
    host = Host(hostname="secret-box", user_name="jane", environment={"HF_HOME": "/home/jane/hf", "X": "10.1.2.3 jane"})
    text = encode(redact(Snapshot(gpus=gpus, host=host))).decode()
    for secret in (first, second, "0123456789", "secret-box", "jane", "10.1.2.3"):
        assert secret not in text
    hidden = decode(text.encode(), "x")
    assert isinstance(hidden.gpus, Gpus)
    assert hidden.gpus.gpus[0].uuid != hidden.gpus.gpus[1].uuid
    assert hidden.gpus.driver_version == "535.247.01"
    assert hidden.gpus.gpus[0].vbios == "90.02.3D.00.01"
    assert hidden.redacted
