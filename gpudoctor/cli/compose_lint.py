"""``gpudoctor compose lint``: what these services will meet on a machine, before they start."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gpudoctor.cli.failure import Failure
from gpudoctor.cli.source import read_record
from gpudoctor.cli.words import one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.checking.finding import Result
    from gpudoctor.facts.compose import Compose
    from gpudoctor.facts.snapshot import Snapshot

#: Whose "could not look" leaves a Compose project without a verdict.
DECIDING = "compose.no-gpu-request"
#: What is judged of the engines in services, beside the files themselves.
_OF_ENGINES = (
    "engine.gpu-unsupported", "engine.driver-too-old", "engine.model-unknown", "engine.dtype-unsupported",
    "engine.quant-unsupported", "engine.attention-unsupported", "engine.parallel-indivisible", "engine.mig-uuid",
    "stack.cuda-too-new", "stack.ptx-too-new",
)  # fmt: skip


def lint(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="Compose files, later ones over earlier ones.")
    ] = None,
    profile: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A profile to judge. Repeatable.")] = None,
    env_file: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Variables, instead of .env.")] = None,
    project_directory: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where relative paths begin; the first file's folder.")
    ] = None,
    hardware: Annotated[str | None, typer.Option(metavar="NAMES", help='Judge for "4x Quadro RTX 8000".')] = None,
    snapshot: Annotated[Path | None, typer.Option(metavar="FILE", help="Judge for this recorded machine.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="V", help="NVIDIA driver of named hardware.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this id or glob.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="ID", help="Not this id or glob.")] = None,
    fail_on: Annotated[str, typer.Option(metavar="STATUS", help="fail, warn or never.")] = "fail",
    config: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Thresholds and acceptances.")] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no configuration but --config.")] = False,
    format_: Annotated[
        str, typer.Option("-f", "--format", metavar="NAME", help="console, json, sarif, github and others of check.")
    ] = "console",
    json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    output: Annotated[
        list[str] | None, typer.Option("-o", "--output", metavar="[FORMAT=]FILE", help="Also write it there.")
    ] = None,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Passes and evidence; -vv: timings.")] = 0,
    quiet: Annotated[int, typer.Option("-q", "--quiet", count=True, help="Findings only; -qq: exit code only.")] = 0,
) -> int:
    """Judge Compose files for this machine, a recorded or a named one: GPUs, memory, ports, secrets, by line.

    Nothing is started or changed. Examples: gpudoctor compose lint compose.yml;
    gpudoctor compose lint compose.yml compose.prod.yml --profile gpu --hardware "4x Quadro RTX 8000" --json
    """
    started = time.perf_counter()
    from gpudoctor.checking.target import Target
    from gpudoctor.checking.verdict import judge
    from gpudoctor.cli.judging import host_name, load_configuration, now, select_checks
    from gpudoctor.cli.outputs import parse_outputs, write_outputs
    from gpudoctor.reports.report import make_report

    outputs = parse_outputs(format_, json, output or [])
    one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    one_of("--color", color, ("auto", "always", "never"))
    compose = read_compose(files or [], profile or [], env_file or [], project_directory)
    policy = load_configuration(config or [], no_config)
    catalogue, selection = select_checks(only or ["compose", *_OF_ENGINES], skip or [], [])
    when = now()
    machine = machine_facts(hardware, snapshot, driver, quiet)
    if hardware is None and snapshot is None:
        from gpudoctor.probes.compose_mounts import with_mounts

        compose = with_mounts(compose)
    facts = msgspec.structs.replace(machine, compose=compose)
    from gpudoctor.checking.finding import Result, skipped
    from gpudoctor.checking.run import run_checks

    # Gatekeepers of other sections belong to a machine's check; a project is not accused of the machine's faults.
    chosen = [each for each in selection.chosen if each.area == "compose" or each.id not in selection.added]
    results = [each for each in run_checks(chosen, facts, Target(), policy) if _of_project(each)]
    results += [Result(id=each.id, finding=skipped("host", "left out with --skip")) for each in selection.left_out]
    results += catalogue.broken
    required = [DECIDING, *(each.id for each in catalogue.broken)]
    judgement = judge(results, policy=policy, gatekeepers={}, required=required, fail_on=fail_on)  # type: ignore[arg-type]

    host = host_name(facts)
    report = make_report(judgement, started=when, duration_s=time.perf_counter() - started, host=host)
    write_outputs(outputs, report, facts, judgement=judgement, color=color, verbose=verbose, quiet=quiet)
    return judgement.exit_code


def _of_project(result: "Result") -> bool:
    """True for what is said of the project: what is installed or runs on the machine is for ``check``."""
    return result.id.startswith("compose.") or result.finding.subject.startswith("service:")


class Composed(msgspec.Struct, frozen=True):
    """Projects that were read, for a command that judges the machine as well."""

    facts: "Compose"

    @property
    def engine_images(self) -> tuple[str, ...]:
        """The images of services that run an engine, as ``--for`` would name them."""
        from gpudoctor.judging.composed import engine_services

        return tuple(dict.fromkeys(each.image for each, _ in engine_services(self.facts) if each.image))


def read_compose(
    files: "Sequence[str]", profiles: "Sequence[str]" = (), env_files: "Sequence[str]" = (), folder: str | None = None
) -> "Compose":
    """Read files as one project; without any, those that Compose would take here.

    Raises:
        Failure: They cannot be read, with file and line.
    """
    from gpudoctor.compose.reading import Wishes, found_files, read_project
    from gpudoctor.compose.tree import ComposeError
    from gpudoctor.facts.compose import Compose

    named = tuple(files) or tuple(os.path.relpath(each) for each in found_files(Path.cwd()))
    if not named:
        raise Failure("no Compose file is named, and none is here", "compose", "name one: compose.yml")
    try:
        project = read_project(named, Wishes(dict(os.environ), tuple(profiles), tuple(env_files), folder))
    except ComposeError as error:
        raise Failure(error.message, error.where, error.hint) from None
    if project.inactive and not project.services:
        wanted = sorted({name for names in project.inactive.values() for name in names})
        raise Failure("every service stands behind a profile", named[0], f"name one: --profile {wanted[0]}")
    return Compose(projects=(project,))


def machine_facts(hardware: str | None, snapshot: Path | None, driver: str | None, quiet: int) -> "Snapshot":
    """Return the machine to judge for: named GPUs, a recorded machine, or this one.

    Raises:
        Failure: No GPU has that name, the record cannot be read, or both were named.
    """
    if hardware is not None and snapshot is not None:
        raise Failure("--hardware names GPUs, --snapshot a machine", "command line", "choose one")
    if driver is not None and hardware is None:
        raise Failure("it is for GPUs named with --hardware", "--driver", "a machine's driver is read")
    from gpudoctor.compose.machine import SECTIONS, named_machine

    if hardware is not None:
        from gpudoctor.fit.model import Unusable

        try:
            return named_machine(hardware, driver)
        except Unusable as problem:
            raise Failure(problem.message, "--hardware", problem.hint or "") from None
    if snapshot is not None:
        return read_record(snapshot)
    from gpudoctor.cli.progress import progress_line
    from gpudoctor.probes.take import take_snapshot

    with progress_line(sys.stderr, enabled=quiet == 0) as progress:
        return take_snapshot(timeout=20.0, sections=SECTIONS, progress=progress)
