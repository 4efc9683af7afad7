"""``gpudoctor report merge``: a rack on one screen, or one page."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gpudoctor.cli.failure import Failure

FORMATS = ("console", "json", "html")


def merge(
    reports: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Reports as JSON, or folders of them.")],
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The golden node: its report, snapshot or saved profile.")
    ] = None,
    format_: Annotated[str, typer.Option("-f", "--format", metavar="NAME", help="console, json or html.")] = "console",
    json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    output: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="[FORMAT=]FILE", help="Also write it there. Repeatable."),
    ] = None,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Every node and every deviation.")] = False,
    quiet: Annotated[int, typer.Option("-q", "--quiet", count=True, help="No table; -qq: exit code only.")] = 0,
) -> int:
    """Make one report of many nodes': the worst first, what they share, and which differ from their like.

    Exit codes: 0 all ready, 1 a node is not, 3 a node has no verdict or a report could not be read. Examples:
    gpudoctor report merge reports/; gpudoctor report merge *.json --baseline good.json -o html=rack.html
    """
    from gpudoctor.cli.outputs import parse_outputs, write_text
    from gpudoctor.fleet.merge import merge as merge_nodes
    from gpudoctor.fleet.read import files, machine_of, read

    outputs = parse_outputs(format_, json, output or [], FORMATS)
    golden = None
    if baseline is not None:
        try:
            golden = machine_of(baseline)
        except ValueError as error:
            raise Failure(str(error), str(baseline), "name a report, a snapshot or a saved profile") from None
    found = list(files(reports))
    if not found:
        raise Failure("no *.json is in there", ", ".join(map(str, reports)), "name reports of gpudoctor check --json")
    fleet = merge_nodes(map(read, found), golden)
    if not fleet.nodes:
        first = fleet.unreadable[0]
        raise Failure(first.problem, first.file, "name reports of gpudoctor check --json")

    def render(name: str, to_file: bool) -> str:
        if name == "json":
            from gpudoctor.reports.json_report import encode

            return encode(fleet) + "\n"
        if name == "html":
            from gpudoctor.reports.fleet_html import render as page

            return page(fleet)
        from gpudoctor.reports.console import Look
        from gpudoctor.reports.fleet_console import render as text

        spared = 0 if to_file else quiet
        return text(fleet, Look.of(sys.stdout, color="never" if to_file else color, verbose=verbose, quiet=spared))

    write_text(outputs, render, quiet=quiet)
    return fleet.exit_code
