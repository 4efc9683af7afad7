"""gpudoctor's own wheel, from what runs: the installed files packed anew, or a checkout built.

Wheel format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

import base64
import csv
import hashlib
import io
import shutil
import sys
import zipfile
from email.parser import HeaderParser
from importlib.metadata import distributions
from pathlib import Path

import gpudoctor
from gpudoctor.bundle import BundleError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What an installer adds to a wheel's folder of metadata.
_INSTALLERS_OWN = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
_MOST_FILES = 20_000
_REINSTALL = "install gpudoctor again, then make the bundle"


def checkout() -> Path | None:
    """Return the checkout that this gpudoctor runs from, None when it is installed."""
    top = Path(gpudoctor.__file__).parents[1]
    return top if (top / "pyproject.toml").is_file() and (top / "checks").is_dir() else None


def copy_checkout(top: Path, folder: Path) -> None:
    """Copy what the build needs, and nothing that happens to lie beside it: setuptools leaves folders behind.

    Raises:
        BundleError: The checkout is not whole.
    """
    with (top / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    setuptools = project["tool"]["setuptools"]
    places = (setuptools["package-dir"].get(name, name) for name in setuptools["packages"])
    folder.mkdir()
    try:
        for name in sorted({place.partition(".")[0].partition("/")[0] for place in places}):
            shutil.copytree(top / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]):
            shutil.copy(top / name, folder / name)
    except shutil.Error as error:
        raise BundleError(f"{top} cannot be copied: {str(error.args[0][0])[:300]}") from None


def repack(folder: Path) -> Path:
    """Pack the installed files as the wheel that they came from, each compared with its checksum.

    Raises:
        BundleError: Nothing says what was installed, or a file is not as it was installed.
    """
    site = Path(gpudoctor.__file__).parents[1]
    found = next(iter(distributions(name="gpudoctor", path=[str(site)])), None)
    record = found.read_text("RECORD") if found is not None else None
    if found is None or not record:
        raise BundleError(f"{site} does not say what belongs to gpudoctor (no RECORD)", _REINSTALL)
    files = _files(site, record)
    info = next((name.partition("/")[0] for name in files if name.endswith(".dist-info/METADATA")), None)
    if info is None:
        raise BundleError(f"{site} has no metadata of gpudoctor", _REINSTALL)
    tag = HeaderParser().parsestr(found.read_text("WHEEL") or "").get("Tag", "py3-none-any")
    path = folder / f"{info.removesuffix('.dist-info')}-{tag}.whl"
    _pack(path, files, f"{info}/RECORD")
    return path


def _files(site: Path, record: str) -> dict[str, bytes]:
    rows = list(csv.reader(io.StringIO(record)))
    if len(rows) > _MOST_FILES:
        raise BundleError(f"RECORD in {site} lists too many files", _REINSTALL)
    files = {}
    for name, *rest in rows:
        parts = Path(name).parts
        in_info = len(parts) == 2 and parts[0].endswith(".dist-info")
        # Scripts lie outside, and are made anew from the entry points; byte code is made anew, too.
        outside = ".." in parts or Path(name).is_absolute()
        if outside or "__pycache__" in parts or (in_info and parts[1] in _INSTALLERS_OWN):
            continue
        try:
            data = (site / name).read_bytes()
        except OSError as error:
            raise BundleError(f"{site / name}: {error.strerror}", _REINSTALL) from None
        if rest and rest[0] and rest[0] != _record_hash(data):
            raise BundleError(f"{site / name} is not as it was installed", _REINSTALL)
        files[name] = data
    return files


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _pack(path: Path, files: dict[str, bytes], record_name: str) -> None:
    record = io.StringIO()
    lines = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in sorted(files, key=lambda name: (".dist-info/" in name, name)):
            put(wheel, name, files[name])
            lines.writerow((name, _record_hash(files[name]), len(files[name])))
        lines.writerow((record_name, "", ""))
        put(wheel, record_name, record.getvalue().encode())


def put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file to an archive, without the hour and the owner: equal contents make equal archives."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o100644 << 16
    archive.writestr(info, data)
