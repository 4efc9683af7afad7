"""Saved images and wheels are compared with the checksums inside them."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Verdict
from .stores import cut, flip, hash_list, legacy_image, oci_archive, oci_parts, sha256

Verify = Callable[..., Verdict]
MAKERS = [legacy_image, oci_archive]


@pytest.mark.parametrize("make", MAKERS)
def test_a_whole_image_is_whole(verify: Verify, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    verdict = verify(make(tmp_path / "image.tar"))
    assert (verdict.code, verdict.of("pass")[0]) == (0, ("files.broken", "image.tar"))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("at", [700, 1600, 2600])
def test_one_bit_anywhere_in_a_layer(verify: Verify, tmp_path: Path, make: Callable[[Path], Path], at: int) -> None:
    image = make(tmp_path / "image.tar")
    flip(image, at)
    assert verify(image).of("fail") == [("files.broken", "image.tar")]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("left", [0.2, 0.5, 0.8])
def test_an_archive_that_is_cut(verify: Verify, tmp_path: Path, make: Callable[[Path], Path], left: float) -> None:
    image = make(tmp_path / "image.tar")
    image.write_bytes(image.read_bytes()[: int(image.stat().st_size * left)])
    verdict = verify(image)
    assert (verdict.code, verdict.message()) == (1, "it is damaged: it is cut short")


def test_an_archive_that_ends_between_two_members_is_cut(verify: Verify, tmp_path: Path) -> None:
    """Python's own reader takes it for whole."""
    image = legacy_image(tmp_path / "image.tar")
    data = image.read_bytes().rstrip(b"\0")
    image.write_bytes(data + b"\0" * (-len(data) % 512))
    assert verify(image).message() == "it is damaged: it is cut short"


def test_a_layer_that_was_never_saved(verify: Verify, tmp_path: Path) -> None:
    assert "is missing" in verify(legacy_image(tmp_path / "image.tar", leave_out="1")).message()


def test_an_oci_folder_whose_layer_is_missing_or_changed(verify: Verify, tmp_path: Path) -> None:
    for name, data in oci_parts().items():
        (tmp_path / "image" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "image" / name).write_bytes(data)
    assert verify(tmp_path).code == 0
    layer = max((tmp_path / "image/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    flip(layer)
    assert verify(tmp_path).of("fail") == [("files.broken", f"image/blobs/sha256/{layer.name}")]
    layer.unlink()
    assert verify(tmp_path).of("fail") == [("files.broken", "image/index.json")]


def test_a_compressed_image(verify: Verify, tmp_path: Path) -> None:
    plain = oci_archive(tmp_path / "image.tar")
    subprocess.run(["gzip", "-q", str(plain)], check=True, capture_output=True)
    packed = tmp_path / "image.tar.gz"
    assert verify(packed).code == 0
    flip(packed, packed.stat().st_size // 2)
    assert verify(packed).code == 1
    cut(packed, 30)
    assert verify(packed).code == 1


def test_a_tar_archive_without_checksums_is_not_called_whole(verify: Verify, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(__file__, "x")
    assert verify(tmp_path / "x.tar").code == 3


def test_a_tar_header_that_claims_gigabytes_of_name_costs_nothing(verify: Verify, tmp_path: Path) -> None:
    import tarfile

    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[156:157] = b"77777777777\0", b"x"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with (tmp_path / "x.tar").open("wb") as file:
        file.write(block)
        file.truncate(9 << 30)
    assert "longer than any name" in verify(tmp_path / "x.tar").message()


def wheel(folder: Path, name: str, *, requires: tuple[str, ...] = (), tag: str = "py3-none-any") -> Path:
    """A wheel as build backends write it."""
    version = "1.0"
    import base64
    import hashlib

    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}/__init__.py": "VALUE = 1\n" * 300,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
    }
    rows = []
    for inner, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{inner},sha256={digest},{len(text)}\n")
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
        archive.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")
    return path


def test_wheels_that_need_each_other(verify: Verify, tmp_path: Path) -> None:
    wheel(tmp_path, "app", requires=("lib>=1", "none; python_version < '3'", "more; extra == 'x'"))
    wheel(tmp_path, "lib", requires=("app[x]",))
    wheel(tmp_path, "more")
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.of("fail", "warn", "unknown")) == (0, [])


@pytest.mark.parametrize(
    ("requires", "says"),
    [
        (("gone>2",), "gone>2 is missing: app-1.0-py3-none-any.whl requires it"),
        (("lib>=2",), "lib>=2 is missing: app-1.0-py3-none-any.whl requires it, and what is here does not fit: "
                      "lib-1.0-py3-none-any.whl"),
        (("lib[x]",), "extra-of-lib is missing: lib-1.0-py3-none-any.whl requires it"),
        (("native",), "native is missing: app-1.0-py3-none-any.whl requires it, and what is here does not fit: "
                      "native-1.0-cp27-cp27m-win32.whl"),
    ],
)  # fmt: skip
def test_what_a_folder_of_wheels_lacks(verify: Verify, tmp_path: Path, requires: tuple[str, ...], says: str) -> None:
    wheel(tmp_path, "app", requires=requires)
    wheel(tmp_path, "lib", requires=("extra-of-lib; extra == 'x'",))
    wheel(tmp_path, "native", tag="cp27-cp27m-win32")
    verdict = verify(tmp_path)
    assert (verdict.code, verdict.message()) == (1, says)


@pytest.mark.parametrize(("python", "platform", "code"), [
    ("3.11", "manylinux_2_28_x86_64", 0), ("3.12", "manylinux_2_28_x86_64", 1), ("3.11", "manylinux_2_17_x86_64", 1),
    ("3.11", "manylinux_2_28_aarch64", 1), ("3.11", "manylinux_2_34_x86_64", 0),
])  # fmt: skip
def test_another_machine_takes_other_wheels(
    verify: Verify, tmp_path: Path, python: str, platform: str, code: int
) -> None:
    wheel(tmp_path, "app", requires=("native",))
    wheel(tmp_path, "native", tag="cp311-cp311-manylinux_2_28_x86_64")
    assert verify(tmp_path, "--python", python, "--platform", platform).code == code


def test_one_bit_in_a_wheel(verify: Verify, tmp_path: Path) -> None:
    path = wheel(tmp_path, "app")
    flip(path, 60)
    verdict = verify(tmp_path)
    assert (verdict.code, ("files.broken", path.name) in verdict.of("fail")) == (1, True)


def test_a_wheel_that_is_cut(verify: Verify, tmp_path: Path) -> None:
    path = wheel(tmp_path, "app")
    cut(path, 40)
    assert ("files.broken", path.name) in verify(tmp_path).of("fail")


def test_a_wheel_that_was_changed_by_someone_who_mended_the_crc(verify: Verify, tmp_path: Path) -> None:
    path = wheel(tmp_path, "app")
    with zipfile.ZipFile(path) as old:
        files = {each: old.read(each) for each in old.namelist()}
    files["app/__init__.py"] = b"VALUE = 2\n"
    with zipfile.ZipFile(path, "w") as new:
        for name, data in files.items():
            new.writestr(name, data)
    assert verify(tmp_path).message() == "it is damaged: app/__init__.py in it is not what RECORD says"


def test_the_hashes_of_a_requirements_file(verify: Verify, tmp_path: Path) -> None:
    path = wheel(tmp_path / "wheels", "app", requires=("lib",))
    wheel(tmp_path / "wheels", "lib")
    listed = tmp_path / "requirements.txt"
    listed.write_text(f"# made\napp==1.0 ; python_version > '3' \\\n    --hash=sha256:{'0' * 64} \\\n"
                      f"    --hash=sha256:{sha256(path.read_bytes())}\n-i https://example.org/simple\n")  # fmt: skip
    assert verify(tmp_path / "wheels", "--require", listed).code == 0
    listed.write_text(f"app==1.0 --hash=sha256:{'0' * 64}\ngone==3\n")
    verdict = verify(tmp_path / "wheels", "--require", listed)
    assert verdict.of("fail") == [("files.broken", f"wheels/{path.name}"), ("files.wheels-missing", "wheels")]


@pytest.mark.tier("install")
def test_a_folder_that_pip_downloaded(verify: Verify, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    pip = (sys.executable, "-m", "pip", "download", "-q", "-d", str(wheels), "rich", "typing-extensions", "msgspec")
    subprocess.run(pip, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert verify(wheels).code == 0
    install = (sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--no-index")
    offline = subprocess.run((*install, "--find-links", wheels, "rich"), check=False, capture_output=True)
    assert offline.returncode == 0
    next(wheels.glob("pygments-*")).unlink()
    verdict = verify(wheels)
    assert verdict.code == 1
    assert verdict.message().startswith("pygments<3.0.0,>=2.13.0 is missing: rich-")


def test_a_list_covers_what_has_no_checksum_of_its_own(verify: Verify, tmp_path: Path) -> None:
    (tmp_path / "driver.run").write_bytes(b"x" * 1000)
    assert verify(tmp_path).code == 3
    hash_list(tmp_path, "driver.run")
    assert verify(tmp_path).code == 0
