"""Which copy the loader would take: by its rules, and as the real one does."""

import contextlib
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.cuda_libraries import LoaderChoice
from gpudoctor.probes.elf import ElfError, read_elf
from gpudoctor.probes.env_binaries import libraries_in
from gpudoctor.probes.loader import Found, Loader, headers
from gpudoctor.probes.regular_file import open_regular
from gpudoctor.probes.root import Root


def find(root: Root, path: str, library_path: tuple[str, ...] = ()) -> Found:
    elf = headers(root, path)
    assert elf is not None
    return Loader(root, library_path).find(elf.needed[0], elf, path)


def test_headers_are_read_back(tmp_path: Path, make: Any, make_elf: Any) -> None:
    make.write(tmp_path / "a.so", make_elf(needed=["libcudart.so.12", "libc.so.6"], soname="a.so.1",
                                           rpath="$ORIGIN/x:/y", sections={".nv_fatbin": b"12345678"}))
    elf = headers(Root(), str(tmp_path / "a.so"))
    assert elf is not None
    assert (elf.machine, elf.soname, elf.needed) == ("x86_64", "a.so.1", ("libcudart.so.12", "libc.so.6"))
    assert (elf.rpath, elf.runpath) == (("$ORIGIN/x", "/y"), ())
    assert elf.sections[".nv_fatbin"][1] == 8


def test_any_cut_of_a_file_is_refused_or_read(tmp_path: Path, make_elf: Any) -> None:
    whole = make_elf(needed=["libcudart.so.12"], runpath="$ORIGIN", sections={".nv_fatbin": bytes(64)})
    for cut in range(0, len(whole), 7):
        path = tmp_path / "cut.so"
        path.write_bytes(whole[:cut])
        with open_regular(Root(), str(path)) as file:
            try:
                read_elf(file)
            except ElfError:
                assert cut < 64


def test_random_headers_never_raise_but_their_own_error(tmp_path: Path, make_elf: Any) -> None:
    chance = random.Random(7)
    whole = make_elf(needed=["libcudart.so.12"], runpath="$ORIGIN", sections={".nv_fatbin": bytes(64)})
    path = tmp_path / "random.so"
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(4, len(data))] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        path.write_bytes(data)
        with open_regular(Root(), str(path)) as file, contextlib.suppress(ElfError):
            read_elf(file)


def test_the_order_of_folders(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    for folder in ("app/own", "env/lib", "usr/lib64"):
        make.write(tmp_path / folder / "libcudnn.so.9", make_elf())
    make.write(tmp_path / "app/old.so", make_elf(needed=["libcudnn.so.9"], rpath="$ORIGIN/own"))
    make.write(tmp_path / "app/new.so", make_elf(needed=["libcudnn.so.9"], runpath="${ORIGIN}/own"))
    make.write(tmp_path / "app/none.so", make_elf(needed=["libcudnn.so.9"]))
    assert find(root, "/app/old.so", ("/env/lib",)) == ("/app/own/libcudnn.so.9", "rpath")
    assert find(root, "/app/new.so", ("/env/lib",)) == ("/env/lib/libcudnn.so.9", "ld-library-path")
    assert find(root, "/app/new.so") == ("/app/own/libcudnn.so.9", "runpath")
    assert find(root, "/app/none.so", ("/empty",)) == ("/usr/lib64/libcudnn.so.9", "default-directory")
    (tmp_path / "usr/lib64/libcudnn.so.9").unlink()
    assert find(root, "/app/none.so") == (None, "missing")


def test_origin_is_the_real_folder(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    make.write(tmp_path / "real/own/libcudnn.so.9", make_elf())
    make.write(tmp_path / "real/a.so", make_elf(needed=["libcudnn.so.9"], runpath="$ORIGIN/own"))
    (tmp_path / "link").symlink_to("real")
    assert find(root, "/link/a.so") == ("/real/own/libcudnn.so.9", "runpath")


def test_one_file_counts_once_under_its_soname(root: Root, tmp_path: Path, make: Any, make_elf: Any) -> None:
    make.write(tmp_path / "lib/libcublas.so.12.8.4.1", make_elf())
    (tmp_path / "lib/libcublas.so.12").symlink_to("libcublas.so.12.8.4.1")
    (tmp_path / "lib/libcublas.so").symlink_to("libcublas.so.12")
    make.write(tmp_path / "lib/libcudart.so.11.0", make_elf())
    make.write(tmp_path / "lib/libcudnn-1a2b3c4d.so.9", make_elf())
    make.write(tmp_path / "lib/libnvjpeg.1a2b3c4d.so.12", make_elf())
    (tmp_path / "lib/libnccl.so.2").symlink_to("libnccl.so.2")
    make.write(tmp_path / "lib/libcudnn_ops.so.9", make_elf())
    found = libraries_in(root, "/lib", "conda")
    assert [(each.soname, each.version) for each in found] == [
        ("libcublas.so.12", "12.8.4.1"), ("libcudart.so.11.0", None), ("libcudnn-1a2b3c4d.so.9", None),
        ("libnvjpeg.1a2b3c4d.so.12", None)]
    assert found[0].major == 12
    assert found[0].name == "libcublas"


def test_shadowed_means_another_copy_than_the_own() -> None:
    def choice(path: str | None, bundled: str | None) -> bool:
        return LoaderChoice(soname="s", wanted_by="w", via="runpath", path=path, bundled=bundled).shadowed

    assert choice("/a", "/b")
    assert not choice("/a", "/a")
    assert not choice("/a", None)
    assert not choice(None, "/b")


@pytest.mark.tier("gcc")
@pytest.mark.parametrize("tags", ["--disable-new-dtags", "--enable-new-dtags"])
@pytest.mark.parametrize("with_variable", [False, True])
def test_the_real_loader_agrees(tmp_path: Path, tags: str, with_variable: bool) -> None:
    """``ldd`` on compiled libraries is the judge."""
    ldd = shutil.which("ldd")
    if ldd is None:
        pytest.skip("no ldd here")
    for folder in ("own", "other"):
        (tmp_path / folder).mkdir()
        library = str(tmp_path / folder / "libcudnn.so.9")
        subprocess.run(["gcc", "-shared", "-x", "c", "/dev/null", "-o", library, "-Wl,-soname,libcudnn.so.9"],
                       check=True)
    user = str(tmp_path / "user.so")
    subprocess.run(["gcc", "-shared", "-x", "c", "/dev/null", "-x", "none", "-o", user, "-Wl,--no-as-needed",
                    str(tmp_path / "own" / "libcudnn.so.9"), f"-Wl,-rpath,$ORIGIN/own,{tags}"], check=True)
    variable = {"LD_LIBRARY_PATH": str(tmp_path / "other")} if with_variable else {}
    environment = {**{k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}, **variable}
    said = subprocess.run([ldd, user], env=environment, capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if "libcudnn.so.9" in line)
    found = find(Root(), user, tuple(variable.values()))
    assert found.path is not None
    assert os.path.realpath(found.path) == os.path.realpath(line.split("=>")[1].split()[0])
    assert found.via == ("rpath" if "disable" in tags else "ld-library-path" if with_variable else "runpath")
