"""``gpudoctor check``: probe or read a snapshot, judge it, report."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gpudoctor.cli.failure import Failure
from gpudoctor.cli.words import one_of, parse_engines, parse_gpus

if TYPE_CHECKING:
    from gpudoctor.checking.target import Target
    from gpudoctor.checking.verdict import Judgement
    from gpudoctor.cli.compose_lint import Composed
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.reports.report import Report


def check(
    snapshot: Annotated[
        Path | None, typer.Option(help="Judge this recorded machine instead of the one gpudoctor stands on.")
    ] = None,
    for_: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="ENGINE", help="What shall run: vllm==0.33.0, ollama, or an image. Repeatable."),
    ] = None,
    compose: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Also judge these Compose files, and their engines. Repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that shall run.")] = None,
    gpus: Annotated[str | None, typer.Option(metavar="0,1", help="Judge only these GPUs.")] = None,
    expect_gpus: Annotated[int | None, typer.Option(min=0, max=1024, help="How many GPUs there must be.")] = None,
    stage: Annotated[str, typer.Option(metavar="STAGE", help="pre-install or pre-launch.")] = "pre-launch",
    psu_watts: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Rating of the power supply.")] = None,
    port: Annotated[list[int] | None, typer.Option(min=1, max=65535, help="A port that must be free.")] = None,
    python: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="Also look at this Python environment. Repeatable.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this id, glob or area.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="ID", help="Not this id, glob or area.")] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Exit 3 if this check cannot be judged. Repeatable.")
    ] = None,
    fail_on: Annotated[str, typer.Option(metavar="STATUS", help="fail, warn or never.")] = "fail",
    deep: Annotated[bool, typer.Option("--deep", help="Also run short tests on each idle GPU.")] = False,
    use_busy: Annotated[bool, typer.Option("--use-busy", help="With --deep, test GPUs that are in use, too.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Also start a short container by each path to the GPUs, and remove it.")
    ] = False,
    probe_image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="With --live, use this image; it must be here, none is pulled.")
    ] = None,
    root: Annotated[str, typer.Option(metavar="DIR", help="Prefix of every file read, for a mounted host.")] = "/",
    timeout: Annotated[
        float | None, typer.Option(min=1, max=3600, help="Seconds for all probes: 45, with --deep or --live 300.")
    ] = None,
    config: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Thresholds and acceptances.")] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no configuration but --config.")] = False,
    wait: Annotated[
        str | None, typer.Option(metavar="5m", help="Look again until nothing blocks, at most so long.")
    ] = None,
    watch: Annotated[str | None, typer.Option(metavar="30s", help="Look again and again, so often.")] = None,
    from_cache: Annotated[
        str | None, typer.Option(metavar="60s", help="Facts that old are new enough; what is read is kept for others.")
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "-f", "--format", metavar="NAME",
            help="console, json, jsonl, junit, sarif, github, markdown, html, prometheus, nagios or npd.",
        ),
    ] = "console",
    json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    output: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="[FORMAT=]FILE", help="Also write it there. Repeatable."),
    ] = None,
    exit_style: Annotated[
        str | None,
        typer.Option(metavar="STYLE", help="Exit codes for docker, nagios, npd or slurm-prolog instead of our own."),
    ] = None,
    on_unknown: Annotated[
        str | None, typer.Option(metavar="WORD", help="Under docker or slurm-prolog: no verdict is pass or fail.")
    ] = None,
    termination_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write there in few words why (Kubernetes).")
    ] = None,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Passes and evidence; -vv: timings.")] = 0,
    quiet: Annotated[int, typer.Option("-q", "--quiet", count=True, help="Findings only; -qq: exit code only.")] = 0,
) -> int:
    """Judge this machine, or a recorded one: is it ready to run language models, why not, and what to do.

    It reads and changes nothing. Examples: gpudoctor check; gpudoctor check --for vllm==0.33.0 --gpus 0,1;
    gpudoctor check --stage pre-install; gpudoctor check --snapshot server.json --json
    """
    from gpudoctor.cli.exits import exit_code, style_for
    from gpudoctor.cli.judging import host_name, judge_snapshot, load_configuration, now, select_checks
    from gpudoctor.cli.outputs import parse_outputs, write_outputs
    from gpudoctor.cli.repeat import for_ever, seconds_of, until
    from gpudoctor.cli.source import Source
    from gpudoctor.reports.report import make_report
    from gpudoctor.reports.summary import deciding, one_line

    outputs = parse_outputs(format_, json, output or [])
    style, unknown_is = style_for(exit_style, on_unknown, outputs[0].format)
    one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    one_of("--color", color, ("auto", "always", "never"))
    composed = _composed(compose)
    images = () if composed is None else composed.engine_images
    target = _target(for_ or images, model, gpus, expect_gpus, stage, psu_watts, port or [], deep, use_busy, live)
    if probe_image is not None and not live:
        raise Failure("--probe-image names the image for --live", "command line", "add --live")
    if probe_image is not None and not _is_image(probe_image):
        raise Failure(f"{probe_image[:80]!r} is no image's name", "--probe-image", "name one that docker images lists")
    policy = load_configuration(config or [], no_config)
    catalogue, selection = select_checks(only or [], skip or [], require or [])
    again = _again(wait, watch, snapshot, outputs[0].format)
    age = None if from_cache is None else seconds_of(from_cache, "--from-cache")
    if age is not None and (snapshot is not None or deep or live or again is not None):
        raise Failure("--from-cache takes what was read before; --snapshot, --deep, --live, --wait, --watch do not",
                      "command line", "choose one")  # fmt: skip

    source = Source(snapshot, root, timeout, tuple(python or ()), age, probe_image, quiet > 0)

    def look() -> "tuple[Report, Judgement, Snapshot]":
        started = time.perf_counter()
        when = now()
        facts = source.facts(target, selection)
        if composed is not None:
            from gpudoctor.probes.compose_mounts import with_mounts

            compose_facts = with_mounts(composed.facts) if source.here else composed.facts
            facts = msgspec.structs.replace(facts, compose=compose_facts)
        judgement = judge_snapshot(facts, target, policy, catalogue, selection, require or [], fail_on)
        report = make_report(
            judgement,
            # What a cache remembers is as old as its facts.
            started=facts.recorded or when if age is not None else when,
            duration_s=time.perf_counter() - started,
            host=host_name(facts),
            stage=target.stage,
            fail_on=fail_on,  # type: ignore[arg-type]
            facts=facts,
            asked={each.id for each in selection.chosen} - set(selection.added),
        )
        return report, judgement, facts

    def show(seen: "tuple[Report, Judgement, Snapshot]") -> None:
        report, judgement, facts = seen
        if termination_log is not None and report.run.exit_code:
            from gpudoctor.cli import termination

            termination.write(str(termination_log), termination.report_lines(report))
        write_outputs(outputs, report, facts, judgement=judgement, color=color, verbose=verbose, quiet=quiet)

    if watch is not None and again is not None:
        for_ever(look, show, again)
    ready_in = 0.0 if again is None else again
    seen = until(look, lambda seen: seen[0].run.exit_code == 0, lambda seen: one_line(deciding(seen[0])), ready_in)
    show(seen)
    report = seen[0]
    return exit_code(report.run.exit_code, report.verdict, style, unknown_is, report.run.judged)


def _is_image(text: str) -> bool:
    import re

    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", text) is not None and ".." not in text


def _again(wait: str | None, watch: str | None, snapshot: Path | None, format_name: str) -> float | None:
    """Return the seconds of --wait or --watch, None without either."""
    from gpudoctor.cli.repeat import seconds_of

    if wait is None and watch is None:
        return None
    flag = "--watch" if wait is None else "--wait"
    if wait is not None and watch is not None:
        raise Failure("--wait ends when nothing blocks, --watch never", "command line", "choose one")
    if snapshot is not None:
        raise Failure(f"{flag} looks at this machine again, --snapshot is a record", "command line", "choose one")
    if watch is not None and format_name not in ("console", "jsonl", "github"):
        raise Failure(f"--watch writes report after report, and {format_name} is one document", "--format",
                      "print jsonl, or write it with -o FORMAT=FILE")  # fmt: skip
    return seconds_of(wait or watch or "", flag)


def _composed(files: Sequence[str] | None) -> "Composed | None":
    from gpudoctor.cli.compose_lint import Composed, read_compose

    return Composed(read_compose(files)) if files else None


def _target(
    engines: Sequence[str],
    model: str | None,
    gpus: str | None,
    expect_gpus: int | None,
    stage: str,
    psu_watts: int | None,
    ports: Sequence[int],
    deep: bool,
    use_busy: bool,
    live: bool = False,
) -> "Target":
    from gpudoctor.checking.target import Target

    one_of("--stage", stage, ("pre-install", "pre-launch"))
    return Target(
        stage=stage,  # type: ignore[arg-type]
        engines=parse_engines(engines),
        model=model,
        gpus=parse_gpus(gpus),
        expect_gpus=expect_gpus,
        psu_watts=psu_watts,
        ports=tuple(ports),
        deep=deep,
        use_busy=use_busy,
        live=live,
    )
