"""Templates and values become sentences here, and only here."""

import contextlib
import shlex
import string
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpudoctor.reports.language import spoken, tell
from gpudoctor.reports.retold import retold

if TYPE_CHECKING:
    from gpudoctor.checking.finding import Finding, Step, Value

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

#: Code points that a terminal obeys or that reorder text: C0, DEL, C1, bidirectional controls, line separators.
_CONTROLS = {
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *range(0x200E, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    0xFEFF,
}


#: No figure, path or log line that says something is longer; a file of junk must not fill the screen.
_LONGEST = 2000


def harmless(text: str) -> str:
    """Return the text with everything that a terminal would obey made visible."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"\\x{ord(c):02x}" if ord(c) in _CONTROLS else "�" if 0xD800 <= ord(c) < 0xE000 else c for c in text
    )


def short(text: str, longest: int = _LONGEST) -> str:
    """Return the text made harmless, and cut where it is longer than anything that is meant to be read."""
    return harmless(text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)")


def cells(text: str) -> int:
    """Return how many columns a terminal gives a text: Korean and Chinese take two each."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return the text filled up with spaces to so many columns; ``right`` moves it to their end."""
    space = " " * (width - cells(text))
    return space + text if right else text + space


#: Stands behind every wide character while lines are broken, so that it counts as two.
_SECOND = "\0"


def doubled(text: str) -> str:
    """Return a text for something that breaks lines by counting characters: wide ones count twice."""
    if text.isascii():
        return text
    return "".join(c + _SECOND if unicodedata.east_asian_width(c) in "WF" else c for c in text)


def undoubled(text: str) -> str:
    """Return the broken lines as they are meant to be printed."""
    return text.replace(_SECOND, "")


def size(count: float) -> str:
    """Return bytes for people: ``47.5 GiB``."""
    value, unit = float(count), 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Return a time span for people: ``1.4 s``, ``12 min``, ``3.5 h``, ``9 days``."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"


def plain(value: "Value") -> str:
    """Return one value as text, made harmless."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return short(", ".join(plain(v) for v in value) or "none")
    if isinstance(value, float):
        return f"{value:g}"
    return short(str(value))


class _Filler(string.Formatter):
    """Fills ``{name}``, ``{name:bytes}``, ``{name:seconds}`` and Python's number formats; never fails."""

    def __init__(self, quote: bool) -> None:
        self._quote = quote

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get(field_name, "?"), field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "bytes" and isinstance(value, int | float):
            return size(value)
        if format_spec == "seconds" and isinstance(value, int | float):
            return duration(value)
        if format_spec and isinstance(value, int | float):
            with contextlib.suppress(ValueError, OverflowError):
                return str(format(value, format_spec))
        if self._quote and isinstance(value, str | tuple | list):
            # A command is whole or wrong: several values are several words, and nothing is cut.
            words = (value,) if isinstance(value, str) else value
            return " ".join(shlex.quote(harmless(str(word))) for word in words)
        if isinstance(value, str):
            return plain(retold(value))
        return plain(value)

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return value


def fill(template: str, params: "Mapping[str, Value]") -> str:
    """Return a template with its values. A value that is missing shows as ``?``."""
    return _vformat(_Filler(quote=False), template, params)


def fill_command(template: str, params: "Mapping[str, Value]") -> str:
    """Return a command to copy: text values are quoted for the shell."""
    return _vformat(_Filler(quote=True), template, params)


def _vformat(filler: _Filler, template: str, params: "Mapping[str, Value]") -> str:
    try:
        return filler.vformat(template, (), params)
    except (ValueError, IndexError, KeyError, AttributeError):
        # A third party's template with a stray brace: as it stands it still says something.
        return short(template)


def message(finding: "Finding") -> str:
    """Return a finding's sentence."""
    return told(finding.message, finding.params)


def step_text(step: "Step", finding: "Finding") -> str:
    """Return a step's sentence."""
    return told(step.text, {**finding.params, **step.params})


def told(template: str, params: "Mapping[str, Value]") -> str:
    """Return a template with its values in the language in use."""
    filled = fill(tell(template), params)
    if spoken() != "ko":
        return filled
    from gpudoctor.reports.korean import settle

    return settle(filled)


def step_command(step: "Step", finding: "Finding") -> str | None:
    """Return a step's command line, None if it has none."""
    return None if step.command is None else fill_command(step.command, {**finding.params, **step.params})


def evidence_name(what: str) -> str:
    """Return what a piece of evidence is, for people."""
    return harmless(retold(tell(what)))


def evidence_value(what: str, value: "Value") -> str:
    """Return a piece of evidence for people; byte counts by the name of the figure."""
    if value is None:
        return tell("not known")
    if what.endswith(" bytes") and isinstance(value, int):
        return size(value)
    return plain(retold(value) if isinstance(value, str) else value)
