"""``gpudoctor verify``: did the files arrive whole, and are they all there?"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gpudoctor.cli.failure import Failure
from gpudoctor.cli.words import one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpudoctor.checking.verdict import Judgement
    from gpudoctor.cli.outputs import Output
    from gpudoctor.facts.files import CheckedFile, Files
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.reports.report import Report
    from gpudoctor.verify.requirements import Wanted
    from gpudoctor.verify.survey import Survey
    from gpudoctor.verify.wheelhouse import Installer

_CHECKS = ("files", "model.files-broken")
#: Whose ``unknown`` leaves the files without a verdict.
_DECIDING = ("files.unverifiable", "files.wheels-missing")


def verify(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH...", help="Files, lists of checksums, folders, model stores.")
    ] = None,
    require: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Requirements with hashes that the wheels shall meet.")
    ] = None,
    python: Annotated[str | None, typer.Option(metavar="V", help="Python the wheels are for; this one.")] = None,
    platform: Annotated[
        str | None, typer.Option(metavar="TAG", help="Their platform: manylinux_2_28_x86_64; this one.")
    ] = None,
    since_report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Do not read again what this JSON report verified.")
    ] = None,
    list_bad: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the names of the files to copy again there.")
    ] = None,
    write_manifest: Annotated[
        bool, typer.Option("--write-manifest", help="Write SHA256SUMS into each folder that is whole.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(metavar="N", help="Files read at once; one per core.")] = None,
    fail_on: Annotated[str, typer.Option(metavar="STATUS", help="fail, warn or never.")] = "fail",
    config: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Thresholds and acceptances.")] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no configuration but --config.")] = False,
    format_: Annotated[
        str, typer.Option("-f", "--format", metavar="NAME", help="console, json and others of check.")
    ] = "console",
    json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    output: Annotated[
        list[str] | None, typer.Option("-o", "--output", metavar="[FORMAT=]FILE", help="Also write it there.")
    ] = None,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Passes and evidence; -vv: timings.")] = 0,
    quiet: Annotated[int, typer.Option("-q", "--quiet", count=True, help="Findings only; -qq: exit code only.")] = 0,
) -> int:
    """Compare files with the checksums that lie beside them, and name those to copy again.

    It knows Ollama stores, Hugging Face caches and --local-dir downloads, safetensors and GGUF, docker save archives
    and OCI layouts, wheel folders, and lists of sha256sum. Only --write-manifest, --list-bad and -o write. An
    interrupted run goes on with --since-report. Examples: gpudoctor verify /data/models -o json=seen.json;
    gpudoctor verify wheels --python 3.11 --platform manylinux_2_28_x86_64 --require requirements.txt
    """
    started = time.perf_counter()
    from gpudoctor.cli.judging import load_configuration, now, select_checks
    from gpudoctor.cli.outputs import parse_outputs

    outputs = parse_outputs(format_, json, output or [])
    one_of("--fail-on", fail_on, ("fail", "warn", "never"))
    one_of("--color", color, ("auto", "always", "never"))
    if jobs is not None and not 1 <= jobs <= 256:
        raise Failure("it is a number from 1 to 256", "--jobs", "leave it out for one per core")
    policy = load_configuration(config or [], no_config)
    catalogue, selection = select_checks(_CHECKS, [], [])
    when = now()
    known, wanted, system = _inputs(since_report, require, python, platform)
    survey = _found(paths or [], wanted, write_manifest)
    survey.judge_wheels(system, wanted)
    files, stopped = _read(survey, known, jobs, write_manifest, quiet)

    from gpudoctor.checking.run import run_checks
    from gpudoctor.checking.target import Target
    from gpudoctor.checking.verdict import judge
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.reports.report import make_report

    facts = Snapshot(files=files)
    chosen = [each for each in selection.chosen if each.area == "files" or each.id in _CHECKS]
    results = run_checks(chosen, facts, Target(), policy)
    # Another area's check that does not load says nothing about files.
    lost = [each for each in catalogue.broken if each.id.startswith("files.") or each.id in _CHECKS]
    results += lost
    required = [*_DECIDING, *(each.id for each in lost)]
    judgement = judge(results, policy=policy, gatekeepers={}, required=required, fail_on=fail_on)  # type: ignore[arg-type]
    exit_code = judgement.exit_code
    if stopped is not None:
        exit_code = 130 if isinstance(stopped, KeyboardInterrupt) else int(getattr(stopped, "code", 143))
        judgement = msgspec.structs.replace(judgement, exit_code=exit_code)
    report = make_report(judgement, started=when, duration_s=time.perf_counter() - started, host=os.uname().nodename,
                         fail_on=fail_on, facts=facts)  # type: ignore[arg-type]  # fmt: skip
    written = _manifests(survey, files) if write_manifest and exit_code == 0 else []
    if list_bad is not None:
        _write_bad(list_bad, survey, files)
    _write(outputs, report, judgement, facts, written, list_bad, color, verbose, quiet)
    return exit_code


def _inputs(
    since_report: Path | None, require: Path | None, python: str | None, platform: str | None
) -> "tuple[Mapping[str, CheckedFile], Sequence[Wanted] | None, Installer]":
    """Read the former report and the requirements, and name the installer.

    Raises:
        Failure: One of them cannot be read or means nothing.
    """
    from gpudoctor.verify.requirements import RequirementsError, read_requirements
    from gpudoctor.verify.since import SinceError, read_since
    from gpudoctor.verify.wheelhouse import installer

    try:
        known = read_since(since_report) if since_report is not None else {}
    except SinceError as error:
        raise Failure(str(error), str(since_report), "leave --since-report out to read everything") from None
    try:
        wanted = read_requirements(str(require)) if require is not None else None
    except RequirementsError as error:
        raise Failure(error.message, error.where, "name a requirements file of pip") from None
    try:
        return known, wanted, installer(python, platform)
    except ValueError as error:
        raise Failure(str(error), "--python" if "Python" in str(error) else "--platform") from None


def _found(paths: "Sequence[str]", wanted: "Sequence[Wanted] | None", write_manifest: bool) -> "Survey":
    """Walk the paths; one that is not there is a mistyped command line, not a finding.

    Raises:
        Failure: A path is not there or may not be read, or there are too many files.
    """
    from gpudoctor.verify.jobs import TooMany, shown
    from gpudoctor.verify.survey import Survey

    if not paths:
        raise Failure("no path is named", "PATH", "for example gpudoctor verify /data/models")
    survey = Survey(tuple(dict.fromkeys(paths)))
    if write_manifest and (no_folder := next((p for p in survey.paths if not Path(p).is_dir()), None)):
        raise Failure("it is no folder to write SHA256SUMS into", shown(no_folder), "name the folder")
    try:
        survey.find()
    except OSError as error:
        raise Failure(f"cannot be read: {error.strerror or error}", shown(os.fsdecode(error.filename or ""))) from None
    except TooMany as error:
        raise Failure(str(error), shown(survey.paths[0]), "name fewer folders at once") from None
    if wanted is not None:
        if not survey.plan.wheel_folders:
            raise Failure("there is no folder of wheels", "--require", "name the folder that holds the wheels")
        survey.expect(wanted)
    return survey


def _read(
    survey: "Survey", known: "Mapping[str, CheckedFile]", jobs: int | None, hash_all: bool, quiet: int
) -> "tuple[Files, BaseException | None]":
    from gpudoctor.cli.verify_progress import progress_bar
    from gpudoctor.probes.spinning import spinning

    reading = survey.reading(known, hash_all=hash_all)
    threads = jobs or len(os.sched_getaffinity(0))
    slow = spinning if jobs is None else lambda device: False
    shows = quiet == 0 and sys.stderr.isatty()
    total = survey.total_bytes if shows else 0
    with progress_bar(sys.stderr, reading.progress, total, enabled=shows) as draw:
        stopped = reading.run(threads, slow, draw)
    files = survey.files(tuple(reading.found), interrupted=stopped is not None, recorded=hash_all)
    return files, stopped


def _manifests(survey: "Survey", files: "Files") -> list[str]:
    """Write SHA256SUMS into each folder, and return their paths.

    Raises:
        Failure: It cannot be written; an older list is as it was.
    """
    from gpudoctor.facts.snapshot import write_atomically
    from gpudoctor.verify.jobs import shown
    from gpudoctor.verify.manifest import NAME, lines_of

    digests = {each.path: each.digests["sha256"] for each in files.files if "sha256" in each.digests}
    written = []
    for folder in survey.paths:
        rows = [(job.path, digests[shown(job.path)]) for job in survey.inside(folder) if shown(job.path) in digests]
        path = Path(folder) / NAME
        try:
            write_atomically(path, lines_of(folder, rows))
        except OSError as error:
            raise Failure(f"cannot write: {error.strerror or error}", shown(str(path))) from None
        written.append(shown(str(path)))
    return written


def _write_bad(target: Path, survey: "Survey", files: "Files") -> None:
    """Write what to copy again, for ``rsync --files-from``: relative to the one folder that was named, else in full."""
    from gpudoctor.facts.snapshot import write_atomically
    from gpudoctor.verify.jobs import shown

    raw = {shown(path): path for path in survey.plan.jobs}
    bad = [raw.get(each.path, each.path) for each in files.files if each.outcome in ("broken", "missing")]
    one = survey.paths[0] if len(survey.paths) == 1 and Path(survey.paths[0]).is_dir() else None
    names = [os.path.relpath(path, one) if one else os.path.abspath(path) for path in dict.fromkeys(bad)]  # noqa: PTH100
    if cut := [name for name in names if "\n" in name]:
        sys.stderr.write(f"gpudoctor: {target}: a name with a line break is left out: {shown(cut[0])!r}\n")
    lines = b"".join(os.fsencode(name) + b"\n" for name in names if "\n" not in name)
    try:
        write_atomically(target, lines)
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror or error}", str(target)) from None


def _write(
    outputs: "Sequence[Output]", report: "Report", judgement: "Judgement", facts: "Snapshot", written: "Sequence[str]",
    list_bad: Path | None, color: str, verbose: int, quiet: int,
) -> None:
    from gpudoctor.cli.outputs import write_text
    from gpudoctor.reports.formats import renderer
    from gpudoctor.reports.report import in_language

    def render(name: str, to_file: bool) -> str:
        if name != "console":
            return renderer(name)(in_language(report, judgement), facts)
        from gpudoctor.reports.console import Look
        from gpudoctor.reports.verify_console import render as shown

        # -q spares the screen; who asks for a file wants the report.
        look = Look.of(sys.stdout, color="never" if to_file else color, verbose=verbose, quiet=0 if to_file else quiet)
        return shown(in_language(report, judgement), facts, look, written, None if list_bad is None else str(list_bad))

    write_text(outputs, render, quiet=quiet)
