"""Lists of checksums in every form that is met, and those that mean harm."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Verdict
from .stores import flip, hash_list, sha256

Verify = Callable[..., Verdict]
DATA = b"some bytes\n" * 99
DIGEST = sha256(DATA)


def digest_of(name: str) -> str:
    return hashlib.new(name, DATA).hexdigest()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SHA256SUMS", f"{DIGEST}  a.dat\n"),
        ("SHA256SUMS", f"{DIGEST} *a.dat\r\n"),
        ("SHA256SUMS", f"\ufeff{DIGEST.upper()}  ./a.dat\r\n\r\n# a comment\r\n"),
        ("SHA512SUMS", f"{digest_of('sha512')}  a.dat"),
        ("MD5SUMS", f"{digest_of('md5')}  a.dat\n"),
        ("checksums.txt", f"{DIGEST}\ta.dat\n{digest_of('sha1')}  a.dat\n"),
        ("CHECKSUM", f"SHA256 (a.dat) = {DIGEST}\n"),
        ("a.sha512", f"SHA512 (a.dat) = {digest_of('sha512')}\n"),
        ("a.dat.sha256", DIGEST),
        ("B2SUMS", f"{digest_of('blake2b')}  a.dat\n"),
    ],
)
def test_every_form_of_a_list(verify: Verify, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "a.dat").write_bytes(DATA)
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert verify(tmp_path / name).of("pass")[0] == ("files.broken", "a.dat")
    flip(tmp_path / "a.dat")
    assert verify(tmp_path).of("fail") == [("files.broken", "a.dat")]


def test_a_list_that_powershell_wrote(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(DATA)
    (tmp_path / "SHA256SUMS").write_text(f"{DIGEST}  a.dat\r\n", encoding="utf-16")
    assert verify(tmp_path).code == 0


def test_a_list_of_a_windows_machine(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.dat").write_bytes(DATA)
    (tmp_path / "SHA256SUMS").write_text(f"{DIGEST} *sub\\a.dat\r\n", newline="")
    assert verify(tmp_path).code == 0


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/../../secret", "C:\\secret", "\\\\host\\secret"])
def test_a_list_that_leads_out_of_its_folder_is_not_followed(verify: Verify, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(DATA)
    (folder / "a.dat").write_bytes(DATA)
    (folder / "SHA256SUMS").write_text(f"{DIGEST}  a.dat\n{DIGEST}  {name}\n")
    verdict = verify(folder)
    assert (verdict.code, verdict.of("unknown")) == (3, [("files.unverifiable", name)])
    assert verdict.of("pass") == [("files.broken", "copy/a.dat")]


def test_a_file_that_the_list_names_is_not_there(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{DIGEST}  gone.dat\n")
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.of("fail")) == (1, [("files.broken", "gone.dat")])
    assert verdict.message() == "it is missing: SHA256SUMS names it"


@pytest.mark.parametrize("text", ["", "no list\n", f"{DIGEST[:-1]}  a.dat\n", f"MD5 (a.dat) = {DIGEST}\n"])
def test_what_is_no_list_verifies_nothing(verify: Verify, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.dat").write_bytes(DATA)
    (tmp_path / "SHA256SUMS").write_text(text)
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.of("pass")) == (3, [])


def test_a_line_that_means_nothing_is_not_passed_over(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(DATA)
    (tmp_path / "SHA256SUMS").write_text(f"{DIGEST}  a.dat\n{DIGEST[:40]}cut\n")
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.of("unknown")) == (3, [("files.unverifiable", "SHA256SUMS")])


NAMES = ["모델 가중치.dat", "a\nb", "back\\slash", "*star", " space", "-dash", b"caf\xe9.dat", "[red]\x1b[31m.dat"]


@pytest.mark.parametrize("name", NAMES)
def test_names_as_sha256sum_writes_them(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, name: str | bytes
) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(DATA)
    done = subprocess.run([b"sha256sum", b"--", os.fsencode(name)], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "SHA256SUMS").write_bytes(done.stdout)
    assert gpudoctor("verify", tmp_path, LANG="C").returncode == 0
    path.write_bytes(DATA + b"x")
    broken = gpudoctor("verify", tmp_path, "--list-bad", tmp_path / "bad", PYTHONIOENCODING="ascii")
    assert (broken.returncode, "\x1b" in broken.stdout) == (1, False)
    raw = os.fsencode(name)
    assert (tmp_path / "bad").read_bytes() == (b"" if b"\n" in raw else raw + b"\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_list_that_was_written_is_one_of_sha256sum(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, name: str | bytes
) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(DATA)
    assert gpudoctor("verify", tmp_path, "--write-manifest").returncode == 0
    expected = subprocess.run([b"sha256sum", b"--", os.fsencode(name)], cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "SHA256SUMS").read_bytes() == expected.stdout
    check = ["sha256sum", "-c", "--strict", "SHA256SUMS"]
    checked = subprocess.run(check, cwd=tmp_path, capture_output=True, check=False)
    assert checked.returncode == 0


def test_a_script_whose_name_looks_like_a_list_is_none(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(DATA)
    hash_list(tmp_path, "a.dat")
    (tmp_path / "checksum_utils.py").write_text("import hashlib\n")
    assert verify(tmp_path).code == 0


def test_lists_of_two_folders_hold_each_its_own(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.dat").write_bytes(DATA)
    assert gpudoctor("verify", ".", "../two", "--write-manifest", cwd=tmp_path / "one").returncode == 0
    assert [(tmp_path / name / "SHA256SUMS").read_text() for name in ("one", "two")] == [f"{DIGEST}  a.dat\n"] * 2


def test_no_list_is_written_of_files_that_are_broken(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(DATA)
    before = hash_list(tmp_path, "a.dat").read_bytes()
    flip(tmp_path / "a.dat")
    assert verify(tmp_path, "--write-manifest").code == 1
    assert (tmp_path / "SHA256SUMS").read_bytes() == before


def test_a_list_takes_in_what_came_since(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(DATA)
    hash_list(tmp_path, "a.dat")
    (tmp_path / "model.gguf.txt").write_bytes(b"new")
    verdict = verify(tmp_path, "--write-manifest")
    assert (verdict.code, verdict.of("info")) == (0, [("files.unverifiable", "model.gguf.txt")])
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 2
    assert verify(tmp_path).of("info") == []
