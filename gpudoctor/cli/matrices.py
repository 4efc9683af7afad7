"""``gpudoctor matrices``: what the tables of versions know, how old they are, where it is from; and newer copies."""

import datetime
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.cli.failure import Failure
from gpudoctor.reports.language import tell
from gpudoctor.reports.words import cells, padded, told

if TYPE_CHECKING:
    from gpudoctor.matrices.listing import TableInfo


def matrices(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="Show the rows of this table.")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take newer tables from a bundle with FILE.sha256.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(metavar="FILE", help="Write these tables as such a bundle.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Show the tables that verdicts rest on: rows, age and sources; or take newer ones, for machines without network.

    Examples: gpudoctor matrices; gpudoctor matrices vllm; gpudoctor matrices --from gpudoctor-matrices.json
    """
    from gpudoctor.matrices import TABLES

    if table is not None and table not in TABLES:
        import difflib

        near = difflib.get_close_matches(table, TABLES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(TABLES)}"
        raise Failure(f"no table is called {table[:40]!r}", "matrices", hint)
    if sum(given is not None for given in (table, from_, bundle)) > 1:
        raise Failure("a table, --from and --bundle exclude each other", "matrices", "choose one")
    if from_ is not None:
        return _install(from_, json)
    if bundle is not None:
        return _write(bundle, json)
    return _rows(table, json) if table is not None else _overview(json)


def data_folder() -> Path:
    """Return where the user's newer tables lie: XDG's data folder."""
    home = os.environ.get("XDG_DATA_HOME") or Path(os.environ.get("HOME") or "/") / ".local" / "share"
    return Path(home) / "gpudoctor" / "matrices"


def _today() -> datetime.date:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdigit():
        return datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).date()
    return datetime.datetime.now(datetime.timezone.utc).date()


def _overview(json: bool) -> int:
    from gpudoctor.matrices.listing import tables
    from gpudoctor.matrices.newer import origin

    found, today = tables(), _today()
    if json:
        rows = [_described(each, today, origin(each.name)) for each in found]
        _print_json({"schema": "gpudoctor.matrices/1", "tables": rows})
        return 0
    width = max(len(each.name) for each in found)
    width = max(width, cells(tell("table")))
    heads = (padded(tell("table"), width), padded(tell("rows"), 5, right=True), padded(tell("read on"), 10),
             padded(tell("days"), 5, right=True), tell("about"))  # fmt: skip
    sys.stdout.write("  ".join(heads) + "\n")
    for each in found:
        newer = "" if origin(each.name) == "shipped" else "  " + tell("(newer copy)")
        row = f"{each.name:<{width}}  {each.rows:>5}  {each.retrieved}  {each.age_days(today):>5}"
        sys.stdout.write(f"{row}  {tell(each.title)}{newer}\n")
    sys.stdout.write("\n" + tell("Show one with its sources: gpudoctor matrices TABLE") + "\n")
    return 0


def _described(info: "TableInfo", today: datetime.date, origin: str) -> dict[str, object]:
    sources = [{"key": s.key, "title": s.title, "url": s.url} for s in info.sources]
    return {"name": info.name, "title": info.title, "rows": info.rows, "retrieved": info.retrieved.isoformat(),
            "age_days": info.age_days(today), "origin": origin, "sources": sources}


def _rows(name: str, json: bool) -> int:
    from gpudoctor.matrices.listing import table_info
    from gpudoctor.matrices.newer import origin
    from gpudoctor.matrices.table import content
    from gpudoctor.reports.words import harmless

    info, body = table_info(name), content(name)
    lists = {key: value for key, value in body.items() if key not in ("sources", "schema", "retrieved")}
    if json:
        _print_json({"schema": "gpudoctor.matrices/1", "tables": [_described(info, _today(), origin(name))],
                     "content": lists})
        return 0
    days = info.age_days(_today())
    known: dict[str, str | int] = {"title": tell(info.title), "rows": info.rows, "date": str(info.retrieved),
                                   "days": days}  # fmt: skip
    sys.stdout.write(told("{title}: {rows} rows, read on {date} ({days} days ago)", known) + "\n")
    for key, value in lists.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            sys.stdout.write(f"\n{key}\n")
            for row in value:
                values = (f"{k}={_cell(v)}" for k, v in row.items() if v not in ("", [], None))
                sys.stdout.write(f"  {harmless('  '.join(values))}\n")
        else:
            sys.stdout.write(f"\n{key} = {harmless(_cell(value))}\n")
    sys.stdout.write("\n" + tell("sources") + "\n")
    for source in info.sources:
        sys.stdout.write(f"  {source.key}: {harmless(source.title)}\n    {harmless(source.url)}\n")
    return 0


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_cell(each) for each in value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}={_cell(v)}" for k, v in value.items()) + "}"
    return str(value)


def _install(file: Path, json: bool) -> int:
    from gpudoctor.matrices.newer import BundleError, install

    try:
        taken = install(file, data_folder())
    except BundleError as error:
        raise Failure(error.message, str(file), error.hint) from None
    if json:
        _print_json({"schema": "gpudoctor.matrices/1", "installed": taken, "folder": str(data_folder())})
    else:
        names = ", ".join(taken) or tell("none is newer")
        where: dict[str, str | int] = {"count": len(taken), "folder": str(data_folder()), "names": names}
        sys.stdout.write(told("{count} tables taken into {folder}: {names}", where) + "\n")
    return 0


def _write(file: Path, json: bool) -> int:
    from gpudoctor.matrices.newer import write_bundle

    try:
        digest = write_bundle(file)
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror or error}", str(file)) from None
    if json:
        _print_json({"schema": "gpudoctor.matrices/1", "bundle": str(file), "sha256": digest})
    else:
        said = told("{file} and {file}.sha256 written; take both to the other machine", {"file": str(file)})
        sys.stdout.write(said + "\n")
    return 0


def _print_json(document: dict[str, object]) -> None:
    from gpudoctor.reports.json_report import encode

    sys.stdout.write(encode(document) + "\n")
