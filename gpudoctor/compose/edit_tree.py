"""Where everything of a YAML text is written: keys, values, anchors and aliases with their first and last character.

The reader (``tree.py``) unfolds aliases and merge keys and forgets where they stood; an edit needs the opposite.
"""

import re
from typing import Any

from gpudoctor.compose.tree import MAX_DEPTH, MAX_VALUES, ComposeError
from gpudoctor.compose.tree import _scalar as meaning

_PROPERTIES = re.compile(r"(?:[&!]\S*[ \t]*)+")
_COLON = re.compile(r"[ \t]*:")
#: Line breaks to some readers and not to others: an edit by lines cannot tell.
_DOUBTFUL_BREAK = re.compile("\r(?!\n)|[\x85\u2028\u2029]")


class Refused(Exception):
    """Why an edit is not made: one sentence."""


class Spot:
    """A value where it is written.

    Attributes:
        kind: ``scalar``, ``mapping``, ``sequence`` or ``alias``.
        start: Offset of its first character, anchor and tag included.
        content: Offset behind anchor and tag.
        end: Offset behind its last character; comments and blank lines after it are not its own.
        style: Of a scalar: empty for plain, else ``'``, ``"``, ``|`` or ``>``.
        flow: Whether it is written in brackets or braces.
        pairs: Of a mapping: keys with their values.
        items: Of a sequence.
        target: Of an alias: what it stands for.
    """

    __slots__ = (
        "anchor", "content", "end", "flow", "items", "kind", "pairs", "start", "style", "tagged", "target", "text",
    )  # fmt: skip

    def __init__(self, kind: str, start: int, end: int) -> None:
        self.kind, self.start, self.content, self.end = kind, start, start, end
        self.text, self.style, self.anchor, self.flow, self.tagged = "", "", "", False, False
        self.pairs: list[tuple[Spot, Spot]] = []
        self.items: list[Spot] = []
        self.target: Spot | None = None

    @property
    def real(self) -> "Spot":
        """What it stands for: itself, or the target of an alias."""
        return self if self.target is None else self.target

    def data(self) -> Any:
        """Return what it stands for, without places."""
        spot = self.real
        if spot.kind == "scalar":
            return spot.text if spot.style else meaning(spot.text)
        if spot.kind == "sequence":
            return [each.data() for each in spot.items]
        found = {key.text: value.data() for key, value in spot.pairs if key.text != "<<" or key.style}
        for source in spot.merged():
            found = {**source.data(), **found}
        return found

    def merged(self) -> "list[Spot]":
        """The mappings that its merge keys name, the first over the later ones."""
        sources = [value.real for key, value in self.pairs if key.text == "<<" and not key.style]
        return [each.real for source in sources for each in (source.items if source.kind == "sequence" else [source])]

    def scalars(self) -> "list[Spot]":
        """All that is no collection below it, keys included, in the order of the text."""
        found, waiting = [], [self]
        while waiting:
            spot = waiting.pop()
            if spot.kind in ("scalar", "alias"):
                found.append(spot)
            waiting += [each for pair in reversed(spot.pairs) for each in reversed(pair)] or spot.items[::-1]
        return found


def read_spots(text: str) -> Spot:
    """Return the only document of a YAML text that ``tree.documents`` could read.

    Raises:
        Refused: It has other than one document, or line breaks that are none to some readers.
        ComposeError: It is no YAML.
    """
    if doubtful := _DOUBTFUL_BREAK.search(text):
        line = text.count("\n", 0, doubtful.start()) + 1
        raise Refused(f"line {line} has a line break that is none for some readers ({doubtful[0]!r}): replace it")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    builder = _Builder(text)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except (YAMLError, ValueError, AttributeError, TypeError, IndexError, RecursionError) as error:
        raise ComposeError(str(error).splitlines()[0][:200], "the edited text") from None
    if builder.documents != 1 or builder.root is None:
        raise Refused("it holds other than one YAML document")
    return builder.root


class _Builder:
    """Builds the tree from the parser's events, which unfold nothing."""

    def __init__(self, text: str) -> None:
        self.documents = 0
        self.root: Spot | None = None
        self._text = text
        self._open: list[Spot] = []
        self._keys: list[Spot | None] = []
        self._anchors: dict[str, Spot] = {}
        self._count = 0

    def take(self, event: Any) -> None:
        name = type(event).__name__
        if name == "DocumentStartEvent":
            self.documents += 1
            self._anchors.clear()
        elif name in ("MappingStartEvent", "SequenceStartEvent"):
            spot = self._begin("mapping" if name[0] == "M" else "sequence", event)
            spot.flow = bool(event.flow_style)
            self._open.append(spot)
            self._keys.append(None)
            if len(self._open) > MAX_DEPTH:
                raise Refused(f"it is nested more than {MAX_DEPTH} levels deep")
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            spot = self._open.pop()
            self._keys.pop()
            last = spot.pairs[-1][1] if spot.pairs else spot.items[-1] if spot.items else None
            spot.end = event.end_mark.index if spot.flow else max(spot.content, last.end if last else 0)
            self._place(spot)
        elif name == "ScalarEvent":
            spot = self._begin("scalar", event)
            spot.text, spot.style = event.value, event.style or ""
            if spot.style in ("|", ">"):
                spot.end = self._block_end(spot)
            self._place(spot)
        elif name == "AliasEvent":
            spot = Spot("alias", event.start_mark.index, event.end_mark.index)
            spot.text, spot.target = event.anchor, self._anchors.get(event.anchor)
            if spot.target is None or spot.target in self._open:
                raise Refused(f"the alias *{event.anchor} would stand for nothing")
            self._place(spot)

    def _begin(self, kind: str, event: Any) -> Spot:
        self._count += 1
        if self._count > MAX_VALUES:
            raise Refused(f"it holds more than {MAX_VALUES} values")
        spot = Spot(kind, event.start_mark.index, event.end_mark.index)
        spot.anchor, spot.tagged = event.anchor or "", bool(event.tag)
        if spot.anchor or spot.tagged:
            properties = _PROPERTIES.match(self._text, spot.start)
            spot.content = properties.end() if properties else spot.start
        if spot.anchor:
            self._anchors[spot.anchor] = spot
        return spot

    def _block_end(self, spot: Spot) -> int:
        """Leave out the blank lines behind a block of text, unless it keeps them (``|+``)."""
        written = self._text[spot.start : spot.end]
        keeps = "+" in written.split("\n", 1)[0].split("#", 1)[0]
        return spot.start + len(written.removesuffix("\n").removesuffix("\r") if keeps else written.rstrip())

    def _place(self, spot: Spot) -> None:
        if not self._open:
            self.root = spot
            return
        parent = self._open[-1]
        if parent.kind == "sequence":
            parent.items.append(spot)
        elif self._keys[-1] is None:
            self._keys[-1] = spot
        else:
            key = self._keys[-1]
            if spot.kind == "scalar" and spot.start == spot.end:
                # The parser puts a value that is not there before whatever follows.
                colon = _COLON.match(self._text, key.end)
                spot.start = spot.content = spot.end = colon.end() if colon else key.end
            parent.pairs.append((key, spot))
            self._keys[-1] = None
