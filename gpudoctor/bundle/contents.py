"""What lies in a bundle beside the wheels: installer, manuals, tables, manifest, and checksums of all."""

import hashlib
import html
import io
import shutil
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Literal

import msgspec

from gpudoctor import __version__
from gpudoctor.bundle.closure import Wheel
from gpudoctor.bundle.target import Target, needed_library

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>gpudoctor {version}: manuals</title>
<style>body {{ font: 1em/1.5 system-ui, sans-serif; max-width: 60em; margin: 1em auto; padding: 0 1em }}
pre {{ white-space: pre-wrap }} nav {{ columns: 20em }}</style>
<h1>gpudoctor {version}: the manual of every check</h1>
<nav>{index}</nav>
{manuals}
</html>
"""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``manifest.json`` of a bundle: what it is made of, for which machines, and who was asked."""

    schema: Literal["gpudoctor.bundle/1"] = "gpudoctor.bundle/1"
    version: str
    matrices: str
    made: str
    pythons: tuple[str, ...]
    platform: str
    machine: str
    library: str
    asked_hosts: tuple[str, ...]
    wheels: tuple[Wheel, ...]

    @property
    def needs(self) -> str:
        """What the wheels need of a machine, in words."""
        return f"{self.machine}, {self.library} or newer" if self.library else self.machine


def manifest(chosen: Mapping[Target, Sequence[Wheel]], hosts: tuple[str, ...], made: str) -> Manifest:
    """Return the manifest of wheels chosen for targets of one platform."""
    from gpudoctor.matrices import MATRICES_DATE

    every = {wheel.file: wheel for wheels in chosen.values() for wheel in wheels}
    first = next(iter(chosen))
    return Manifest(
        version=__version__, matrices=MATRICES_DATE, made=made, pythons=tuple(t.python for t in chosen),
        platform=first.platform, machine=first.machine, library=needed_library(list(every)), asked_hosts=hosts,
        wheels=tuple(every[file] for file in sorted(every)),
    )  # fmt: skip


def fill(folder: Path, own: Path, chosen: Mapping[Target, Sequence[Wheel]], described: Manifest) -> None:
    """Write everything but the wheels into the bundle's folder; checksums last, over all."""
    installer = folder / "install.sh"
    shutil.copyfile(Path(__file__).with_name("install.sh"), installer)
    installer.chmod(0o755)
    _documents(folder, own)
    _manuals(folder / "docs")
    _tables(folder / "matrices")
    (folder / "requirements").mkdir()
    for target, wheels in chosen.items():
        # pip itself is there to run, not to be installed.
        lines = [f"{each.name}=={each.version} --hash=sha256:{each.sha256}\n" for each in wheels if each.name != "pip"]
        (folder / "requirements" / f"{target.short}.txt").write_text("".join(lines), encoding="utf-8")
    text = msgspec.json.format(msgspec.json.encode(described), indent=2)
    (folder / "manifest.json").write_bytes(text + b"\n")
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def _documents(folder: Path, own: Path) -> None:
    with zipfile.ZipFile(own) as wheel:
        for name in wheel.namelist():
            if name.endswith(".dist-info/METADATA"):
                readme = HeaderParser().parsestr(wheel.read(name).decode()).get_payload()
                (folder / "README.md").write_text(str(readme).lstrip("\n"), encoding="utf-8")
            elif name.endswith("/LICENSE"):
                (folder / "LICENSE").write_bytes(wheel.read(name))


def _manuals(folder: Path) -> None:
    from gpudoctor.checking.plugins import load_checks

    (folder / "checks").mkdir(parents=True)
    index, sections = [], []
    for check in load_checks().checks:
        manual = check.manual.strip()
        (folder / "checks" / f"{check.id}.md").write_text(f"{check.id}\n\n{manual}\n", encoding="utf-8")
        name = html.escape(check.id)
        index.append(f'<a href="#{name}">{name}</a><br>')
        sections.append(f'<h2 id="{name}">{name}</h2>\n<pre>{html.escape(manual)}</pre>')
    page = _PAGE.format(version=__version__, index="\n".join(index), manuals="\n".join(sections))
    (folder / "checks.html").write_text(page, encoding="utf-8")


def _tables(folder: Path) -> None:
    from gpudoctor.matrices.newer import write_bundle

    folder.mkdir()
    write_bundle(folder / "gpudoctor-matrices.json")


def archive(folder: Path, name: str, seconds: int) -> bytes:
    """Return a folder as tar.gz, without owners; equal contents at an equal time make equal bytes."""
    import gzip

    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=seconds, compresslevel=6) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in (folder, *sorted(folder.rglob("*"))):
            info = tarfile.TarInfo(str(Path(name) / path.relative_to(folder)))
            info.mtime, info.uname, info.gname = seconds, "root", "root"
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size = path.stat().st_size
                info.mode = 0o755 if path.suffix == ".sh" else 0o644
                with path.open("rb") as file:
                    tar.addfile(info, file)
    return packed.getvalue()
