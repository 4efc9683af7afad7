"""``gpudoctor check``: probe or read a snapshot, judge it, report."""

import datetime
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gpudoctor.cli.failure import Failure

if TYPE_CHECKING:
    from gpudoctor.checking.plugins import Catalogue
    from gpudoctor.checking.policy import Policy
    from gpudoctor.checking.selection import Selection
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
    from gpudoctor.cli.outputs import parse_outputs, write_outputs
    from gpudoctor.cli.repeat import for_ever, seconds_of, until
    from gpudoctor.reports.report import make_report
    from gpudoctor.reports.summary import deciding, one_line

    outputs = parse_outputs(format_, json, output or [])
    style, unknown_is = style_for(exit_style, on_unknown, outputs[0].format)
    _one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    _one_of("--color", color, ("auto", "always", "never"))
    composed = _composed(compose)
    images = () if composed is None else composed.engine_images
    target = _target(for_ or images, model, gpus, expect_gpus, stage, psu_watts, port or [], deep, use_busy, live)
    if probe_image is not None and not live:
        raise Failure("--probe-image names the image for --live", "command line", "add --live")
    policy = load_configuration(config or [], no_config)
    catalogue, selection = select_checks(only or [], skip or [], require or [])
    again = _again(wait, watch, snapshot, outputs[0].format)
    age = None if from_cache is None else seconds_of(from_cache, "--from-cache")
    if age is not None and (snapshot is not None or deep or live or again is not None):
        raise Failure("--from-cache takes what was read before; --snapshot, --deep, --live, --wait, --watch do not",
                      "command line", "choose one")  # fmt: skip

    def look() -> "tuple[Report, Snapshot]":
        started = time.perf_counter()
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        facts = _facts(snapshot, root, timeout, target, selection, quiet, python or [], age, probe_image)
        if composed is not None:
            from gpudoctor.probes.compose_mounts import with_mounts

            here = snapshot is None and root == "/"
            facts = msgspec.structs.replace(facts, compose=with_mounts(composed.facts) if here else composed.facts)
        judgement = judge_snapshot(facts, target, policy, catalogue, selection, require or [], fail_on)
        report = make_report(
            judgement,
            # What a cache remembers is as old as its facts.
            started=facts.recorded or now if age is not None else now,
            duration_s=time.perf_counter() - started,
            host=_host_name(facts),
            stage=target.stage,
            fail_on=fail_on,  # type: ignore[arg-type]
            facts=facts,
        )
        return report, facts

    def show(seen: "tuple[Report, Snapshot]") -> None:
        report, facts = seen
        if termination_log is not None and report.run.exit_code:
            from gpudoctor.cli import termination

            termination.write(str(termination_log), termination.report_lines(report))
        write_outputs(outputs, report, facts, color=color, verbose=verbose, quiet=quiet)

    if watch is not None and again is not None:
        for_ever(look, show, again)
    ready_in = 0.0 if again is None else again
    seen = until(look, lambda seen: seen[0].run.exit_code == 0, lambda seen: one_line(deciding(seen[0])), ready_in)
    show(seen)
    return exit_code(seen[0].run.exit_code, seen[0].verdict, style, unknown_is)


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


def load_configuration(named: Sequence[Path], no_config: bool) -> "Policy":
    """Read /etc's, the user's and the named configuration files."""
    from gpudoctor.checking.policy import ConfigError, load_policy

    home = os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME") or "/") / ".config"
    files = [] if no_config else [Path("/etc/gpudoctor/config.toml"), Path(home) / "gpudoctor" / "config.toml"]
    try:
        policy = load_policy(files, named)
    except ConfigError as error:
        raise Failure(error.message, error.where, error.hint) from None
    # The reproducible-builds convention: judge ends of life as of that day.
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return policy
    try:
        day = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).date()
        return msgspec.structs.replace(policy, today=day.isoformat())
    except (ValueError, OverflowError, OSError):
        raise Failure(f"{epoch[:80]!r} is no time in seconds since 1970", "SOURCE_DATE_EPOCH", "unset it") from None


def select_checks(only: Sequence[str], skip: Sequence[str], require: Sequence[str]) -> "tuple[Catalogue, Selection]":
    """Load the checks and choose among them."""
    from gpudoctor.checking.plugins import load_checks
    from gpudoctor.checking.selection import UnknownId, nearest, select

    catalogue = load_checks()
    try:
        selection = select(catalogue.checks, _split(only), _split(skip))
        for check_id in require:
            if catalogue.get(check_id) is None:
                raise UnknownId(check_id, nearest(check_id, catalogue.checks))
    except UnknownId as error:
        hint = f"did you mean {' or '.join(error.near)}?" if error.near else "gpudoctor list shows every id"
        raise Failure(str(error), "command line", hint) from None
    return catalogue, selection


def judge_snapshot(
    facts: "Snapshot",
    target: "Target",
    policy: "Policy",
    catalogue: "Catalogue",
    selection: "Selection",
    require: Sequence[str],
    fail_on: str,
) -> "Judgement":
    """Run the selected checks and judge their results together with what did not load."""
    from gpudoctor.checking.gates import absent_gpus, left_out_results, nothing_decided
    from gpudoctor.checking.plugins import GROUP
    from gpudoctor.checking.run import run_checks
    from gpudoctor.checking.verdict import DECIDING_SECTIONS, GPU_SECTIONS, gatekeepers_of, judge

    results = run_checks(selection.chosen, facts, target, policy)
    results += left_out_results(selection, facts, target, policy)
    results += absent_gpus(selection, facts, target)
    results += catalogue.broken
    keepers = [c for c in (*selection.chosen, *selection.left_out) if c.gatekeeper_of in DECIDING_SECTIONS]
    about_gpus = [c for c in keepers if c in selection.chosen and c.gatekeeper_of in GPU_SECTIONS]
    results += nothing_decided(about_gpus, results, target)
    unkept = selection.sections & set(DECIDING_SECTIONS) - set(gatekeepers_of(c for c in keepers if c.package == GROUP))
    # A gatekeeper that did not load must not open the gate: its own "could not be loaded" decides then. A third
    # party's gatekeeper stands beside gpudoctor's own, never in its place.
    # What was asked for and could not be tried is not fine.
    tried = [c.id for c in selection.chosen if target.live and c.gatekeeper_of == "live" and c.package == GROUP]
    required = [*require, *tried, *(c.id for c in keepers), *(result.id for result in catalogue.broken if unkept)]
    return judge(results, policy=policy, gatekeepers={}, required=required, fail_on=fail_on)  # type: ignore[arg-type]


def _facts(
    snapshot: Path | None, root: str, timeout: float | None, target: "Target", selection: "Selection", quiet: int,
    python: Sequence[Path], age: float | None, probe_image: str | None = None,
) -> "Snapshot":
    from gpudoctor.facts.snapshot import SnapshotError, read_snapshot

    if snapshot is not None:
        for flag, given in (("--root", root != "/"), ("--deep", target.deep), ("--live", target.live),
                            ("--python", bool(python))):
            if given:
                raise Failure(f"{flag} reads this machine, --snapshot another's record", "command line", "choose one")
        try:
            return read_snapshot(snapshot)
        except SnapshotError as error:
            raise Failure(str(error), str(snapshot), "record one with gpudoctor snapshot -o FILE") from None
    root = require_folder(root)
    from gpudoctor.cli.progress import progress_line
    from gpudoctor.probes.take import take_snapshot

    options = {"gpus": list(target.gpus) if target.gpus else None, "use_busy": target.use_busy,
               "python": [str(path.absolute()) for path in python], "probe_image": probe_image}


    def take() -> "Snapshot":
        with progress_line(sys.stderr, enabled=quiet == 0) as progress:
            return take_snapshot(
                root=root,
                timeout=seconds(timeout, target.deep or target.live),
                deep=target.deep,
                live=target.live,
                # The next command may ask for other checks.
                sections=selection.sections | {"host"} if age is None else None,
                options=options,
                progress=progress,
            )

    if age is None:
        return take()
    from gpudoctor.cli.fact_cache import cached

    return cached([root, options], age, take)


def require_folder(root: str) -> str:
    """Return ``--root`` as an absolute path (probes run elsewhere); refuse what is no folder or may not be listed."""
    hint = "name the folder where the host is mounted"
    if not root.strip():
        # An unset variable of a script must not turn into the folder that it happens to stand in.
        raise Failure("it is empty", "--root", hint)
    try:
        next(Path(root).iterdir(), None)
    except (OSError, ValueError) as error:
        raise Failure(f"{root}: {getattr(error, 'strerror', None) or error}", "--root", hint) from None
    return str(Path(root).resolve())


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
    from gpudoctor.checking.target import Target, parse_engine

    _one_of("--stage", stage, ("pre-install", "pre-launch"))
    try:
        wishes = tuple(parse_engine(text) for text in engines)
    except ValueError as error:
        raise Failure(str(error), "--for", "for example vllm==0.33.0, ollama, or vllm/vllm-openai:v0.33.0") from None
    return Target(
        stage=stage,  # type: ignore[arg-type]
        engines=wishes,
        model=model,
        gpus=parse_gpus(gpus),
        expect_gpus=expect_gpus,
        psu_watts=psu_watts,
        ports=tuple(ports),
        deep=deep,
        use_busy=use_busy,
        live=live,
    )


def seconds(timeout: float | None, deep: bool) -> float:
    """Return the time for all probes. ``nan`` passes every comparison of a range and would wait for ever."""
    if timeout is not None and not 1 <= timeout <= 3600:
        raise Failure(f"{timeout} is no number of seconds from 1 to 3600", "--timeout")
    return timeout or (300.0 if deep else 45.0)


def parse_gpus(text: str | None) -> tuple[int, ...] | None:
    """Read ``0,1`` or ``0-3``; None means all GPUs."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise Failure(f"{text!r} is no list of GPU indices", "--gpus", "for example 0,1 or 0-3")
        low, high = int(first), int(last or first)
        if not low <= high < 1024:
            raise Failure(f"{part.strip()!r} is no range of GPU indices", "--gpus", "for example 0,1 or 0-3")
        found += [n for n in range(low, high + 1) if n not in found]
    return tuple(found)


def _one_of(flag: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise Failure(f"{value!r} is none of {', '.join(allowed)}", flag)


def _split(selectors: Sequence[str]) -> list[str]:
    return [part.strip() for text in selectors for part in text.split(",") if part.strip()]


def _host_name(facts: "Snapshot") -> str:
    from gpudoctor.facts.host import Host

    return facts.host.hostname if isinstance(facts.host, Host) and isinstance(facts.host.hostname, str) else "unknown"
