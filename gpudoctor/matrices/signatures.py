"""Log lines whose meaning is known, and what each problem means. Source: `signatures.toml`."""

import re
from functools import cache, cached_property
from typing import Literal

import msgspec

from gpudoctor.matrices.table import Table, load

Status = Literal["fail", "warn", "info", "unknown"]

MAX_LINE_CHARS = 4000
"""A longer line is cut: patterns are bounded by it."""

_CAPITALS = re.compile(r"(\\.|\(\?P)|\(\?-i:|[A-Z]+")


class Way(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a way out, as a finding's step has it."""

    text: str
    command: str | None = None
    risk: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a problem means, once per check. `remedy` names a way out that is computed for the machine."""

    check: str
    status: Status
    message: str
    source: str
    fix: tuple[Way, ...] = ()
    remedy: str | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One kind of line. `any` are words in lower case, one of which is in the line; `pattern` must match it then.

    `when` and `unless` are what the paste must, or must not, be about. `unless` also takes `proved:<check>`, a
    problem that a weightier line proves already (`proved:any`), and `text:<pattern>`, what the line must not say.
    """

    key: str
    check: str
    any: tuple[str, ...]
    weight: int
    source: str
    pattern: str | None = None
    message: str | None = None
    status: Status | None = None
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    @cached_property
    def _sieve(self) -> "re.Pattern[str] | None":
        """The pattern for a line in lower case: it finds no less than `regex`, in a third of its time."""
        return re.compile(_in_lower_case(self.pattern)) if self.pattern else None

    @cached_property
    def regex(self) -> "re.Pattern[str] | None":
        """The compiled pattern, None when the words are enough."""
        return re.compile(self.pattern, re.IGNORECASE) if self.pattern else None

    @cached_property
    def not_regex(self) -> "re.Pattern[str] | None":
        """What the line must not say, None when it may say anything."""
        texts = [each.removeprefix("text:") for each in self.unless if each.startswith("text:")]
        return re.compile("|".join(texts), re.IGNORECASE) if texts else None

    def values(self, line: str) -> dict[str, str] | None:
        """Return the figures of a line that this signature fits, None for another line."""
        if self._sieve is not None and not self._sieve.search(line.lower()):
            return None
        if self.not_regex is not None and self.not_regex.search(line):
            return None
        if self.regex is None:
            return {}
        found = self.regex.search(line)
        return None if found is None else {name: value for name, value in found.groupdict().items() if value}


def _in_lower_case(pattern: str) -> str:
    return _CAPITALS.sub(lambda found: found[1] or found[0].lower().replace("(?-i:", "(?:"), pattern)


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be pasted next, and which check's problem it proves. `example` is such a paste."""

    says: str
    means: str
    example: str


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides between the causes of lines that have several.

    It is asked with the finding of `check` while only `signatures` prove that, and nothing of `unless` holds.
    """

    check: str
    signatures: tuple[str, ...]
    ask: str
    command: str
    answers: tuple[Answer, ...]
    unless: tuple[str, ...] = ()


class SignatureTable(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `signatures.toml`."""

    verdict: tuple[Verdict, ...]
    signature: tuple[Signature, ...]
    question: tuple[Question, ...]


@cache
def table() -> SignatureTable:
    """Return the whole table with its sources, parsed once."""
    return load("signatures", SignatureTable)


@cache
def by_key() -> dict[str, Signature]:
    """Return the signatures by their keys."""
    return {each.key: each for each in table().signature}


@cache
def verdicts() -> dict[str, Verdict]:
    """Return the verdicts by check id."""
    return {each.check: each for each in table().verdict}


@cache
def questions() -> dict[str, Question]:
    """Return the questions by check id."""
    return {each.check: each for each in table().question}
