"""``gpudoctor serving``: do the engines that run here do what their owner thinks?"""

import math
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gpudoctor.cli.failure import Failure, say
from gpudoctor.cli.source import read_record
from gpudoctor.cli.words import one_of

if TYPE_CHECKING:
    from gpudoctor.checking.policy import Policy
    from gpudoctor.checking.target import Target
    from gpudoctor.checking.verdict import Judgement
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.judging.endpoints import Candidate

#: What is read of this machine beside the engines' own words.
_SECTIONS = frozenset({"host", "processes", "containers", "docker", "gpus", "memory", "storage", "driver", "pci",
                       "proxy"})
#: Where the engine runs elsewhere, this machine's own facts say nothing of it.
_ELSEWHERE = frozenset({"host"})
_MOST_CONCURRENCY = 256


def serving(
    where: Annotated[
        str, typer.Argument(metavar="[URL|auto]", help="An engine's address; auto looks for all here.")
    ] = "auto",
    container: Annotated[str | None, typer.Option(metavar="NAME", help="The engine in this container.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Measure: short streamed completions of loaded models.")] = False,
    concurrency: Annotated[
        str | None, typer.Option(metavar="1,4,16", help="With --live: so many at once, step by step.")
    ] = None,
    max_seconds: Annotated[float, typer.Option(min=1, max=600, help="With --live: for each step.")] = 30.0,
    max_tokens: Annotated[int, typer.Option(min=2, max=4096, help="With --live: for each request.")] = 64,
    proxy: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="The nginx configuration before it; else this machine's.")
    ] = None,
    users: Annotated[int | None, typer.Option(min=1, max=10000, help="How many ask at the same time.")] = None,
    measure_load: Annotated[
        bool, typer.Option("--measure-load", help="Read some of the model's file from its disk, past the cache.")
    ] = False,
    read_gib: Annotated[float, typer.Option(min=0.01, max=64, help="With --measure-load: the most to read.")] = 2.0,
    read_seconds: Annotated[float, typer.Option(min=1, max=120, help="With --measure-load: the longest.")] = 10.0,
    sender: Annotated[
        str | None, typer.Option("--from", metavar="HOST", help="It must be reached from there; how to try it.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds the engine's key.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM file of a private authority.")] = None,
    snapshot: Annotated[Path | None, typer.Option(metavar="FILE", help="Judge this record of engines at work.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Also record the facts there.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="ID", help="Not this id or glob.")] = None,
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
    """Find the engines that serve here and say whether they do what their owner thinks.

    It only reads, and asks nobody but this machine unless a URL is given; --live also asks for short completions.
    Examples: gpudoctor serving; gpudoctor serving http://127.0.0.1:8000 --live --concurrency 1,4,16
    """
    started = time.perf_counter()
    from gpudoctor.checking.target import Target
    from gpudoctor.cli.judging import host_name, load_configuration, now
    from gpudoctor.cli.outputs import parse_outputs, write_outputs
    from gpudoctor.reports.report import make_report
    from gpudoctor.reports.serving_table import table, trial

    outputs = parse_outputs(format_, json, output or [])
    one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    one_of("--color", color, ("auto", "always", "never"))
    if concurrency is not None and not live:
        raise Failure("--concurrency is for --live", "command line", "add --live")
    ladder = _ladder(concurrency or "1")
    for flag, given in (("--max-seconds", max_seconds), ("--read-gib", read_gib), ("--read-seconds", read_seconds)):
        if not math.isfinite(given):
            raise Failure(f"{given} is no number", flag)
    named = where != "auto" or container is not None
    if where != "auto" and container is not None:
        raise Failure(f"{where[:80]!r} names an address, --container a container", "command line", "choose one")
    key_env = _key(api_key_env, named)
    if sender is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}", sender, re.ASCII):
        raise Failure(f"{sender[:80]!r} is no host", "--from", "name it or its address, without a port")
    _readable(ca_file)
    policy = load_configuration(config or [], no_config)
    when = now()
    if snapshot is not None:
        for flag, given in (("--live", live), ("--measure-load", measure_load), ("an address", named),
                            ("--proxy", bool(proxy))):  # fmt: skip
            if given:
                raise Failure(f"{flag} is for this machine, --snapshot for another's record", "command line")
        facts = _recorded(snapshot)
    else:
        asked: dict[str, Any] = {"key_env": key_env, "ca_file": str(ca_file.absolute()) if ca_file else None}
        if live:
            asked["live"] = {"concurrency": ladder, "seconds": max_seconds, "tokens": max_tokens}
        read = {"bytes": int(read_gib * 2**30), "seconds": read_seconds} if measure_load else None
        for path in proxy or ():
            if not path.is_file():
                raise Failure("no such file", f"--proxy {path}", "name an nginx configuration")
        nginx = [str(path.absolute()) for path in proxy or ()]
        facts = _looked(where, container, asked, read, nginx, quiet=quiet > 0 or json)
    judgement = _judged(facts, Target(users=users, sender=sender), policy, skip or [], fail_on)
    host = host_name(facts)
    report = make_report(judgement, started=when, duration_s=time.perf_counter() - started, host=host)
    if save is not None:
        _save(facts, save)
    if outputs[0].format == "console" and not quiet:
        say(table(facts) + trial(facts, sender))
    write_outputs(outputs, report, facts, judgement=judgement, color=color, verbose=verbose, quiet=quiet)
    return judgement.exit_code


def _ladder(text: str) -> list[int]:
    steps = text.split(",")
    if len(steps) > 8 or not all(re.fullmatch(r"[1-9]\d{0,2}", s.strip(), re.ASCII) for s in steps):
        raise Failure(f"{text[:40]!r} is no list of numbers", "--concurrency", "for example 1,4,16")
    found = [int(step) for step in steps]
    if max(found) > _MOST_CONCURRENCY:
        raise Failure(f"{max(found)} requests at once are too many", "--concurrency", f"at most {_MOST_CONCURRENCY}")
    return found


def _key(name: str | None, named: bool) -> str | None:
    if name is None:
        return None
    if not named:
        raise Failure("a key is sent to an engine that was named, not to whatever listens here", "--api-key-env",
                      "name the engine: gpudoctor serving URL, or --container NAME")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
        # It may be the key itself: it must not be shown.
        raise Failure("that is no name of a variable", "--api-key-env", "give the variable's name, not the key")
    if not os.environ.get(name):
        raise Failure(f"the variable {name} is not set", "--api-key-env", f"export {name}=...")
    return name


def _readable(ca_file: Path | None) -> None:
    if ca_file is None:
        return
    try:
        with ca_file.open("rb") as file:
            text = file.read(1 << 20)
    except OSError as error:
        raise Failure(f"{error.strerror or error}", f"--ca-file {ca_file}", "name a PEM file") from None
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise Failure("it holds no certificate", f"--ca-file {ca_file}", "name a PEM file")


def _recorded(path: Path) -> "Snapshot":
    from gpudoctor.facts.serving import Serving

    hint = "record one with gpudoctor serving --save FILE"
    facts = read_record(path, hint)
    if not isinstance(facts.serving, Serving):
        raise Failure("it records no engines at work", str(path), hint)
    return facts


def _save(facts: "Snapshot", path: Path) -> None:
    from gpudoctor.facts.snapshot import SnapshotError, write_snapshot

    try:
        write_snapshot(facts, path)
    except SnapshotError as error:
        raise Failure(str(error), "--save") from None


def _looked(
    where: str, container: str | None, asked: dict[str, Any], read: dict[str, Any] | None, nginx: list[str], quiet: bool
) -> "Snapshot":
    """Look at the machine, then ask what may be an engine."""
    from gpudoctor.cli.progress import progress_line
    from gpudoctor.probes.take import serving_sections, take_snapshot

    with progress_line(sys.stderr, enabled=not quiet) as progress:
        facts = take_snapshot(timeout=30.0, sections=_SECTIONS, options={"nginx": nginx}, progress=progress)
        chosen = _candidates(where, container, facts)
        if read is not None:
            asked["read"] = {**read, "paths": _stores(facts)}
        sections = serving_sections([msgspec.to_builtins(each) for each in chosen], asked, progress)
    if not any(each.local for each in chosen) and chosen:
        # Somebody else's machine: nothing of this one explains it.
        own = {name: getattr(facts, name) for name in (*_ELSEWHERE, *(["proxy"] if nginx else []))}
        facts = msgspec.structs.replace(_empty(), recorded=facts.recorded, probes=facts.probes, **own)
    return msgspec.structs.replace(facts, **sections)


def _empty() -> "Snapshot":
    from gpudoctor.facts.base import Unavailable
    from gpudoctor.facts.snapshot import Snapshot

    elsewhere = Unavailable("the engine runs on another machine", "not-applicable")
    return msgspec.structs.replace(Snapshot(), **dict.fromkeys(_SECTIONS, elsewhere))


def _candidates(where: str, container: str | None, facts: "Snapshot") -> "tuple[Candidate, ...]":
    from gpudoctor.facts.host import Host
    from gpudoctor.judging.endpoints import UnknownPlace, candidates, of_container_named, of_url

    try:
        if container is not None:
            return of_container_named(container, facts)
        if where != "auto":
            name = facts.host.hostname if isinstance(facts.host, Host) and isinstance(facts.host.hostname, str) else ""
            return (of_url(where, facts, name),)
    except UnknownPlace as problem:
        raise Failure(problem.message, "serving", problem.hint) from None
    return candidates(facts)


def _stores(facts: "Snapshot") -> list[str]:
    """Return the folders that hold models, for reading some of the largest file in each."""
    from gpudoctor.facts.storage import Storage

    if not isinstance(facts.storage, Storage):
        return []
    known = ("ollama-models", "huggingface-cache", "models")
    return [each.path for each in facts.storage.volumes if each.purpose in known and each.failure is None][:8]


def _judged(facts: "Snapshot", target: "Target", policy: "Policy", skip: list[str], fail_on: str) -> "Judgement":
    from gpudoctor.checking.finding import Result, skipped
    from gpudoctor.checking.run import run_checks
    from gpudoctor.checking.verdict import judge
    from gpudoctor.cli.judging import select_checks

    catalogue, selection = select_checks(["serving", "proxy"], skip, [])
    # Not the gatekeepers of other sections: whether the driver is healthy is what check says.
    keepers = [each for each in catalogue.checks if each.gatekeeper_of == "serving"]
    chosen = [each for each in selection.chosen if each.area in ("serving", "proxy") and each not in keepers]
    results = run_checks((*keepers, *chosen), facts, target, policy)
    left_out = [each for each in selection.left_out if each not in keepers]
    results += [Result(id=each.id, finding=skipped("host", "left out with --skip")) for each in left_out]
    results += catalogue.broken
    required = [each.id for each in keepers]
    return judge(results, policy=policy, gatekeepers={}, required=required, fail_on=fail_on)  # type: ignore[arg-type]
