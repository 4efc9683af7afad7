"""Whatever is pasted: one clear line for what cannot be read, the rest judged, nothing let through to the screen."""

import gzip
import io
import json
import subprocess
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.evidence import source
from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.signatures import Signatures
from gpudoctor.matrices.signatures import Signature

Command = Callable[..., subprocess.CompletedProcess[str]]
LINE = "Failed to initialize NVML: Unknown Error"


def checks_of(data: bytes) -> list[str]:
    paste = Paste()
    paste.feed(io.BytesIO(data), "x")
    log = paste.snapshot().signatures
    assert isinstance(log, Signatures)
    return [match.check for match in log.matches]


@pytest.mark.parametrize(
    "data",
    [
        LINE.encode(),
        LINE.replace(" ", "\x1b[31m ").encode(),
        f"\r\n> {LINE}\r\n".encode(),
        f"Progress 10%\rProgress 20%\r{LINE}\r".encode(),
        f"2025-01-02T03:04:05Z  {LINE}".encode(),
        f"```console\n{LINE}\n```".encode(),
        f"한국어 설명입니다\n{LINE}\n감사합니다".encode(),
        LINE.encode("utf-16"),
        ("log\n" * 30 + LINE).encode("utf-16-le"),
        b"\xef\xbb\xbf" + LINE.encode(),
        gzip.compress(LINE.encode()),
        gzip.compress(b"first\n") + gzip.compress(LINE.encode()),
        b"\xff\xfe\xfa broken bytes\n" * 3 + LINE.encode(),
        b"a" * 3_000_000 + b"\n" + LINE.encode(),
        LINE.encode() + b"\n" + b"a" * 3_000_000,
    ],
    ids=range(15),
)
def test_a_line_is_found_however_it_is_wrapped(data: bytes) -> None:
    assert checks_of(data) == ["container.gpu-lost"]


def test_lines_are_numbered_as_in_the_file() -> None:
    text = "x\n" * 700_000 + "a" * 200_000 + "\n" + LINE
    paste = Paste()
    paste.feed(io.BytesIO(text.encode()), "x")
    log = paste.snapshot().signatures
    assert isinstance(log, Signatures)
    assert log.matches[0].line == 700_002


def test_what_cannot_be_read_is_named_and_the_rest_judged(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(LINE, encoding="utf-8")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"many words\n" * 100_000)[:-20])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 50)
    (tmp_path / "empty").touch()
    (tmp_path / "log.zst").write_bytes(zstandard.compress(LINE.encode()))
    names = ["good.txt", "cut.gz", "noise.bin", "empty", "missing.txt", ".", "log.zst"]
    done = gpudoctor("diagnose", *names, "--json", cwd=tmp_path)
    results = json.loads(done.stdout)["results"]
    assert results[0]["id"] == "container.gpu-lost"
    assert done.returncode == 1
    problems = {r["subject"]: r["message"] for r in results if r["status"] == "unknown"}
    assert set(problems) == {f"file:{name}" for name in names[1:]} - {"file:."} | {"file:."}
    assert "breaks off" in problems["file:cut.gz"]
    assert "no text" in problems["file:noise.bin"]
    assert "empty" in problems["file:empty"]
    assert "zstd -d" in problems["file:log.zst"]


def test_nothing_readable_is_no_report(gpudoctor: Command, tmp_path: Path) -> None:
    done = gpudoctor("diagnose", "missing.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_nothing_known_is_no_green_report(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "poem.txt").write_text("roses are red\n", encoding="utf-8")
    assert gpudoctor("diagnose", "poem.txt", cwd=tmp_path).returncode == 3


def test_a_bomb_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_UNPACKED_BYTES", 1 << 20)
    paste = Paste()
    paste.feed(io.BytesIO(gzip.compress(b"a line of a log\n" * 4_000_000)), "bomb.gz")
    assert [piece.problem for piece in paste.pieces if piece.problem] == [
        "unpacks to far more than a log can be; only its beginning was read"
    ]


def test_control_sequences_do_not_reach_the_screen(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "evil.txt").write_text(f"\x1b]0;title\x07{LINE}\x1b[2J \u202e [red]x[/red]\x9b31m\n", encoding="utf-8")
    done = gpudoctor("diagnose", "evil.txt", "-v", cwd=tmp_path)
    assert not set(done.stdout) & {"\x1b", "\x07", "\u202e", "\x9b"}


def test_a_line_without_end_takes_bounded_memory() -> None:
    def endless(blocks: int) -> int:
        paste = Paste()
        tracemalloc.start()
        paste.feed(Endless(blocks), "x")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert endless(200) < endless(20) + (4 << 20)


class Endless(io.BytesIO):
    """One line of so many half megabytes."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.left = blocks

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        return b"x" * (1 << 19) if self.left >= 0 else b""


def test_lines_that_never_repeat_are_all_read_and_told_once() -> None:
    lines = "".join(f"{chr(97 + i % 26)}{hex(i * 2654435761)[2:]}: CUDA out of memory, {i}\n" for i in range(100_000))
    paste = Paste()
    paste.feed(io.BytesIO(lines.encode()), "x")
    log = paste.snapshot().signatures
    assert isinstance(log, Signatures)
    assert [(match.check, match.count) for match in log.matches] == [("serving.out-of-memory", 100_000)]


def test_a_figure_that_decides_is_seen_among_lines_that_differ_in_it_only() -> None:
    lines = "load_tensors: offloaded 37/37 layers to GPU\n" * 3000 + "load_tensors: offloaded 0/37 layers to GPU\n"
    assert checks_of(lines.encode()) == ["serving.offload-partial"]


def test_a_figure_that_decides_is_seen_in_a_later_chunk() -> None:
    lines = "CUDA error 700\n" + "other\n" * 200_000 + "CUDA error 802\n"
    assert "gpu.fabric-not-ready" in checks_of(lines.encode())


def test_a_figure_that_decides_is_seen_after_very_many_other_lines_of_its_shape() -> None:
    lines = "step 1 nccl fine, cuda error 700\n" * 30_000 + "step 2 nccl fine, cuda error 802\n"
    assert "gpu.fabric-not-ready" in checks_of(lines.encode())


def test_lines_are_judged_once_whatever_request_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    monkeypatch.setattr(Signature, "values", lambda self, line: judged.append(line))
    requests = (uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)) for number in range(2000))
    checks_of("".join(f"req={each} nouveau is no matter\n" for each in requests).encode())
    assert len(judged) == 1


def test_lone_surrogates_reach_no_report(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(LINE.encode() + b" \xed\xa0\x80 \xff\xfe\n")
    json.loads(gpudoctor("diagnose", "odd.txt", "--json", cwd=tmp_path).stdout)["results"][0]["evidence"]
    assert gpudoctor("diagnose", "odd.txt", "-v", cwd=tmp_path).stderr == ""


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=3000), st.text(max_size=1000).map(str.encode)))
def test_no_input_breaks_it(data: bytes) -> None:
    checks_of(data)
