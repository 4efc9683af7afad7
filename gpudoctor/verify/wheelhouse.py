"""Whether a folder of wheels holds all that an installer without network would ask for, for one Python and platform.

What a requirements file asks for, else every project that lies there, is asked for as pip would be, with one version of
each project for all: see resolve.py.
"""

import os
import platform as this_platform
import re
from collections.abc import Iterable, Mapping, Sequence
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
from packaging.version import InvalidVersion

from gpudoctor.facts.files import MissingWheel, WheelConflict, WheelFolder
from gpudoctor.verify.jobs import shown
from gpudoctor.verify.requirements import Wanted
from gpudoctor.verify.resolve import Ask, Conflict, Resolver, TooMany, Wheel
from gpudoctor.verify.wheels import metadata

_MANYLINUX = re.compile(r"(manylinux|musllinux)_(\d+)_(\d+)_(\w+)")
_OLD_NAMES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


class Installer(NamedTuple):
    """The Python and platform that will install: tags from best to worst, and the values of markers."""

    python: str
    platform: str
    tags: frozenset[Tag]
    environment: dict[str, str]


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
    """Say what a folder lacks for this installer, in an empty environment."""
    wheels: dict[str, list[Wheel]] = {}
    for name in sorted(names):
        for wheel in _wheel(folder, name, system):
            wheels.setdefault(wheel.name, []).append(wheel)
    resolver = Resolver(wheels, lambda requirement, extras: _holds(requirement, extras, system))
    if wanted is not None:
        asks = [Ask(each.requirement, each.place) for each in wanted if _holds(each.requirement, frozenset(), system)]
        found = _ask_all(resolver, asks)
    else:
        found = _ask_each(resolver, wheels)
    missing = _named(found.lacking, wheels)
    lacking = {canonicalize_name(each.requirement.name) for each in found.lacking}
    unfit = {name for name, each in wheels.items() if not any(w.fits for w in each)} - lacking
    # With a list of requirements only what it draws in matters.
    read = (each for some in wheels.values() for each in some) if wanted is None else found.chosen.values()
    return WheelFolder(
        path=shown(folder), python=system.python, platform=system.platform, required=wanted is not None,
        wheels=sum(len(each) for each in wheels.values()), missing=missing, unfit=tuple(sorted(unfit)),
        unread=tuple(sorted(shown(each.file) for each in read if each.fits and each.requires is None)),
        conflicts=found.conflicts, together=found.together, left_aside=found.left_aside,
    )  # fmt: skip


class _Found(NamedTuple):
    """What was found out: requirements without an archive, those that disagree, whether only all together do."""

    lacking: list[Ask]
    chosen: dict[str, Wheel]
    conflicts: tuple[WheelConflict, ...] = ()
    together: bool = False
    left_aside: tuple[MissingWheel, ...] = ()


def _ask_all(resolver: Resolver, asks: Sequence[Ask]) -> _Found:
    """Ask for everything at once, as an installer is asked."""
    if lacking := resolver.lacking(asks):
        return _Found(lacking, {})
    chosen = _choose(resolver, asks)
    return _Found([], {}, (chosen,)) if isinstance(chosen, WheelConflict) else _Found([], chosen)


def _ask_each(resolver: Resolver, wheels: Mapping[str, Sequence[Wheel]]) -> _Found:
    """Ask for each project that is there, and for all of them together."""
    roots = [Ask(Requirement(name), "") for name, some in wheels.items() if any(each.fits for each in some)]
    able = [ask for ask in roots if resolver.possible(ask)]
    lacking = [each for each in resolver.lacking(roots) if each.by]
    aside = [
        (wheel, each)
        for ask in able for wheel in wheels[ask.name] if wheel.fits and resolver.struck(wheel)
        for each in resolver.lacking(resolver.needs(wheel))
    ]  # fmt: skip
    left_aside = tuple(
        MissingWheel(requirement=_text(each), wanted_by=shown(each.by), here=(shown(wheel.file),))
        for wheel, each in aside
    )
    chosen = _choose(resolver, able)
    if not isinstance(chosen, WheelConflict):
        return _Found(lacking, chosen, left_aside=left_aside)
    alone = tuple(each for ask in able if isinstance(each := _choose(resolver, [ask]), WheelConflict))
    return _Found(lacking, {}, tuple(dict.fromkeys(alone)) or (chosen,), not alone, left_aside)


def _choose(resolver: Resolver, asks: Sequence[Ask]) -> "dict[str, Wheel] | WheelConflict":
    try:
        chosen = resolver.choose(asks)
    except TooMany:
        return WheelConflict(project="")
    if not isinstance(chosen, Conflict):
        return chosen
    asking = tuple(sorted(f"{_text(each)} ({shown(each.by)})" for each in chosen.asks if each.by))
    return WheelConflict(project=chosen.project, asked=asking[:64])


def _text(ask: Ask) -> str:
    return str(ask.requirement).partition(";")[0].strip()


def _named(lacking: Sequence[Ask], wheels: Mapping[str, Sequence[Wheel]]) -> tuple[MissingWheel, ...]:
    return tuple(
        MissingWheel(requirement=_text(ask), wanted_by=shown(ask.by),
                     here=tuple(shown(each.file) for each in wheels.get(ask.name, ()))[:16])
        for ask in lacking
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


def _holds(requirement: Requirement, extras: frozenset[str], system: Installer) -> bool:
    if requirement.marker is None:
        return True
    try:
        return any(requirement.marker.evaluate({**system.environment, "extra": extra}) for extra in extras or {""})
    except UndefinedEnvironmentName:
        return True
