"""Where reports go: standard output, and files written whole or not at all."""

import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gpudoctor.cli.failure import Failure, say
from gpudoctor.facts.snapshot import Snapshot, write_atomically
from gpudoctor.reports.formats import FOR_PEOPLE, FORMATS, renderer
from gpudoctor.reports.language import speaking, spoken
from gpudoctor.reports.report import Report, in_language

if TYPE_CHECKING:
    from gpudoctor.checking.verdict import Judgement


class Output(msgspec.Struct, frozen=True):
    """One report to make: its format, and its file (None = standard output)."""

    format: str
    path: Path | None


def parse_outputs(
    format_name: str, json: bool, files: Sequence[str], known: Collection[str] = tuple(FORMATS)
) -> tuple[Output, ...]:
    """Read ``--format``, ``--json`` and ``-o [FORMAT=]FILE``. A file without a format gets the main one's."""
    main = "json" if json else format_name
    outputs = [Output(_known(main, "--format", known), None)]
    for text in files:
        name, equals, path = text.partition("=")
        chosen, target = (name, path) if equals and name in known else (main, text)
        if equals and name not in known and name.isalpha() and "/" not in name:
            _known(name, "--output", known)
        if not target:
            raise Failure(f"{text!r} names no file", "--output", "for example -o json=report.json")
        outputs.append(Output(chosen, Path(target)))
    return tuple(outputs)


def _known(name: str, flag: str, known: Collection[str]) -> str:
    if name not in known:
        raise Failure(f"unknown format {name!r}", flag, f"formats are {', '.join(known)}")
    return name


def write_outputs(
    outputs: Sequence[Output], report: Report, facts: Snapshot, *, judgement: "Judgement", color: str, verbose: int,
    quiet: int,
) -> None:
    """Write every report; a file that cannot be written is a Failure, and standard output comes last."""

    def render(name: str, to_file: bool) -> str:
        told = in_language(report, judgement)
        if name != "console":
            return renderer(name)(told, facts)
        from gpudoctor.reports.console import Look, render

        # -q spares the screen; who asks for a file wants the report.
        spared = 0 if to_file else quiet
        look = Look.of(sys.stdout, color="never" if to_file else color, verbose=verbose, quiet=spared)
        return render(told, facts, look)

    write_text(outputs, render, quiet=quiet)


def write_text(outputs: Sequence[Output], render: Callable[[str, bool], str], *, quiet: int) -> None:
    """Write what ``render(format, to_file)`` returns for every output, standard output last.

    What people read is in the language in use, what programs read is English.

    Raises:
        Failure: A file cannot be written; it is as it was before.
    """
    for output in reversed(outputs):
        if output.path is None and quiet > 1 and output.format == "console":
            continue
        with speaking(spoken() if output.format in FOR_PEOPLE else "en"):
            text = render(output.format, output.path is not None)
        if output.path is None:
            say(text)
            continue
        try:
            write_atomically(output.path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise Failure(f"cannot write: {error.strerror or error}", str(output.path)) from None
