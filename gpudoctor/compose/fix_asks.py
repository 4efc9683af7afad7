"""What a fix of a Compose file is asked for, and what several fixes read of a service."""

from collections.abc import Callable
from typing import Any, NamedTuple

from gpudoctor.compose.edit_tree import Refused
from gpudoctor.compose.edits import Edit, Path
from gpudoctor.compose.tree import text_of

DEVICES = ("deploy", "resources", "reservations", "devices")


class Ask(NamedTuple):
    """What a check says of one service, to be mended at once.

    Attributes:
        service: The service's name; empty for the file as a whole.
        amd: Whether its image is made for AMD's GPUs.
        engine_gpus: How many GPUs its engine uses, None for all that it gets.
        host_gpus: How many GPUs the machine has; None when that is not known.
        mixed: Whether the machine's GPUs are of different kinds, which CUDA counts in another order.
        compose_v1: Whether the machine has Compose v1 only.
        variable: One that no engine reads.
        instead: The variable that takes the same value; empty when there is none.
        key: Where a key stands that Compose refuses, below the service, else the file: ``healthcheck.intervall``.
        near: The known key that it is a misspelling of; empty when there is none.
        context: Tokens of context to set, which fit; None when nobody said for which model.
    """

    service: str = ""
    amd: bool = False
    engine_gpus: int | None = None
    host_gpus: int | None = None
    mixed: bool = False
    compose_v1: bool = False
    variable: str = ""
    instead: str = ""
    key: str = ""
    near: str = ""
    context: int | None = None

    @property
    def path(self) -> Path:
        """Where the service stands."""
        return ("services", self.service)


#: Edits one service and returns what was done, in one sentence. Raises Refused with the reason.
Fix = Callable[[Edit, Ask], str]


def variables(edit: Edit, ask: Ask) -> dict[str, str | None]:
    """Return the variables that the service sets in this file; None for those taken from the shell."""
    written = edit.get((*ask.path, "environment"))
    if isinstance(written, dict):
        return {name: None if value is None else text_of(value) for name, value in written.items()}
    found: dict[str, str | None] = {}
    for each in written if isinstance(written, list) else ():
        name, sign, value = text_of(each).partition("=")
        found[name] = value if sign else None
    return found


def remove_variable(edit: Edit, ask: Ask, name: str) -> None:
    """Take a variable out of the service, and the key ``environment`` with the last one."""
    path = (*ask.path, "environment")
    while isinstance(written := edit.get(path), list):
        index = next((n for n, each in enumerate(written) if text_of(each).partition("=")[0] == name), None)
        if index is None:
            return
        edit.delete_item(path, index)
    if isinstance(written, dict) and name in written:
        edit.delete(path if len(written) == 1 else (*path, name))


def literal(text: str, what: str) -> str:
    """Return a value that stands in the file itself.

    Raises:
        Refused: Part of it comes from a variable at start.
    """
    if "$" in text:
        raise Refused(f"{what} is {text}, which the shell or .env decides at start")
    return text


def listed(text: str) -> list[str]:
    """Return the parts of a list written with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def reservations(edit: Edit, ask: Ask) -> list[tuple[Path, dict[str, Any]]]:
    """Return the reserved devices that are GPUs, and the entries of a list ``gpus``, with their paths."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for path in ((*ask.path, *DEVICES), (*ask.path, "gpus")):
        written = edit.get(path)
        for number, each in enumerate(written if isinstance(written, list) else ()):
            if not isinstance(each, dict):
                continue
            wanted = each.get("capabilities")
            other = isinstance(wanted, list) and "gpu" not in wanted and path[-1] != "gpus"
            if not other and each.get("driver") in (None, "nvidia", "cdi"):
                found.append(((*path, number), each))
    return found


def only_reservation(edit: Edit, ask: Ask) -> tuple[Path, dict[str, Any]]:
    """Return the only GPU reservation of the service and its path."""
    found = reservations(edit, ask)
    if not found:
        raise Refused("no reservation says how many GPUs it gets, and which")
    if len(found) > 1:
        raise Refused(f"it reserves GPUs in {len(found)} places: which is meant is yours to say")
    return found[0]
