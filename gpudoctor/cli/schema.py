"""``gpudoctor schema NAME``: the JSON Schema of what gpudoctor reads and writes."""

import importlib
from typing import Annotated

import typer

from gpudoctor.cli.failure import Failure, say

#: Name -> where its type lives.
SCHEMAS = {
    "report": ("gpudoctor.reports.report", "Report"),
    "snapshot": ("gpudoctor.facts.snapshot", "Snapshot"),
    "error": ("gpudoctor.reports.json_report", "ErrorDocument"),
    "plan": ("gpudoctor.reports.plan_schema", "PlanDocument"),
    "fit": ("gpudoctor.reports.fit_schema", "Fit"),
    "fleet": ("gpudoctor.fleet.merge", "Fleet"),
    "diff": ("gpudoctor.fleet.diff", "Diff"),
    "bundle": ("gpudoctor.bundle.contents", "Manifest"),
    "compose-fix": ("gpudoctor.reports.fix_schema", "ComposeFix"),
}


def schema(
    name: Annotated[str, typer.Argument(metavar="NAME", help="report, snapshot, fit, fleet, ...")],
    json: Annotated[bool, typer.Option("--json", help="The only form there is.")] = False,
) -> int:
    """Print the JSON Schema (2020-12) of a document that gpudoctor reads or writes."""
    import msgspec

    from gpudoctor.reports.json_report import encode

    if name not in SCHEMAS:
        raise Failure(f"no schema is called {name!r}", "schema", f"there are {', '.join(SCHEMAS)}")
    module, kind = SCHEMAS[name]
    document = msgspec.json.schema(getattr(importlib.import_module(module), kind))
    say(encode({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}) + "\n")
    return 0
