"""The grammar of nginx configurations: words, ``;`` and blocks, each with its line. Nothing is judged here."""

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_CHARS = 2 << 20
MAX_DIRECTIVES = 50_000
MAX_DEPTH = 40
NEVER_CLOSED = "the block that opens here is never closed"
#: Letters, escapes, and ${variable}, whose braces open no block.
_WORD = re.compile(r"(?:[^\s;{\\]+|\\.|(?<=\$)\{[^}]*\}?|\\)+", re.DOTALL)
_SPACE = " \t\r\n"


class SyntaxProblem(Exception):
    """Where reading cannot go on; the message says what is wrong there."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


class Word(NamedTuple):
    """One word without its quotes, and its line."""

    text: str
    line: int


class Directive(NamedTuple):
    """One directive. ``block`` is None where a semicolon ends it; ``raw`` for a block in another language."""

    name: str
    line: int
    arguments: tuple[Word, ...]
    file: str
    block: "tuple[Directive, ...] | None" = None
    raw: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """Its arguments as text."""
        return tuple(each.text for each in self.arguments)


class _Token(NamedTuple):
    kind: str  # word, ";", "{", "}"
    text: str
    line: int
    end: int


def parse(text: str, file: str) -> tuple[Directive, ...]:
    """Read one file.

    Raises:
        SyntaxProblem: It does not end well, or is beyond any real one.
    """
    if len(text) > MAX_CHARS:
        raise SyntaxProblem(1, f"it is longer than {MAX_CHARS >> 20} MiB")
    return _Parser(text, file).whole()


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        self._count = 0
        self._tokens = _tokens(text, 0, 1)

    def whole(self) -> tuple[Directive, ...]:
        found, _ = self._block(0, None)
        return found

    def _block(self, depth: int, opened: int | None) -> tuple[tuple[Directive, ...], int]:
        """Read directives up to the closing brace, or to the end of the file outside all blocks."""
        if depth > MAX_DEPTH:
            raise SyntaxProblem(opened or 1, f"blocks are nested deeper than {MAX_DEPTH}")
        found: list[Directive] = []
        words: list[Word] = []
        last = opened or 1
        # Not a loop over the iterator: Lua in between makes another one of it.
        while (token := next(self._tokens, None)) is not None:
            last = token.line
            if token.kind == "word":
                words.append(Word(token.text, token.line))
                continue
            if token.kind == "}":
                if words:
                    raise SyntaxProblem(words[0].line, f"there is no semicolon after \"{words[0].text[:60]}\"")
                if opened is None:
                    raise SyntaxProblem(token.line, "a brace closes what was never opened")
                return tuple(found), token.line
            if not words:
                raise SyntaxProblem(token.line, f"\"{token.kind}\" where a directive should begin")
            self._count += 1
            if self._count > MAX_DIRECTIVES:
                raise SyntaxProblem(token.line, f"more than {MAX_DIRECTIVES} directives")
            name, *arguments = words
            words = []
            block: tuple[Directive, ...] | None = None
            raw = name.text.endswith("_by_lua_block")
            if token.kind == "{" and raw:
                self._skip(token)
            elif token.kind == "{":
                block, _ = self._block(depth + 1, token.line)
            found.append(Directive(name.text, name.line, tuple(arguments), self._file, block, raw))
        if words:
            raise SyntaxProblem(words[0].line, f"there is no semicolon after \"{words[0].text[:60]}\"")
        if opened is not None:
            raise SyntaxProblem(opened, NEVER_CLOSED)
        return tuple(found), last

    def _skip(self, opened: _Token) -> None:
        """Pass over a block of Lua by its braces."""
        depth, at, text = 1, opened.end, self._text
        while at < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if depth:
            raise SyntaxProblem(opened.line, NEVER_CLOSED)
        self._tokens = _tokens(text, at, opened.line + text.count("\n", opened.end, at))


def _tokens(text: str, at: int, line: int) -> Iterator[_Token]:
    size = len(text)
    while at < size:
        letter = text[at]
        if letter in _SPACE:
            line += letter == "\n"
            at += 1
        elif letter == "#":
            end = text.find("\n", at)
            at = size if end < 0 else end
        elif letter in ";}" or letter == "{":
            at += 1
            yield _Token(letter, letter, line, at)
        else:
            word, end = _quoted(text, at, line) if letter in "\"'" else _plain(text, at)
            yield _Token("word", word, line, end)
            line += text.count("\n", at, end)
            at = end


def _quoted(text: str, at: int, line: int) -> tuple[str, int]:
    quote, start, parts = text[at], at, []
    at += 1
    while at < len(text) and text[at] != quote:
        if text[at] == "\\" and at + 1 < len(text):
            parts.append(text[at : at + 2] if text[at + 1] not in "\"'\\" else text[at + 1])
            at += 2
        else:
            parts.append(text[at])
            at += 1
    if at >= len(text):
        raise SyntaxProblem(line, "the quote that begins here is never closed")
    if at + 1 < len(text) and text[at + 1] not in _SPACE + ";{)":
        raise SyntaxProblem(line + text.count("\n", start, at), f"unexpected \"{text[at + 1]}\" after a quote")
    return "".join(parts), at + 1


def _plain(text: str, at: int) -> tuple[str, int]:
    found = _WORD.match(text, at)
    end = found.end() if found is not None and found.end() > at else at + 1
    return text[at:end], end
