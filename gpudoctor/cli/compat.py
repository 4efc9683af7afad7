"""``gpudoctor compat``: will a release run here, before five gigabytes are downloaded."""

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.cli.failure import Failure
from gpudoctor.cli.source import read_record
from gpudoctor.cli.words import one_of

if TYPE_CHECKING:
    from gpudoctor.facts.snapshot import Snapshot

_KNOWN = ("torch", "vllm", "sglang", "ollama", "tgi", "llama.cpp")


def compat(
    requirement: Annotated[str, typer.Argument(help="vllm==0.33.0, torch==2.14.0+cu126, ollama, or an image.")],
    hardware: Annotated[str | None, typer.Option(metavar="NAMES", help='For example "2x RTX 4090 + L4".')] = None,
    snapshot: Annotated[Path | None, typer.Option(metavar="FILE", help="Judge for this recorded machine.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="V", help="NVIDIA driver to judge with.")] = None,
    model: Annotated[str | None, typer.Option(help="The model that shall run.")] = None,
    gpus: Annotated[str | None, typer.Option(metavar="0,1", help="GPUs of the machine or snapshot.")] = None,
    arch: Annotated[str, typer.Option(metavar="NAME", help="CPU of named hardware: x86_64 or aarch64.")] = "x86_64",
    fail_on: Annotated[str, typer.Option(metavar="STATUS", help="fail, warn or never.")] = "fail",
    json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Passes and evidence, too.")] = 0,
    quiet: Annotated[int, typer.Option("-q", "--quiet", count=True, help="Findings only; -qq: exit code only.")] = 0,
) -> int:
    """Say whether a release runs on a machine, which one would, and the exact line that installs it.

    Examples: gpudoctor compat vllm==0.33.0; gpudoctor compat torch --hardware "1x RTX 5090" --driver 570.195.03;
    gpudoctor compat vllm==0.10.2 --model openai/gpt-oss-120b --snapshot server.json
    """
    started = time.perf_counter()
    from gpudoctor.checking.plugins import load_checks
    from gpudoctor.checking.policy import default_policy
    from gpudoctor.checking.target import parse_engine
    from gpudoctor.checking.verdict import judge
    from gpudoctor.cli.judging import host_name, now
    from gpudoctor.cli.outputs import parse_outputs, write_outputs
    from gpudoctor.cli.words import parse_gpus
    from gpudoctor.compat.answer import ANSWER, DECIDING, answer
    from gpudoctor.reports.report import make_report

    one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    one_of("--color", color, ("auto", "always", "never"))
    one_of("--arch", arch, ("x86_64", "aarch64"))
    hint = "for example vllm==0.33.0, torch==2.14.0+cu126, ollama, or vllm/vllm-openai:v0.33.0"
    try:
        wish = parse_engine(requirement[:300])
    except ValueError as error:
        raise Failure(str(error), "compat", hint) from None
    if wish.image is None and wish.name not in _KNOWN:
        raise Failure(f"no table of {wish.name[:40]!r}", "compat", f"there are {', '.join(_KNOWN)}, and images of them")
    if driver is not None and re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,3}", driver, re.ASCII) is None:
        raise Failure(f"{driver[:40]!r} is no driver version", "--driver", "for example 535.247.01")
    if hardware is not None and (snapshot is not None or gpus is not None):
        other = "--snapshot" if snapshot is not None else "--gpus"
        raise Failure(f"--hardware names GPUs, {other} a machine's", "command line", "choose one")
    facts = _machine(hardware, snapshot, driver, arch, quiet=json or quiet > 0)
    policy = default_policy()
    results = answer(wish, model, facts, policy, load_checks(), parse_gpus(gpus))
    seen = {result.id for result in results}
    required = [each for each in (ANSWER, *DECIDING) if each in seen]
    judgement = judge(results, policy=policy, gatekeepers={}, required=required, fail_on=fail_on)  # type: ignore[arg-type]
    when = now()
    host = host_name(facts)
    report = make_report(judgement, started=when, duration_s=time.perf_counter() - started, host=host)
    outputs = parse_outputs("console", json, [])
    write_outputs(outputs, report, facts, judgement=judgement, color=color, verbose=verbose, quiet=quiet)
    return judgement.exit_code


def _machine(hardware: str | None, snapshot: Path | None, driver: str | None, arch: str, *, quiet: bool) -> "Snapshot":
    """The machine to judge for: named, recorded, or this one."""
    from gpudoctor.compat.machine import SECTIONS, UnknownGpu, cards_named, gpu_count, named, recorded

    if hardware is not None:
        try:
            return named(cards_named(hardware), driver, arch)
        except UnknownGpu as problem:
            raise Failure(problem.message, "--hardware", problem.hint) from None
    if snapshot is not None:
        facts = recorded(read_record(snapshot), driver)
    else:
        from gpudoctor.cli.progress import progress_line
        from gpudoctor.probes.take import take_snapshot

        with progress_line(sys.stderr, enabled=not quiet) as progress:
            facts = recorded(take_snapshot(timeout=20.0, sections=SECTIONS, progress=progress), driver)
    if not gpu_count(facts):
        where = "this machine" if snapshot is None else "that machine"
        raise Failure(f"{where} has no GPU to judge by", "compat", '--hardware "2x RTX 4090" names others')
    return facts
