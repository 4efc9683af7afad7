"""Finding checks: the built-in ones and third parties' come through one entry-point group."""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

import msgspec

from gpudoctor.checking.finding import Finding, Result, step, unknown
from gpudoctor.checking.foreign import pass_on, quiet
from gpudoctor.checking.registry import Check, CheckError, from_module

GROUP = "gpudoctor.checks"


class Catalogue(msgspec.Struct, frozen=True):
    """The checks that loaded, in order of area and id, and what did not load as visible results."""

    checks: tuple[Check, ...]
    broken: tuple[Result, ...]

    def get(self, check_id: str) -> Check | None:
        """Return the check with this id."""
        return next((c for c in self.checks if c.id == check_id), None)


def load_checks() -> Catalogue:
    """Load every check of every registered package. What fails to load becomes an ``unknown`` result."""
    found: dict[str, list[Check]] = {}
    broken: list[Result] = []
    entries = list(entry_points(group=GROUP))
    if not any(entry.value == GROUP for entry in entries):
        entries.insert(0, EntryPoint("gpudoctor", GROUP, GROUP))
    for entry in entries:
        for item in _load_package(entry):
            if isinstance(item, Check):
                found.setdefault(item.id, []).append(item)
            else:
                broken.append(item)
    checks = []
    for check_id, same in sorted(found.items()):
        if len(same) == 1:
            checks.append(same[0])
        else:
            packages = ", ".join(sorted(c.package for c in same))
            broken.append(_broken(check_id, "host", f"{len(same)} checks have this id, from: {packages}", packages))
    return Catalogue(tuple(checks), tuple(broken))


def _load_package(entry: EntryPoint) -> Iterator[Check | Result]:
    subject = f"plugin:{entry.name}"
    try:
        with quiet():
            package = entry.load()
            places = package.__path__
    except BaseException as error:
        pass_on(error)
        yield _broken("plugin.not-loaded", subject, f"{type(error).__name__}: {error}", entry.value)
        return
    empty = True
    for area in pkgutil.iter_modules(places, f"{entry.value}."):
        for name in _modules(area):
            empty = False
            try:
                with quiet():
                    found = from_module(importlib.import_module(name), entry.value)
            except BaseException as error:
                pass_on(error)
                check_id = name.removeprefix(entry.value + ".").replace("_", "-")
                reason = str(error) if isinstance(error, CheckError) else f"{type(error).__name__}: {error}"
                yield _broken(check_id, subject, reason, entry.value)
            else:
                yield found
    if empty:
        yield _broken("plugin.not-loaded", subject, f"package {entry.value} holds no checks", entry.value)


def _modules(area: pkgutil.ModuleInfo) -> Iterator[str]:
    if not area.ispkg:
        yield area.name
        return
    places = importlib.util.find_spec(area.name)
    for module in pkgutil.iter_modules(places.submodule_search_locations if places else None, f"{area.name}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            yield module.name


def _broken(check_id: str, subject: str, reason: str, package: str) -> Result:
    finding: Finding = unknown(
        subject,
        "the check could not be loaded: {reason}",
        reason=reason[:500],
        fix=step("Repair, update or remove the package {package}.", package=package),
    )
    return Result(id=check_id, finding=finding)
