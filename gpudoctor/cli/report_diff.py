"""``gpudoctor report diff``: what changed from one report to another."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gpudoctor.cli.failure import Failure, say


def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A report of gpudoctor check --json.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="A later one, or another node's.")],
    json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
) -> int:
    """Show what differs between two reports: the machine, and the problems that came and went.

    Exit codes: 0 nothing differs, 1 something does. Example: gpudoctor report diff monday.json today.json
    """
    from gpudoctor.fleet.diff import diff as compare

    try:
        found = compare(before, after)
    except ValueError as error:
        raise Failure(str(error), "", "name reports of gpudoctor check --json") from None
    if json:
        from gpudoctor.reports.json_report import encode

        say(encode(found) + "\n")
    else:
        from gpudoctor.reports.console import Look
        from gpudoctor.reports.fleet_console import render_diff

        say(render_diff(found, Look.of(sys.stdout, color=color, verbose=0, quiet=0)))
    return found.exit_code
