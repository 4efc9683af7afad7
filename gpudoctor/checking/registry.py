"""The @check mark, and what a marked function is: an id, a manual, and the facts it asks for."""

import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from gpudoctor.checking.finding import Finding
from gpudoctor.checking.policy import Policy
from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu
from gpudoctor.facts.snapshot import section_types

CheckFunction = Callable[..., Iterable[Finding]]
_F = TypeVar("_F", bound=CheckFunction)

_MARK = "__gpudoctor_check__"
HEADINGS = ("## Why it matters", "## How to fix", "## References")

#: A section whose failure says nothing about the sections it rests on; see ``Selection.close``.
RESTS_ON: dict[str, tuple[str, ...]] = {"gpus": ("driver",), "driver": ("pci",), "cuda": ("gpus",),
                                        "containers": ("docker",)}


class Mark(msgspec.Struct, frozen=True):
    """What ``@check`` was told."""

    gatekeeper_of: str | None
    deep: bool


class CheckError(Exception):
    """A module that claims to be a check and is not; the message says what is wrong with it."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: its id, its manual, its function and the facts that function asks for by name.

    ``wants`` maps parameter to True when the function takes that section's ``Unavailable`` too.
    """

    id: str
    manual: str
    function: CheckFunction
    wants: dict[str, bool]
    gatekeeper_of: str | None = None
    deep: bool = False
    package: str = "gpudoctor"

    @property
    def area(self) -> str:
        """The id's first word."""
        return self.id.partition(".")[0]

    @property
    def title(self) -> str:
        """The manual's first sentence."""
        return " ".join(self.manual.strip().split("\n\n")[0].split())

    @property
    def sections(self) -> tuple[str, ...]:
        """The snapshot sections it reads."""
        names = ["gpus" if name == "gpu" else name for name in self.wants]
        return tuple(name for name in names if name in section_types())


def check(*, gatekeeper_of: str | None = None, deep: bool = False) -> Callable[[_F], _F]:
    """Mark the one function of a module that is its check.

    The function's name is the file's name; its parameters name the facts it needs: a section of the Snapshot
    (``driver: Driver``; with ``| Unavailable`` to be given the failure instead of being skipped), ``gpu: Gpu``
    to be called once for every GPU that answered, ``target: Target`` or ``policy: Policy``.

    Args:
        gatekeeper_of: The section whose failure this check reports. It must accept ``Unavailable``.
        deep: It works only with ``--deep``.
    """

    def mark(function: _F) -> _F:
        setattr(function, _MARK, Mark(gatekeeper_of, deep))
        return function

    return mark


def from_module(module: types.ModuleType, package: str) -> Check:
    """Make a Check of the module ``<package>.<area>.<problem>``.

    Raises:
        CheckError: No marked function, two of them, a wrong name, an unknown fact, or no manual.
    """
    found = [
        value
        for value in vars(module).values()
        if callable(value) and hasattr(value, _MARK) and getattr(value, "__module__", None) == module.__name__
    ]
    if len(found) != 1:
        raise CheckError(f"{module.__name__} has {len(found)} functions marked @check, not one")
    function = found[0]
    parts = module.__name__.removeprefix(package + ".").split(".")
    if len(parts) != 2 or parts[1] != function.__name__:
        raise CheckError(f"{module.__name__}: a check is <area>/<problem>.py with a function of the same name")
    manual = inspect.cleandoc(module.__doc__ or "")
    if not manual:
        raise CheckError(f"{module.__name__} has no manual (module docstring)")
    mark: Mark = getattr(function, _MARK)
    return Check(
        id=".".join(parts).replace("_", "-"),
        manual=manual,
        function=function,
        wants=_wants(function, module.__name__, mark),
        gatekeeper_of=mark.gatekeeper_of,
        deep=mark.deep,
        package=package,
    )


def _wants(function: CheckFunction, where: str, mark: Mark) -> dict[str, bool]:
    allowed: dict[str, Any] = {**section_types(), "gpu": Gpu, "target": Target, "policy": Policy}
    hints = get_type_hints(function)
    wants: dict[str, bool] = {}
    for name in inspect.signature(function).parameters:
        if name not in allowed:
            raise CheckError(f"{where} asks for {name!r}; facts are: {', '.join(sorted(allowed))}")
        hint = hints.get(name)
        kinds = get_args(hint) or (hint,)
        if allowed[name] not in kinds or set(kinds) - {allowed[name], Unavailable}:
            raise CheckError(f"{where}: annotate {name!r} as {allowed[name].__name__}, with or without | Unavailable")
        wants[name] = Unavailable in kinds
    if mark.gatekeeper_of is not None and not wants.get(mark.gatekeeper_of, False):
        raise CheckError(f"{where} keeps the gate of {mark.gatekeeper_of!r}, so it must accept its Unavailable")
    return wants
