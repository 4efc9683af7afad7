"""One configuration of many files: ``include`` followed with bounds, each file once at each place that names it."""

import posixpath
from collections.abc import Callable, Iterator, Sequence

from gpudoctor.facts.proxy import ConfigProblem
from gpudoctor.nginx.syntax import Directive, SyntaxProblem, parse

MAX_FILES = 1000
MAX_ALL_CHARS = 16 << 20
_MAX_NESTED = 20

#: Returns the files that a pattern names, sorted; and a file's text, None where it cannot be read.
Names = Callable[[str], Sequence[str]]
Text = Callable[[str], str | None]


class Tree:
    """The directives of a configuration in nginx's order, and what was wrong on the way."""

    def __init__(self, path: str, names: Names, text: Text, folder: str | None = None) -> None:
        self._names, self._text = names, text
        self._folder = folder if folder is not None else posixpath.dirname(path)
        self._open: list[str] = []
        self._chars = 0
        self.files = 0
        self.unread: list[str] = []
        self.problems: list[ConfigProblem] = []
        self.directives = tuple(self._file(path))

    def _file(self, path: str) -> Iterator[Directive]:
        text = self._text(path)
        if text is None:
            self.unread.append(path)
            return
        self.files += 1
        self._chars += len(text)
        if self.files > MAX_FILES or self._chars > MAX_ALL_CHARS:
            self.unread.append(path)
            return
        try:
            found = parse(text, path)
        except SyntaxProblem as problem:
            self.problems.append(ConfigProblem(kind="syntax", file=path, line=problem.line, hint=problem.message))
            return
        self._open.append(path)
        yield from self._expanded(found)
        self._open.pop()

    def _expanded(self, directives: Sequence[Directive]) -> Iterator[Directive]:
        for each in directives:
            if each.name == "include" and len(each.arguments) == 1 and each.block is None:
                yield from self._included(each)
            elif each.block is not None:
                yield each._replace(block=tuple(self._expanded(each.block)))
            else:
                yield each

    def _included(self, include: Directive) -> Iterator[Directive]:
        pattern = posixpath.normpath(posixpath.join(self._folder, include.arguments[0].text))
        found = self._names(pattern)
        if not found and not any(letter in pattern for letter in "*?["):
            self.problems.append(
                ConfigProblem(kind="no-file", file=include.file, line=include.line, directive="include", hint=pattern)
            )
        for path in found:
            if path in self._open or len(self._open) >= _MAX_NESTED:
                self.problems.append(
                    ConfigProblem(kind="syntax", file=include.file, line=include.line, directive="include",
                                  hint="the file includes itself, so that nginx never comes to an end")
                )  # fmt: skip
                continue
            yield from self._file(path)
