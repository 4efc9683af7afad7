"""``gpudoctor profile save``: the golden node, to which others are compared."""

from pathlib import Path
from typing import Annotated

import typer

from gpudoctor.cli.failure import Failure, say


def save(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to save it.")],
    of: Annotated[
        Path | None, typer.Option("--of", metavar="FILE", help="Another machine's report or snapshot, not this one.")
    ] = None,
    root: Annotated[str, typer.Option(metavar="DIR", help="Prefix of every file read, for a mounted host.")] = "/",
) -> int:
    """Save hardware and versions that equal nodes should share, for gpudoctor report merge --baseline FILE."""
    from gpudoctor.cli.words import require_folder
    from gpudoctor.facts.snapshot import write_atomically
    from gpudoctor.fleet.read import machine_of
    from gpudoctor.reports.json_report import encode
    from gpudoctor.reports.machine import machine
    from gpudoctor.reports.words import told

    if of is not None:
        try:
            known = machine_of(of)
        except ValueError as error:
            raise Failure(str(error), str(of), "name a report or a snapshot") from None
    else:
        from gpudoctor.probes.take import take_snapshot

        known = machine(take_snapshot(root=require_folder(root)))
    try:
        write_atomically(file, (encode({"schema": "gpudoctor.profile/1", "machine": known}) + "\n").encode())
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror or error}", str(file)) from None
    say(told("{count} properties saved in {file}", {"count": len(known), "file": str(file)}) + "\n")
    return 0
