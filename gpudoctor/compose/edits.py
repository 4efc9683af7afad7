"""Edits of a YAML text by what they change, each proved by reading the result again.

An edit names a path (``services``, ``llm``, ``runtime``). It changes the text where that is written, be it behind an
anchor or a merge key, and it changes the plain data that the text stood for. `Edit.proved` reads the new text with the
ordinary reader: when it stands for anything but the changed data, another place changed as well and nothing is done.
All else in the text stays byte for byte: comments, order, quotes, blank lines, line breaks.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any

from gpudoctor.compose.edit_lines import (
    delete_item,
    delete_pair,
    fill_pair,
    insert_item,
    insert_pair,
    manner_of,
    replace_scalar,
)
from gpudoctor.compose.edit_render import inline
from gpudoctor.compose.edit_reread import reread
from gpudoctor.compose.edit_tree import Refused, Spot, read_spots
from gpudoctor.compose.tree import ComposeError, Node, documents, whole

Path = tuple[str | int, ...]
_MOST_ROUNDS = 16


class Edit:
    """A text on its way from one state to another, and the data it has to stand for afterwards."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.text = text
        self.data = _read(text, name)
        self._root = read_spots(text)
        #: Anchors through which something was changed.
        self._shared: dict[str, None] = {}

    def state(self, path: Path) -> tuple[Any, ...]:
        """Return what `restore` takes back, when an edit at or below a path turns out to be impossible half way."""
        return self.text, _apart(self.data, path)

    def restore(self, state: tuple[Any, ...]) -> None:
        """Be as before."""
        text, self.data = state
        if text != self.text:
            self.text, self._root = text, read_spots(text)

    def get(self, path: Path) -> Any:
        """Return the data at a path, None where there is none."""
        found = self.data
        for key in path:
            if isinstance(found, dict) and isinstance(key, str):
                found = found.get(key)
            elif isinstance(found, list) and isinstance(key, int) and key < len(found):
                found = found[key]
            else:
                return None
        return found

    def put(self, path: Path, value: Any, after: str = "") -> None:
        """Set a key that is not there, with what leads to it; ``after`` names the sibling that it shall follow."""
        known = next(n for n in range(len(path), -1, -1) if self._mapping_at(path[:n]))
        if known == len(path):
            raise Refused(f"{_named(path)} is there already")
        inner = value
        for key in reversed(path[known + 1 :]):
            inner = {key: inner}
        key, parent = path[known], self.get(path[:known])
        if not isinstance(key, str) or not isinstance(parent, dict):
            raise Refused(f"{_named(path[:known])} is no mapping")
        if parent.get(key) is not None:
            raise Refused(f"{_named(path[: known + 1])} is no mapping")
        parent[key] = copy.deepcopy(inner)
        if _same(self._written(path[: known + 1]), inner):
            return  # The other service behind the same anchor already brought it.
        if found := self._find(path[: known + 1]):
            holder, _, index = found[-1]
            self._become(fill_pair(self.text, self._root, holder, index, inner))
        else:
            self._become(insert_pair(self.text, self._root, self._follow(path[:known]), key, inner, after))

    def delete(self, path: Path) -> None:
        """Take a key away: its own, and what a merge key would put in its place."""
        del self.get(path[:-1])[path[-1]]
        for _ in range(_MOST_ROUNDS):
            if not (found := self._find(path)):
                break
            holder, _, index = found[-1]
            self._become(delete_pair(self.text, self._root, holder, index))

    def rename(self, path: Path, name: str) -> None:
        """Give a key that is there another name, where it stands."""
        holder = self.get(path[:-1])
        if not isinstance(holder, dict) or path[-1] not in holder:
            raise Refused(f"{_named(path)} is not written in this file")
        if name in holder:
            raise Refused(f"{name} is written beside it: which of the two is meant is yours to say")
        renamed = {name if key == path[-1] else key: value for key, value in holder.items()}
        holder.clear()
        holder.update(renamed)
        if found := self._find(path):
            collection, _, index = found[-1]
            key = collection.real.pairs[index][0]
            quote = self.text[key.content] if key.style else ""
            self._become(replace_scalar(self.text, key, f"{quote}{name}{quote}"))

    def delete_item(self, path: Path, index: int) -> None:
        """Take an item out of a list, and the list's own key with the last one."""
        items = self.get(path)
        gone = items[index]
        if len(items) == 1:
            self.delete(path)
            return
        del items[index]
        spot = self._follow(path)
        written = self._written(path) or []
        # Behind a shared anchor another service may have taken it out already.
        place = next((n for n, each in enumerate(written) if _same(each, gone)), None)
        if place is not None:
            self._become(delete_item(self.text, self._root, spot, place))

    def append(self, path: Path, item: str) -> None:
        """Add an item to a list of plain values."""
        self.get(path).append(item)
        if item not in (self._written(path) or []):
            self._become(insert_item(self.text, self._root, self._follow(path), item))

    def rewrite(self, path: Path, pattern: str, replacement: str) -> None:
        """Replace within one scalar what a pattern finds exactly once there, quotes and folding kept."""
        old = self.get(path)
        holder = self.get(path[:-1])
        new = _once(pattern, replacement, old if isinstance(old, str) else inline(old, manner_of("", None)))
        holder[path[-1]] = new if isinstance(old, str) else _plain(next(documents(f"a: {new}\n", self.name)))["a"]
        if not _same(self._written(path), old):
            return
        spot = self._follow(path)
        if spot.kind != "scalar":
            raise Refused(f"{_named(path)} is no single value")
        written = self.text[spot.content : spot.end]
        self._become(replace_scalar(self.text, spot, _once(pattern, replacement, written)))

    def proved(self) -> str:
        """Return the new text.

        Raises:
            Refused: It would stand for something else than was meant.
        """
        try:
            actual = _read(self.text, self.name)
        except ComposeError as error:
            raise Refused(f"the edited text would be no YAML: {error.message}") from None
        where = _difference(self.data, actual, ())
        if where is None:
            self._shared.clear()
            return self.text
        shared = "".join(f", through the anchor &{name}" for name in self._shared)
        raise Refused(f"{_named(where)} would change as well{shared}: give the service lines of its own first")

    def _become(self, text: str) -> None:
        old, self.text = self.text, text
        try:
            self._root = reread(self._root, old, text)
        except ComposeError as error:
            raise Refused(f"the edited text would be no YAML: {error.message}") from None

    def _written(self, path: Path) -> Any:
        """Return what the text stands for at a path: another service's edit may have come here already."""
        found = self._find(path)
        return found[-1][1].data() if found else None

    def _mapping_at(self, path: Path) -> bool:
        return isinstance(self.get(path), dict) and (not path or bool(self._find(path)))

    def _follow(self, path: Path) -> Spot:
        found = self._find(path)
        if path and not found:
            raise Refused(f"{_named(path)} is not written in this file")
        return found[-1][1].real if found else self._root

    def _find(self, path: Path) -> list[tuple[Spot, Spot, int]]:
        """Return for each step of a path: the collection it is written in, the value, and its index there."""
        spot, found = self._root, []
        for key in path:
            step = _step(self._note(spot), key)
            if step is None:
                return []
            self._note_target(step[0])
            found.append(step)
            spot = step[1]
        if found:
            self._note(found[-1][1])
        return found

    def _note(self, spot: Spot) -> Spot:
        self._note_target(spot.real)
        if spot.tagged:
            raise Refused("a tag of Compose's merging stands there: edit it by hand")
        return spot.real

    def _note_target(self, spot: Spot) -> None:
        if spot.anchor:
            self._shared[spot.anchor] = None


def _step(spot: Spot, key: str | int) -> tuple[Spot, Spot, int] | None:
    if isinstance(key, int):
        return (spot, spot.items[key], key) if key < len(spot.items) else None
    for index, (name, value) in enumerate(spot.pairs):
        if name.text == key:
            return spot, value, index
    return next((found for each in spot.merged() if (found := _step(each, key))), None)


def _once(pattern: str, replacement: str, text: str) -> str:
    new, count = re.subn(pattern, replacement, text)
    if count != 1:
        raise Refused(f"what is to be replaced stands {count} times in one value")
    return new


def _read(text: str, name: str) -> Any:
    found = whole(text, name)
    if len(found) != 1 or not isinstance(found[0].value, dict):
        raise Refused("it is not one YAML mapping")
    # Extensions (x-) stand for nothing but what refers to them.
    return {key: _plain(each) for key, each in found[0].value.items() if not key.startswith("x-")}


def _plain(node: Node) -> Any:
    """Return data without places."""
    value = node.value
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _apart(data: Any, path: Path) -> Any:
    """Return data of which whatever leads to a path, and all below it, is a copy."""
    if not path or not isinstance(data, dict):
        return copy.deepcopy(data)
    return {key: _apart(each, path[1:]) if key == path[0] else each for key, each in data.items()}


def _same(one: Any, other: Any) -> bool:
    return _difference(one, other, ()) is None


def _difference(one: Any, other: Any, path: Path) -> Path | None:
    """Return the path of the first difference; ``1``, ``true`` and ``'1'`` differ."""
    if type(one) is not type(other):
        return path
    if isinstance(one, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in one or key not in other:
                return (*path, key)
            if (found := _difference(one[key], other[key], (*path, key))) is not None:
                return found
        return None
    if isinstance(one, list):
        if len(one) != len(other):
            return path
        pairs: Sequence[tuple[Any, Any]] = list(zip(one, other, strict=True))
        return next((d for n, pair in enumerate(pairs) if (d := _difference(*pair, (*path, n))) is not None), None)
    return None if one == other else path


def _named(path: Path) -> str:
    return ".".join(str(key) for key in path) or "the file"
