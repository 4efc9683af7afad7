"""Whether a folder of wheels holds all that an installer without network would ask for, for one Python and platform.

Every requirement of every wheel that fits (or of a requirements file, and what it draws in) must be met by a wheel that
fits; where several versions meet it, the newest counts, as pip would take it. Which of two versions meets two
requirements at once is not tried.
"""

import os
import platform as this_platform
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from packaging.markers import UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, sys_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from gpudoctor.facts.files import MissingWheel, WheelFolder
from gpudoctor.verify.jobs import shown
from gpudoctor.verify.requirements import Wanted
from gpudoctor.verify.wheels import metadata

_MOST_REQUIREMENTS = 10_000
_MANYLINUX = re.compile(r"(manylinux|musllinux)_(\d+)_(\d+)_(\w+)")
_OLD_NAMES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


class Installer(NamedTuple):
    """The Python and platform that will install: tags from best to worst, and the values of markers."""

    python: str
    platform: str
    tags: frozenset[Tag]
    environment: dict[str, str]


class Wheel(NamedTuple):
    """One archive of a project. ``requires`` None: what it requires is not known (a source archive, a damaged one)."""

    file: str
    name: str
    version: Version
    fits: bool
    requires: tuple[Requirement, ...] | None


def installer(python: str | None, platform: str | None) -> Installer:
    """Return the installer of this Python and platform, or of those named (``3.11``, ``manylinux_2_28_x86_64``).

    Raises:
        ValueError: The Python is no version, or the platform no tag of Linux.
    """
    environment = {key: str(value) for key, value in default_environment().items()}
    here = this_platform.python_version()
    if python is None and platform is None:
        return Installer(".".join(here.split(".")[:2]), "this machine", frozenset(sys_tags()), environment)
    if python is not None and not re.fullmatch(r"3\.\d{1,2}(?:\.\d{1,2})?", python):
        raise ValueError(f"{python[:40]!r} is no version of Python 3: for example 3.11")
    full = python or here
    version = (3, int(full.split(".")[1]))
    environment.update(python_version=f"3.{version[1]}", implementation_name="cpython",
                       platform_python_implementation="CPython")  # fmt: skip
    if python is not None:
        environment["python_full_version"] = environment["implementation_version"] = (
            full if full.count(".") == 2 else f"{full}.0"
        )
    names = _platforms(platform) if platform is not None else _own_platforms()
    if platform is not None:
        environment.update(sys_platform="linux", platform_system="Linux", os_name="posix",
                           platform_machine=platform.split("_", 1)[1] if platform.startswith("linux_")
                           else re.sub(r"^(?:many|musl)linux(?:\d+|_\d+_\d+)_", "", platform))  # fmt: skip
    tags = frozenset((*cpython_tags(version, platforms=names),
                      *compatible_tags(version, f"cp{version[0]}{version[1]}", names)))  # fmt: skip
    return Installer(f"3.{version[1]}", platform or "this machine", tags, environment)


def _own_platforms() -> list[str]:
    return list(dict.fromkeys(tag.platform for tag in sys_tags() if tag.platform != "any"))


def _platforms(text: str) -> list[str]:
    """Return the platform tags that a system takes, newest first: one with glibc 2.28 runs what needs 2.17."""
    old, _, machine = text.partition("_")
    if old in _OLD_NAMES and machine:
        text = f"manylinux_{_OLD_NAMES[old][0]}_{_OLD_NAMES[old][1]}_{machine}"
    found = _MANYLINUX.fullmatch(text)
    if found is None:
        if re.fullmatch(r"linux_\w+", text):
            return [text]
        raise ValueError(f"{text[:60]!r} is no platform tag: for example manylinux_2_28_x86_64")
    kind, major, minor, machine = found[1], int(found[2]), int(found[3]), found[4]
    least = 5 if kind == "manylinux" and machine in ("x86_64", "i686") else 0
    names = []
    for each in range(min(minor, 99), least - 1, -1):
        names.append(f"{kind}_{major}_{each}_{machine}")
        names += [f"{name}_{machine}" for name, at in _OLD_NAMES.items() if kind == "manylinux" and at == (major, each)]
    return [*names, f"linux_{machine}"]


def judge_folder(folder: str, names: Iterable[str], system: Installer, wanted: Sequence[Wanted] | None) -> WheelFolder:
    """Say what a folder lacks for this installer."""
    wheels: dict[str, list[Wheel]] = {}
    for name in sorted(names):
        for wheel in _wheel(folder, name, system):
            wheels.setdefault(wheel.name, []).append(wheel)
    missing: dict[tuple[str, str], MissingWheel] = {}
    unread: set[str] = set()
    waiting: list[tuple[Requirement, str]] = []
    if wanted is None:
        for each in wheels.values():
            for wheel in each:
                if wheel.fits:
                    waiting += _active(wheel, frozenset(), system, unread)
    else:
        waiting += [(w.requirement, w.place) for w in wanted if _holds(w.requirement, frozenset(), system)]
    done: set[tuple[str, str]] = set()
    while waiting and len(done) < _MOST_REQUIREMENTS:
        requirement, by = waiting.pop()
        if (key := (str(requirement), by)) in done:
            continue
        done.add(key)
        found = _best(requirement, wheels)
        if found is None:
            here = tuple(shown(w.file) for w in wheels.get(canonicalize_name(requirement.name), ()))[:16]
            text = str(requirement).partition(";")[0].strip()
            missing.setdefault((text, by), MissingWheel(requirement=text, wanted_by=by, here=here))
        elif wanted is not None or requirement.extras:
            waiting += _active(found, frozenset(requirement.extras), system, unread)
    lacking = {canonicalize_name(Requirement(each.requirement).name) for each in missing.values()}
    unfit = {name for name, each in wheels.items() if not any(w.fits for w in each)} - lacking
    return WheelFolder(
        path=shown(folder), python=system.python, platform=system.platform, required=wanted is not None,
        wheels=sum(len(each) for each in wheels.values()), missing=tuple(missing.values()),
        unfit=tuple(sorted(unfit)), unread=tuple(sorted(unread)),
    )  # fmt: skip


def _wheel(folder: str, name: str, system: Installer) -> list[Wheel]:
    try:
        if name.endswith(".whl"):
            project, version, _, tags = parse_wheel_filename(name)
        elif name.endswith((".tar.gz", ".zip")):
            project, version = parse_sdist_filename(name)
            return [Wheel(name, project, version, True, None)]
        else:
            return []
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return []
    if not tags & system.tags:
        return [Wheel(name, project, version, False, None)]
    about = metadata(os.path.join(folder, name))
    if about is None:
        return [Wheel(name, project, version, True, None)]
    try:
        pythons = SpecifierSet(str(about.get("Requires-Python") or ""))
        requires = tuple(Requirement(str(text)) for text in about.get_all("Requires-Dist") or ())
    except (InvalidSpecifier, InvalidRequirement):
        return [Wheel(name, project, version, True, None)]
    fits = pythons.contains(system.environment["python_full_version"], prereleases=True)
    return [Wheel(name, project, version, fits, requires)]


def _active(wheel: Wheel, extras: frozenset[str], system: Installer, unread: set[str]) -> list[tuple[Requirement, str]]:
    if wheel.requires is None:
        unread.add(shown(wheel.file))
        return []
    return [(each, shown(wheel.file)) for each in wheel.requires if _holds(each, extras, system)]


def _holds(requirement: Requirement, extras: frozenset[str], system: Installer) -> bool:
    if requirement.marker is None:
        return True
    try:
        return any(requirement.marker.evaluate({**system.environment, "extra": extra}) for extra in extras or {""})
    except UndefinedEnvironmentName:
        return True


def _best(requirement: Requirement, wheels: dict[str, list[Wheel]]) -> Wheel | None:
    """Return the newest archive that meets a requirement, wheels before source archives."""
    meets = [
        each
        for each in wheels.get(canonicalize_name(requirement.name), ())
        if each.fits and requirement.specifier.contains(each.version, prereleases=True)
    ]
    return max(meets, key=lambda each: (each.version, each.requires is not None), default=None)
