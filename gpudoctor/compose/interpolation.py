"""Variables in values, as Compose replaces them: ``$A``, ``${A:-x}``, ``${A?words}``, ``${A:+x}``, ``$$``, nested."""

import re
from collections.abc import Mapping

from gpudoctor.compose.tree import ComposeError, Node
from gpudoctor.facts.compose import Place

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DEPTH = 20
_MAX_CHARACTERS = 4 << 20


class Interpolator:
    """Replaces variables and remembers those that nothing sets."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.unset: dict[str, Place] = {}
        self._left = _MAX_CHARACTERS

    def tree(self, node: Node) -> Node:
        """Return the tree with the variables in all its values replaced. Keys are left as they are.

        Raises:
            ComposeError: A ``$`` that names nothing, or a variable that is required and not set.
        """
        value = node.value
        if isinstance(value, dict):
            return node._replace(value={name: self.tree(inner) for name, inner in value.items()})
        if isinstance(value, list):
            return node._replace(value=[self.tree(inner) for inner in value])
        if isinstance(value, str) and "$" in value:
            return node._replace(value=self.text(value, node.place))
        return node

    def text(self, text: str, place: Place, depth: int = 0) -> str:
        """Return one text with its variables replaced."""
        if depth > _MAX_DEPTH:
            raise ComposeError("its variables are nested too deeply", place)
        parts: list[str] = []
        at = 0
        while (dollar := text.find("$", at)) >= 0:
            parts.append(text[at:dollar])
            at = dollar + 1
            following = text[at : at + 1]
            if following == "$":
                parts.append("$")
                at += 1
            elif following == "{":
                end = _closing(text, at)
                if end < 0:
                    raise _invalid(place)
                parts.append(self._braced(text[at + 1 : end], place, depth))
                at = end + 1
            elif name := _NAME.match(text, at):
                parts.append(self._value(name[0], place))
                at = name.end()
            else:
                # A lone dollar stands for itself.
                parts.append("$")
        parts.append(text[at:])
        whole = "".join(parts)
        self._left -= len(whole)
        if self._left < 0:
            raise ComposeError("its variables unfold to more text than any Compose file holds", place)
        return whole

    def _value(self, name: str, place: Place) -> str:
        if name not in self.environment:
            self.unset.setdefault(name, place)
        return self.environment.get(name, "")

    def _braced(self, inner: str, place: Place, depth: int) -> str:
        name = _NAME.match(inner)
        if name is None:
            raise _invalid(place)
        rest = inner[name.end() :]
        value = self.environment.get(name[0])
        if not rest:
            return self._value(name[0], place)
        colon = rest.startswith(":")
        operator, words = rest[colon : colon + 1], rest[colon + 1 :]
        # With the colon an empty value counts as none.
        given = value is not None and (value != "" or not colon)
        if operator == "-":
            return (value or "") if given else self.text(words, place, depth + 1)
        if operator == "+":
            return self.text(words, place, depth + 1) if given else ""
        if operator == "?":
            if given:
                return value or ""
            said = " ".join(self.text(words, place, depth + 1).split())[:200]
            raise ComposeError(f"the variable {name[0]} must be set" + (f": {said}" if said else ""), place,
                               "set it in the shell, in .env, or with --env-file")
        raise _invalid(place)


def _closing(text: str, opening: int) -> int:
    """Return where the brace that opens at ``opening`` closes, -1 when it does not."""
    depth = 0
    for at in range(opening, len(text)):
        if text[at] == "{" and text[at - 1] == "$":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    return -1


def _invalid(place: Place) -> ComposeError:
    # The value stays out of the message: it may be a password.
    return ComposeError("a ${ here names no variable or is never closed", place, "write $$ for a dollar sign")
