"""Which wheels a target needs: the requirements of every wheel, followed with the target's own markers.

pip chooses wheels by the target's tags but evaluates environment markers with the Python that runs it
(https://github.com/pypa/pip/issues/11664), so what only the target needs has to be asked for by name.
"""

import hashlib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename

from gpudoctor.bundle import BundleError
from gpudoctor.bundle.target import Target

_MOST_METADATA_BYTES = 4 << 20
_MOST_REQUIREMENTS = 2000
_CHUNK = 1 << 20


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """One wheel of a folder."""

    file: str
    name: str
    version: str
    bytes: int
    sha256: str


def read_folder(folder: Path) -> dict[NormalizedName, tuple[Wheel, tuple[Requirement, ...]]]:
    """Return the wheels of a folder, each with all requirements that its metadata names.

    Raises:
        BundleError: One cannot be read, or two are of the same project.
    """
    found: dict[NormalizedName, tuple[Wheel, tuple[Requirement, ...]]] = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            name, version, _, _ = parse_wheel_filename(path.name)
            requirements = tuple(Requirement(text) for text in _requires(path))
            with path.open("rb") as file:
                digest = hashlib.sha256()
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except (InvalidWheelFilename, InvalidRequirement, OSError, ValueError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path.name[:100]} is no wheel that can be read: {str(error)[:200]}") from None
        if name in found:
            raise BundleError(f"pip brought two wheels of {name}")
        wheel = Wheel(
            file=path.name, name=str(name), version=str(version), bytes=path.stat().st_size, sha256=digest.hexdigest()
        )
        found[name] = wheel, requirements
    return found


def _requires(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            folder, _, name = info.filename.partition("/")
            if folder.endswith(".dist-info") and name == "METADATA":
                if info.file_size > _MOST_METADATA_BYTES:
                    raise ValueError("its METADATA is too large")
                text = archive.read(info).decode("utf-8", "replace")
                requires = HeaderParser().parsestr(text).get_all("Requires-Dist") or []
                if len(requires) > _MOST_REQUIREMENTS:
                    raise ValueError("its METADATA names too many requirements")
                return [str(each) for each in requires]
    raise ValueError("it has no METADATA")


def follow(
    wheels: dict[NormalizedName, tuple[Wheel, tuple[Requirement, ...]]], target: Target, roots: tuple[str, ...]
) -> tuple[set[NormalizedName], set[str]]:
    """Follow requirements from the roots; return the projects needed that are here, and the requirements unmet."""
    pending = [Requirement(name) for name in roots]
    done: set[str] = set()
    used: set[NormalizedName] = set()
    unmet: set[str] = set()
    while pending:
        wanted = pending.pop()
        wanted.marker = None
        if str(wanted) in done:
            continue
        done.add(str(wanted))
        found = wheels.get(name := canonicalize_name(wanted.name))
        if found is None or not wanted.specifier.contains(found[0].version, prereleases=True):
            unmet.add(str(wanted))
            continue
        used.add(name)
        for each in found[1]:
            contexts = [{**target.marker_environment, "extra": extra} for extra in ("", *wanted.extras)]
            if each.marker is None or any(each.marker.evaluate(context) for context in contexts):
                copy = Requirement(str(each))
                pending.append(copy)
    return used, unmet
