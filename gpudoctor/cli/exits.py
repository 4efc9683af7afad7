"""Exit codes as others want them: the contract's 0, 1, 2, 3 put into the manners of who calls."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from gpudoctor.cli.failure import Failure

Style = Literal["default", "docker", "nagios", "npd", "slurm-prolog"]
OnUnknown = Literal["pass", "fail"]

#: Style -> what becomes of 3, when the caller did not say. A prolog that fails drains a node: a tool that lacked a
#: right must not empty a cluster. A health check that could not look has found no health.
_ON_UNKNOWN: dict[str, OnUnknown] = {"docker": "fail", "slurm-prolog": "pass"}
STYLES: tuple[Style, ...] = ("default", "docker", "nagios", "npd", "slurm-prolog")
#: Formats that only make sense with their reader's exit codes.
_OF_FORMAT: dict[str, Style] = {"nagios": "nagios", "npd": "npd"}
#: https://nagios-plugins.org/doc/guidelines.html: 0 ok, 1 warning, 2 critical, 3 unknown.
_NAGIOS = {"pass": 0, "warn": 1, "fail": 2, "unknown": 3}
#: node-problem-detector: 0 the condition is fine, 1 it is not, 2 not known.
_NPD = {0: 0, 1: 1, 2: 2, 3: 2}


def style_for(style: str | None, on_unknown: str | None, format_name: str) -> tuple[Style, OnUnknown]:
    """Return the style and what ``unknown`` becomes under it.

    Raises:
        Failure: No such style or word.
    """
    chosen = style or _OF_FORMAT.get(format_name, "default")
    if chosen not in STYLES:
        raise Failure(f"{chosen!r} is none of {', '.join(STYLES)}", "--exit-style")
    if on_unknown not in (None, "pass", "fail"):
        raise Failure(f"{on_unknown!r} is none of pass, fail", "--on-unknown")
    if on_unknown is not None and chosen not in _ON_UNKNOWN:
        raise Failure("only docker and slurm-prolog have no word for it", "--on-unknown", "leave it out")
    return chosen, on_unknown or _ON_UNKNOWN.get(chosen, "fail")  # type: ignore[return-value]


def exit_code(code: int, verdict: str, style: Style, on_unknown: OnUnknown, judged: bool = True) -> int:
    """Put the contract's exit code (0, 1 or 3) into a style; a pass that was none is said on standard error.

    ``judged`` is False where every check was skipped: a monitor that asks about one thing must not hear that it is
    well when there is no such thing to look at.
    """
    if not judged and code == 0 and style in ("nagios", "npd"):
        code, verdict = 3, "unknown"
    if style == "nagios":
        return _NAGIOS[verdict]
    if style == "npd":
        return _NPD[code]
    if style == "default" or code in (0, 1):
        return code
    return _without_verdict(style, on_unknown)


def _without_verdict(style: Style, on_unknown: OnUnknown) -> int:
    if on_unknown == "fail":
        return 1
    sys.stderr.write(f"gpudoctor: no verdict, let pass (--exit-style {style}, --on-unknown pass)\n")
    return 0


def exit_code_of_failure(arguments: Sequence[str]) -> int:
    """Return the exit code where there is no report, by the style on the command line; 2 where none is asked for."""
    style = value_of(arguments, "--exit-style") or _OF_FORMAT.get(format_of(arguments), "default")
    if style in ("docker", "slurm-prolog"):
        on_unknown = value_of(arguments, "--on-unknown") or _ON_UNKNOWN[style]
        return _without_verdict(style, "pass" if on_unknown == "pass" else "fail")  # type: ignore[arg-type]
    return 3 if style == "nagios" else 2


def format_of(arguments: Sequence[str]) -> str:
    """Return the format that a command line asks for, before it is parsed."""
    own = _own(arguments)
    if "--json" in own:
        return "json"
    attached = [word[2:] for word in own if word.startswith("-f") and len(word) > 2]
    return value_of(arguments, "--format") or value_of(arguments, "-f") or (attached[-1] if attached else "console")


def value_of(arguments: Sequence[str], flag: str) -> str | None:
    """Return the last value of an option on a command line that may not parse; None when it is not there."""
    own = _own(arguments)
    found = [b for a, b in pairwise(own) if a == flag]
    found += [word.partition("=")[2] for word in own if word.startswith(f"{flag}=")]
    return found[-1] if found else None


def _own(arguments: Sequence[str]) -> list[str]:
    """Return what stands before ``--``: the rest is another program's."""
    words = list(arguments)
    return words[: words.index("--")] if "--" in words else words
