"""A run that is interrupted, gone on with, or meets what cannot be read."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Verdict
from .stores import flip, hash_list, sha256

Verify = Callable[..., Verdict]
Command = Callable[..., subprocess.CompletedProcess[str]]
GPUDOCTOR = str(Path(sys.executable).with_name("gpudoctor"))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Three files and their list."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.dat").write_bytes(name.encode() * 1000)
    hash_list(folder, "a.dat", "b.dat", "c.dat")
    return folder


def sources(report: dict[str, Any]) -> dict[str, str]:
    """File -> where its digest is from, of those that passed."""
    return {
        Path(r["subject"]).name: e["source"]
        for r in report["results"] if r["status"] == "pass"
        for e in r["evidence"] if e["what"] in ("sha256", "inside")
    }  # fmt: skip


def test_what_was_verified_is_not_read_again(verify: Verify, tmp_path: Path, copied: Path) -> None:
    report = tmp_path / "seen.json"
    verify(copied, "-o", f"json={report}")
    (copied / "b.dat").write_bytes(b"b" * 1000)
    again = verify(copied, "--since-report", report).report
    assert sources(again) == {"a.dat": "a former run", "b.dat": "its contents", "c.dat": "a former run"}


def test_a_former_run_does_not_excuse_a_changed_list(verify: Verify, tmp_path: Path, copied: Path) -> None:
    report = tmp_path / "seen.json"
    verify(copied, "-o", f"json={report}")
    listed = copied / "SHA256SUMS"
    listed.write_text(listed.read_text().replace(sha256(b"a" * 1000), "0" * 64))
    assert verify(copied, "--since-report", report).of("fail") == [("files.broken", "copy/a.dat")]


def test_a_file_of_the_same_length_that_changed_is_read_again(verify: Verify, tmp_path: Path, copied: Path) -> None:
    report = tmp_path / "seen.json"
    verify(copied, "-o", f"json={report}")
    flip(copied / "a.dat")
    assert verify(copied, "--since-report", report).of("fail") == [("files.broken", "copy/a.dat")]


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "gpudoctor.fit/1", "results": []}', "[" * 9000, None])
def test_a_report_that_is_none(gpudoctor: Command, tmp_path: Path, copied: Path, text: str | None) -> None:
    report = tmp_path / "seen.json"
    if text is not None:
        report.write_text(text)
    done = gpudoctor("verify", copied, "--since-report", report, "--json")
    assert (done.returncode, json.loads(done.stdout)["schema"]) == (2, "gpudoctor.error/1")
    assert len(done.stderr.splitlines()) == 1


def _heed_interrupts() -> None:
    """Undo what a shell does to what it starts in the background: there SIGINT is ignored, and heirs keep that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_what_it_verified(
    verify: Verify, tmp_path: Path, copied: Path, number: signal.Signals, code: int
) -> None:
    """A sparse file of terabytes stands for a slow disk."""
    huge, report = copied / "zz.dat", tmp_path / "seen.json"
    with huge.open("wb") as file:
        file.truncate(1 << 42)
    with (copied / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  zz.dat\n")
    run = subprocess.Popen(
        [GPUDOCTOR, "verify", str(copied), "--jobs", "2", "--json", "-o", f"json={report}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_heed_interrupts,
    )  # fmt: skip
    while not _reads(run.pid, huge):
        time.sleep(0.05)
    time.sleep(0.3)
    run.send_signal(number)
    out, error = run.communicate(timeout=60)
    assert (run.returncode, error) == (code, b"")
    said = json.loads(report.read_bytes())
    assert json.loads(out) == said
    assert said["run"]["exit_code"] == code
    assert len(sources(said)) == 3
    assert [r["subject"] for r in said["results"] if r["status"] == "unknown"] == [f"file:{huge}"]
    huge.write_bytes(b"z")
    listed = copied / "SHA256SUMS"
    listed.write_text(listed.read_text().replace("0" * 64, sha256(b"z")))
    again = verify(copied, "--since-report", report)
    assert (again.code, list(sources(again.report).values()).count("a former run")) == (0, 3)


def _reads(pid: int, path: Path) -> bool:
    try:
        return any(link.readlink() == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_a_huge_file_whose_length_is_wrong_is_not_read(verify: Verify, tmp_path: Path) -> None:
    from .stores import ollama_store

    store = ollama_store(tmp_path, b"weights")
    with store["weights"].open("r+b") as file:
        file.truncate(1 << 43)
    assert verify(tmp_path).message() == f"it is damaged: it has {1 << 43} of 7 bytes"


def test_what_is_no_regular_file_is_not_waited_for(verify: Verify, copied: Path) -> None:
    os.mkfifo(copied / "pipe.dat")
    with (copied / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  pipe.dat\n")
    verdict = verify(copied)
    assert (verdict.code, verdict.of("unknown")) == (3, [("files.unverifiable", "copy/pipe.dat")])


@pytest.mark.parametrize("name", ["SHA512SUMS", "model.safetensors.index.json", "model.gguf", "x.whl", "image.tar"])
def test_a_pipe_under_the_name_of_anything_is_not_waited_for(verify: Verify, copied: Path, name: str) -> None:
    os.mkfifo(copied / name)
    (copied / f"link-{name}").symlink_to(name)
    verdict = verify(copied)
    assert (verdict.code, len(verdict.of("unknown"))) == (3, 2)


def test_links_that_lead_in_a_circle(verify: Verify, copied: Path) -> None:
    (copied / "self").symlink_to("self")
    (copied / "up").symlink_to("..")
    (copied / "same").symlink_to(".")
    verdict = verify(copied)
    assert verdict.code == 3
    assert set(verdict.of("unknown")) == {("files.unverifiable", "copy/self"), ("files.unverifiable", "copy/up")}


@pytest.mark.tier("root")
def test_a_file_that_may_not_be_read(copied: Path, tmp_path: Path) -> None:
    (copied / "b.dat").chmod(0)
    for path in (copied, *copied.parents):
        if str(path).startswith("/tmp/"):
            path.chmod(0o755)

    def as_nobody(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", GPUDOCTOR, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, env={**os.environ, "HOME": "/"},
        )  # fmt: skip

    if as_nobody("--version").returncode:
        pytest.skip("another user cannot start gpudoctor here: its environment lies in a closed folder")
    done = as_nobody("verify", str(copied), "--json")
    said = json.loads(done.stdout)
    unknown = [r for r in said["results"] if r["status"] == "unknown"]
    assert (done.returncode, [r["subject"] for r in unknown]) == (3, [f"file:{copied}/b.dat"])
    assert "Permission denied" in unknown[0]["message"]


def test_an_empty_folder_is_not_called_whole(verify: Verify, tmp_path: Path) -> None:
    assert verify(tmp_path).code == 3


def test_small_files_without_a_checksum_are_counted(verify: Verify, copied: Path) -> None:
    (copied / "README.md").write_text("hello")
    verdict = verify(copied)
    assert (verdict.code, verdict.of("info")) == (0, [("files.unverifiable", "copy")])


@pytest.mark.parametrize(
    "arguments",
    [[], ["/nowhere/at/all"], [".", "--python", "2.7"], [".", "--platform", "amiga"], [".", "--jobs", "0"],
     [".", "--require", "/nowhere"], [".", "-f", "poem"], [".", "--list-bad", "/nowhere/bad"], ["x" * 5000]],
)  # fmt: skip
def test_bad_input_is_one_line(gpudoctor: Command, copied: Path, arguments: list[str]) -> None:
    done = gpudoctor("verify", *arguments, cwd=copied)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_the_bad_files_are_listed_for_rsync(gpudoctor: Command, tmp_path: Path, copied: Path) -> None:
    flip(copied / "b.dat")
    (copied / "c.dat").unlink()
    gpudoctor("verify", copied, "--list-bad", tmp_path / "bad")
    assert (tmp_path / "bad").read_text() == "b.dat\nc.dat\n"


def test_many_small_files_take_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    rows = []
    for number in range(20_000):
        path = folder / f"{number % 50}" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
        rows.append(f"{sha256(b'%d' % number)}  {path.relative_to(folder)}\n")
    (folder / "SHA256SUMS").write_text("".join(rows))
    # A process of its own counts: among the children of this one others were larger.
    program = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True);"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss);"
        "sys.stdout.write(done.stdout.decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, GPUDOCTOR, "verify", str(folder), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    figures, _, report = done.stdout.partition("\n")
    code, kilobytes = figures.split()
    assert (code, json.loads(report)["summary"]["pass"]) == ("0", 20_001)
    assert int(kilobytes) < 400_000


def test_a_terminal_sees_how_far_it_is(copied: Path) -> None:
    with (copied / "z.dat").open("wb") as file:
        file.truncate(1 << 40)
    with (copied / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  z.dat\n")
    ours, theirs = pty.openpty()
    run = subprocess.Popen([GPUDOCTOR, "verify", str(copied)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
                           preexec_fn=_heed_interrupts)  # fmt: skip
    os.close(theirs)
    seen = b""
    end = time.monotonic() + 60
    while b"/s" not in seen and time.monotonic() < end:
        if select.select([ours], [], [], 1)[0]:
            seen += os.read(ours, 4096)
    run.send_signal(signal.SIGINT)
    out = run.communicate(timeout=60)[0]
    os.close(ours)
    assert (b"/s" in seen, run.returncode) == (True, 130)
    assert b"1.0/1.0" not in seen
    assert "not judged" in out.decode()
