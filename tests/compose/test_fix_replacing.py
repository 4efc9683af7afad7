"""``compose fix --apply`` replaces the file whole or not at all, and keeps the old one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.compose.replacing import NotReplaced, read_original, replace_file

Command = Callable[..., "subprocess.CompletedProcess[str]"]
OLD, NEW = b"version: '3'\nservices: {a: {image: b}}\n", b"services: {a: {image: b}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yml"
    path.write_bytes(OLD)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_mode_and_link_stay(gpudoctor: Command, file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    home = tmp_path / "home"
    home.mkdir()
    (home / "link.yml").symlink_to(file)
    done = gpudoctor("compose", "fix", "link.yml", "--hardware", "1x L4", "--apply", cwd=home)
    assert (done.returncode, names(home)) == (0, ["link.yml"])
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (NEW, 0o640)
    assert (tmp_path / "compose.yml.gpudoctor-backup-1").stat().st_mode & 0o777 == 0o640


def test_a_backup_is_never_overwritten(file: Path) -> None:
    first = replace_file(read_original(file), NEW)
    second = replace_file(read_original(file), OLD)
    assert (first.read_bytes(), second.read_bytes(), second.name) == (OLD, NEW, "compose.yml.gpudoctor-backup-2")


def test_a_file_that_changed_since_it_was_read_stays(file: Path) -> None:
    original = read_original(file)
    file.write_bytes(b"theirs")
    with pytest.raises(NotReplaced, match="changed by somebody else"):
        replace_file(original, NEW)
    assert (file.read_bytes(), names(file.parent)) == (b"theirs", ["compose.yml"])


def test_a_file_that_was_replaced_by_its_like_stays(file: Path) -> None:
    original = read_original(file)
    other = file.with_name("other")
    other.write_bytes(OLD)
    other.replace(file)
    with pytest.raises(NotReplaced, match="changed by somebody else"):
        replace_file(original, NEW)


def test_what_somebody_writes_at_the_last_moment_comes_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace
    late = [b"theirs, late"]

    def replace(self: Path, target: Path) -> Path:
        if late:
            file.write_bytes(late.pop())
        return real(self, target)

    original = read_original(file)
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(NotReplaced, match="as they left it"):
        replace_file(original, NEW)
    assert (file.read_bytes(), names(file.parent)) == (b"theirs, late", ["compose.yml"])


def test_a_read_only_file_stays(gpudoctor: Command, file: Path) -> None:
    file.chmod(0o444)
    done = gpudoctor("compose", "fix", "compose.yml", "--hardware", "1x L4", "--apply", cwd=file.parent)
    assert (done.returncode, done.stderr.count("\n"), "0444" in done.stderr) == (2, 1, True)
    assert (file.read_bytes(), names(file.parent)) == (OLD, ["compose.yml"])


def test_a_file_with_another_name_stays(file: Path) -> None:
    os.link(file, file.with_name("same.yml"))
    with pytest.raises(NotReplaced, match="hard links"):
        replace_file(read_original(file), NEW)


def test_a_run_that_was_killed_half_way_is_in_nobodys_way(file: Path) -> None:
    os.link(file, file.with_name("compose.yml.gpudoctor-backup-1"))
    backup = replace_file(read_original(file), NEW)
    assert (backup.name, backup.read_bytes(), file.read_bytes()) == ("compose.yml.gpudoctor-backup-2", OLD, NEW)


def test_without_hard_links_a_copy_is_the_backup(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    backup = replace_file(read_original(file), NEW)
    assert (backup.read_bytes(), file.read_bytes()) == (OLD, NEW)


@pytest.mark.parametrize("name", ["pipe", "folder", "missing", "loop"])
def test_what_is_no_file_is_one_line_at_once(gpudoctor: Command, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    done = gpudoctor("compose", "fix", name, "--hardware", "1x L4", "--apply", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def in_namespace(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    fix = f"{Path(sys.executable).with_name('gpudoctor')} compose fix compose.yml --hardware 1xL4 --apply"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", f'set -e; fix="{fix}"; {script}'],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.tier("root")
def test_on_a_full_disk_the_file_is_whole(file: Path) -> None:
    done = in_namespace(
        "mkdir disk; mount -t tmpfs -o size=16k none disk; cp compose.yml disk; cd disk; "
        "head -c 100000 /dev/zero > fill 2>/dev/null || true; "
        "$fix || echo rc $?; cat compose.yml; ls -A | wc -l",
        file.parent,
    )
    assert done.stdout == f"rc 2\n{OLD.decode()}2\n"
    assert (done.stderr.count("\n"), "No space left on device; it is as it was" in done.stderr) == (1, True)


@pytest.mark.tier("root")
def test_a_file_mounted_by_itself_is_whole(file: Path) -> None:
    done = in_namespace(
        "cp compose.yml theirs; mount --bind theirs compose.yml; $fix || echo rc $?; cat compose.yml; ls -A",
        file.parent,
    )
    assert done.stdout == f"rc 2\n{OLD.decode()}compose.yml\ntheirs\n"
    assert (done.stderr.count("\n"), "it cannot be replaced" in done.stderr) == (1, True)


@pytest.mark.tier("root")
def test_a_folder_that_may_not_be_written_is_one_line(file: Path) -> None:
    done = in_namespace(
        "mkdir shut; cp compose.yml shut; mount --bind shut shut; mount -o remount,bind,ro shut; cd shut; "
        "$fix || echo rc $?; cat compose.yml",
        file.parent,
    )
    assert (done.stdout, done.stderr.count("\n")) == (f"rc 2\n{OLD.decode()}", 1)


@pytest.mark.tier("root")
def test_the_owner_stays(file: Path) -> None:
    os.chown(file, 1234, 4321)
    backup = replace_file(read_original(file), NEW)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (file, backup)} == {(1234, 4321)}
