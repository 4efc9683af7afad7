"""``gpudoctor diagnose``: the cause of a trouble, from whatever was pasted."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gpudoctor.cli.failure import Failure
from gpudoctor.cli.words import one_of, parse_engines


def diagnose(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE...", help="Logs, reports and notes; - is what is pasted or piped in."),
    ] = None,
    container: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Read this container's newest log lines. Repeatable.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="UNIT", help="Read this systemd unit's newest log lines. Repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Of those logs only what came since: 2h, 3d, 2026-11-20.")
    ] = None,
    for_: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="ENGINE", help="What shall run: vllm==0.33.0, ollama, or an image. Repeatable."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this id, glob or area.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="ID", help="Not this id, glob or area.")] = None,
    fail_on: Annotated[str, typer.Option(metavar="STATUS", help="fail, warn or never.")] = "fail",
    config: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Thresholds and acceptances.")] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no configuration but --config.")] = False,
    format_: Annotated[str, typer.Option("-f", "--format", metavar="NAME", help="console or json.")] = "console",
    json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    output: Annotated[
        list[str] | None, typer.Option("-o", "--output", metavar="[FORMAT=]FILE", help="Also write it there.")
    ] = None,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Passes and evidence; -vv: timings.")] = 0,
    quiet: Annotated[int, typer.Option("-q", "--quiet", count=True, help="Findings only; -qq: exit code only.")] = 0,
) -> int:
    """Name the cause and the remedy, from logs, environment reports and notes of this or any machine.

    It reads the files, or with --container and --unit those logs, and nothing else. Examples: gpudoctor diagnose
    vllm.log collect_env.txt; dmesg | gpudoctor diagnose - ; gpudoctor diagnose --unit ollama.service --since 2h
    """
    started = time.perf_counter()
    from gpudoctor.checking.diagnosis import ranked, with_log
    from gpudoctor.checking.finding import Result, skipped
    from gpudoctor.checking.run import run_checks
    from gpudoctor.checking.target import Target
    from gpudoctor.checking.verdict import judge
    from gpudoctor.cli.judging import host_name, load_configuration, now, select_checks
    from gpudoctor.cli.outputs import parse_outputs, write_outputs
    from gpudoctor.cli.service_logs import fetch
    from gpudoctor.evidence.paste import Paste
    from gpudoctor.reports.report import make_report

    outputs = parse_outputs(format_, json, output or [])
    one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    one_of("--color", color, ("auto", "always", "never"))
    target = Target(engines=parse_engines(for_ or []))
    policy = load_configuration(config or [], no_config)
    catalogue, selection = select_checks(only or [], skip or [], [])
    when = now()
    paste = Paste()
    if not (files or container or unit):
        raise Failure("nothing to read", "FILE", "name logs and reports, - for a paste, --container or --unit")
    for name in dict.fromkeys(files or []):
        paste.read(name)
    fetch(paste, list(dict.fromkeys(container or [])), list(dict.fromkeys(unit or [])), since)
    if paste.pieces and all(piece.problem for piece in paste.pieces):
        first = paste.pieces[0]
        hint = "" if first.file.startswith(("container ", "unit ")) else "name text files: logs, reports, notes"
        raise Failure(str(first.problem), first.file, hint)
    facts = paste.snapshot()
    results = run_checks(selection.chosen, facts, target, policy)
    results = with_log(results, catalogue.checks, facts, {each.id for each in selection.chosen})
    results += [Result(id=c.id, finding=skipped("host", "left out with --skip")) for c in selection.left_out]
    results += catalogue.broken
    # A question is no verdict either.
    asked = {each.id for each in results if each.status == "unknown" and each.id.startswith("serving.")}
    required = [c.id for c in selection.chosen if c.gatekeeper_of == "signatures" or c.id in asked]
    judgement = judge(results, policy=policy, gatekeepers={}, required=required, fail_on=fail_on)  # type: ignore[arg-type]
    judgement = msgspec.structs.replace(judgement, results=ranked(judgement.results))
    host = host_name(facts)
    report = make_report(judgement, started=when, duration_s=time.perf_counter() - started, host=host)
    write_outputs(outputs, report, facts, judgement=judgement, color=color, verbose=verbose, quiet=quiet)
    return judgement.exit_code
