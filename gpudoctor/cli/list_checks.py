"""``gpudoctor list``: every check, one line each, from the checks' own manuals."""

from typing import Annotated

import typer

from gpudoctor.cli.failure import say


def command(
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this id, glob or area.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> int:
    """List every check with what it says is wrong."""
    from gpudoctor.cli.judging import select_checks
    from gpudoctor.reports.json_report import encode
    from gpudoctor.reports.language import speaking, tell
    from gpudoctor.reports.words import harmless, message

    catalogue, selection = select_checks(only or [], [], [])
    chosen = [each for each in selection.chosen if each.id not in selection.added]
    if json:
        rows = [
            {"id": c.id, "title": c.title, "package": c.package, "deep": c.deep, "gatekeeper_of": c.gatekeeper_of,
             "reads": list(c.wants)}
            for c in chosen
        ]
        with speaking("en"):
            broken = [{"id": r.id, "subject": r.subject, "message": message(r.finding)} for r in catalogue.broken]
        say(encode({"schema": "gpudoctor.checks/1", "checks": rows, "broken": broken}) + "\n")
        return 0
    width = max((len(each.id) for each in chosen), default=0)
    for each in chosen:
        say(f"{each.id:<{width}}  {harmless(tell(each.title))}\n")
    for result in catalogue.broken:
        say(f"{harmless(result.id):<{width}}  UNKNOWN: {message(result.finding)}\n")
    return 0
