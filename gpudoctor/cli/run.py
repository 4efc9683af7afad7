"""``gpudoctor run -- COMMAND``: the command starts only on a machine that is ready for it."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.cli.failure import Failure
from gpudoctor.cli.words import one_of, parse_engines, parse_gpus

if TYPE_CHECKING:
    from gpudoctor.checking.verdict import Judgement
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.reports.report import Report

#: As env(1) and the shell end: the program is there and cannot be run, or is not there.
_NOT_RUNNABLE, _NOT_FOUND = 126, 127


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What shall start, with its options.")],
    for_: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="ENGINE", help="What shall run: vllm==0.33.0, ollama, or an image. Repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that shall run.")] = None,
    gpus: Annotated[str | None, typer.Option(metavar="0,1", help="Judge only these GPUs.")] = None,
    expect_gpus: Annotated[int | None, typer.Option(min=0, max=1024, help="How many GPUs there must be.")] = None,
    port: Annotated[list[int] | None, typer.Option(min=1, max=65535, help="A port that must be free.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this id, glob or area.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="ID", help="Not this id, glob or area.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Do not start if this check cannot be judged. Repeatable.")
    ] = None,
    fail_on: Annotated[str, typer.Option(metavar="STATUS", help="fail, warn or never.")] = "fail",
    on_unknown: Annotated[
        str, typer.Option(metavar="WORD", help="What no verdict is: fail (do not start) or pass.")
    ] = "fail",
    wait: Annotated[
        str | None, typer.Option(metavar="5m", help="Look again until nothing blocks, at most so long.")
    ] = None,
    from_cache: Annotated[
        str | None, typer.Option(metavar="60s", help="Facts that old are new enough; what is read is kept for others.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=1, max=3600, help="Seconds for all probes: 45.")] = None,
    config: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Thresholds and acceptances.")] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no configuration but --config.")] = False,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
) -> int:
    """Judge this machine, and start the command only if nothing blocks; it then takes gpudoctor's place.

    Standard output is the command's alone; a report that blocks goes to standard error. Exit codes: the command's own
    once it started; before that 1, 2, 3 as check's, 126 and 127 as the shell's. Examples:
    gpudoctor run --wait 5m -- ollama serve; gpudoctor run --for vllm==0.33.0 -- vllm serve openai/gpt-oss-120b
    """
    from gpudoctor.checking.target import Target
    from gpudoctor.cli.judging import host_name, judge_snapshot, load_configuration, now, select_checks
    from gpudoctor.cli.repeat import seconds_of, until
    from gpudoctor.cli.source import Source
    from gpudoctor.reports.report import make_report
    from gpudoctor.reports.summary import deciding, one_line

    one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    one_of("--on-unknown", on_unknown, ("fail", "pass"))
    one_of("--color", color, ("auto", "always", "never"))
    engines = parse_engines(for_ or [])
    if wait is not None and from_cache is not None:
        raise Failure("--wait looks again, --from-cache takes what was read before", "command line", "choose one")
    target = Target(
        engines=engines, model=model, gpus=parse_gpus(gpus), expect_gpus=expect_gpus, ports=tuple(port or ())
    )
    policy = load_configuration(config or [], no_config)
    catalogue, selection = select_checks(only or [], skip or [], require or [])
    age = None if from_cache is None else seconds_of(from_cache, "--from-cache")
    source = Source(timeout=timeout, age=age)

    def look() -> "tuple[Report, Judgement, Snapshot]":
        started = time.perf_counter()
        when = now()
        facts = source.facts(target, selection)
        judgement = judge_snapshot(facts, target, policy, catalogue, selection, require or [], fail_on)
        took = time.perf_counter() - started
        return make_report(judgement, started=when, duration_s=took, host=host_name(facts)), judgement, facts

    seconds = 0.0 if wait is None else seconds_of(wait, "--wait")
    report, judgement, facts = until(
        look, lambda seen: seen[0].run.exit_code == 0, lambda seen: one_line(deciding(seen[0])), seconds
    )
    code = report.run.exit_code
    if code == 3 and on_unknown == "pass":
        sys.stderr.write(f"gpudoctor: no verdict, let pass: {one_line(deciding(report))}\n")
    elif code:
        from gpudoctor.reports.console import Look, render
        from gpudoctor.reports.report import in_language

        told = in_language(report, judgement)
        sys.stderr.write(render(told, facts, Look.of(sys.stderr, color=color, verbose=0, quiet=1)))
        sys.stderr.write(f"gpudoctor: not started: {_shown(command)}\n")
        return code
    return _become(command)


def _become(command: list[str]) -> int:
    """Replace this process by the command; return only where that cannot be."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        sys.stderr.write(f"gpudoctor: {_shown(command[:1])}: not found\n")
        return _NOT_FOUND
    except (OSError, ValueError) as error:
        sys.stderr.write(f"gpudoctor: {_shown(command[:1])}: {getattr(error, 'strerror', None) or error}\n")
        return _NOT_RUNNABLE


def _shown(command: list[str]) -> str:
    import shlex

    from gpudoctor.reports.words import short

    # Words of a command line may be secrets: the program's name tells enough.
    return short(shlex.quote(command[0]), 200)
