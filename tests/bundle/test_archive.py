"""What ``install.sh --bundle`` takes, and what it refuses: nothing of it may be installed."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rig_bundle import SCRIPT, make_wheel, sh, tree

Change = Callable[[Path], None]


def no_change(folder: Path) -> None:
    pass


def pack(tmp_path: Path, change: Change = no_change, *more: tarfile.TarInfo) -> Path:
    """Make an archive of the form that ``gpudoctor bundle`` makes."""
    folder = tmp_path / "gpudoctor-9.8.7"
    (folder / "wheelhouse").mkdir(parents=True)
    make_wheel(folder / "wheelhouse", "9.8.7")
    (folder / "install.sh").write_bytes(SCRIPT.read_bytes())
    (folder / "manifest.json").write_text("{}\n")
    write_list(folder)
    change(folder)
    path = tmp_path / "bundle.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
        for entry in more:
            archive.addfile(entry, io.BytesIO(b"evil") if entry.isreg() else None)
    return path


def write_list(folder: Path) -> None:
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.*") if path.is_file())
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def refused(archive: Path, *arguments: str) -> str:
    """Install it, expect one line and nothing installed or left behind."""
    place = archive.parent / "p"
    temporary = archive.parent / "tmp"
    temporary.mkdir()
    done = sh(SCRIPT, "--offline", "--bundle", archive, "--prefix", place, *arguments, TMPDIR=str(temporary))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert not place.exists()
    assert list(temporary.iterdir()) == []
    return done.stderr


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


def test_dry_run_says_what_it_would_install(tmp_path: Path) -> None:
    archive = pack(tmp_path)
    before = tree(tmp_path)
    done = sh(SCRIPT, "--bundle", archive, "--dry-run", "--prefix", tmp_path / "p")
    assert done.returncode == 0, done.stderr
    assert "Installing gpudoctor 9.8.7 with venv" in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "more",
    [
        entry("../evil"),
        entry("gpudoctor-9.8.7/../../evil"),
        entry("/tmp/evil"),
        entry("elsewhere/evil"),
        entry("gpudoctor-9.8.7//etc/evil"),
        entry("gpudoctor-9.8.7/link", tarfile.SYMTYPE, "/etc"),
        entry("gpudoctor-9.8.7/link", tarfile.LNKTYPE, "/etc/passwd"),
        entry("gpudoctor-9.8.7/device", tarfile.CHRTYPE),
        entry("gpudoctor-9.8.7/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.linkname}",
)
def test_what_leads_out_of_the_archive_is_refused(tmp_path: Path, more: tarfile.TarInfo) -> None:
    said = refused(pack(tmp_path, no_change, more))
    assert "names a file outside of its own folder" in said or "neither a file nor a folder" in said
    assert not list(tmp_path.rglob("evil"))


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    assert "File exists" in refused(pack(tmp_path, no_change, entry("gpudoctor-9.8.7/install.sh")))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_archive_is_refused(tmp_path: Path, share: float) -> None:
    archive = pack(tmp_path)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    assert "is damaged or cut short" in refused(archive)


def test_an_archive_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path)
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    assert "bundle.tar.gz" in refused(archive)


def test_another_file_is_no_bundle(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    archive.write_text("not an archive")
    assert "is damaged or cut short" in refused(archive)


def replace(name: str, text: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return change


def listed_too(line: str) -> Change:
    def change(folder: Path) -> None:
        with (folder / "SHA256SUMS").open("a") as sums:
            sums.write(line)

    return change


def without(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("SHA256SUMS"), "SHA256SUMS is missing: not installing unchecked files"),
        (replace("SHA256SUMS", ""), "wheelhouse/gpudoctor-9.8.7-py3-none-any.whl has no checksum in SHA256SUMS"),
        (replace("install.sh", "evil"), "install.sh does not match its checksum"),
        (replace("wheelhouse/more-1-py3-none-any.whl", ""), "wheelhouse/more-1-py3-none-any.whl has no checksum"),
        (without("manifest.json"), "manifest.json is listed in SHA256SUMS but not there"),
        (listed_too(f"{'0' * 64}  ../../etc/passwd\n"), "names a file outside of its folder"),
        (listed_too(f"{'0' * 64}  /etc/passwd\n"), "names a file outside of its folder"),
        (listed_too("d41d8cd98f00b204e9800998ecf8427e  install.sh\n"), "has a line that is no checksum"),
        (replace("wheelhouse/gpudoctor-9.9.9-py3-none-any.whl", ""), "more than one gpudoctor wheel"),
        (without("wheelhouse/gpudoctor-9.8.7-py3-none-any.whl"), "holds no gpudoctor wheel"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_or_absent_checksum_is_fatal(tmp_path: Path, change: Change, said: str) -> None:
    assert said in refused(pack(tmp_path, change))


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("cp36-abi3-manylinux_2_17_s390x", f"psutil is there for manylinux_2_17_s390x, here is {os.uname().machine} w"),
        ("cp36-abi3-manylinux_2_99_x86_64.manylinux_2_98_x86_64", "psutil is there for manylinux_2_98_x86_64, manyl"),
        ("cp399-cp399-manylinux_2_17_x86_64", "is made for Python 3.99, which is not here (found: 3."),
    ],
)
def test_a_bundle_for_another_machine_says_for_which(tmp_path: Path, tags: str, said: str) -> None:
    def change(folder: Path) -> None:
        (folder / f"wheelhouse/psutil-7-{tags}.whl").touch()
        write_list(folder)

    assert said in refused(pack(tmp_path, change))


def test_files_made_beside_an_unpacked_bundle_do_no_harm(tmp_path: Path) -> None:
    """A report that was written into the folder is none of the installer's business."""

    def change(folder: Path) -> None:
        (folder / "report.json").touch()

    done = sh(SCRIPT, "--bundle", pack(tmp_path, change), "--dry-run", "--prefix", tmp_path / "p")
    assert done.returncode == 0, done.stderr
