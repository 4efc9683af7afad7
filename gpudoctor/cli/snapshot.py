"""``gpudoctor snapshot``: record the facts, so that another machine can judge them."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpudoctor.cli.failure import Failure, say


def snapshot(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to record.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print what would be written; write nothing.")] = False,
    redact: Annotated[
        bool, typer.Option("--redact", help="Without serials, UUIDs, host and user names, network addresses.")
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Also run short tests on each idle GPU.")] = False,
    python: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="Also read this Python environment. Repeatable.")
    ] = None,
    root: Annotated[str, typer.Option(metavar="DIR", help="Prefix of every file read, for a mounted host.")] = "/",
    timeout: Annotated[
        float | None, typer.Option(min=1, max=3600, help="Seconds for all probes: 45, with --deep 300.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Same as --show.")] = False,
) -> int:
    """Record this machine's facts. Secrets (tokens, keys, command lines) are never read into them.

    Judge the record anywhere: gpudoctor check --snapshot FILE
    """
    from gpudoctor.cli.progress import progress_line
    from gpudoctor.cli.words import require_folder, seconds
    from gpudoctor.facts.redact import redact as take_names_out
    from gpudoctor.facts.snapshot import SnapshotError, encode, write_snapshot
    from gpudoctor.probes.take import take_snapshot
    from gpudoctor.reports.words import harmless, told

    show = show or json
    if not show and output is None:
        raise Failure("nothing to do", "snapshot", "give -o FILE to record, or --show to look")
    if output is not None and not os.access(output.parent, os.W_OK):
        raise Failure("the folder cannot be written", str(output.parent))
    root = require_folder(root)
    with progress_line(sys.stderr, enabled=True) as progress:
        facts = take_snapshot(
            root=root,
            timeout=seconds(timeout, deep),
            deep=deep,
            options={"python": [str(path.absolute()) for path in python or []]},
            progress=progress,
        )
    if redact:
        facts = take_names_out(facts)
    if show:
        say(encode(facts).decode("utf-8"))
    else:
        assert output is not None
        try:
            write_snapshot(facts, output)
        except SnapshotError as error:
            raise Failure(str(error), str(output)) from None
        named = harmless(shlex.quote(str(output)))
        said = told("recorded in {file}; judge it with: gpudoctor check --snapshot {file}", {"file": named})
        sys.stderr.write(said + "\n")
    return 0
