"""``gpudoctor plan``: all services of one machine at once, before they meet on its GPUs."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.cli.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.fit.hardware import Hardware
    from gpudoctor.plan.answer import Plan
    from gpudoctor.plan.service import Service

FORMATS = ("console", "json", "svg", "html")


def plan(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE...]", help="Compose files, and TOML with [[service]]; none: what runs now."),
    ] = None,
    profile: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A Compose profile. Repeatable.")] = None,
    env_file: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Variables, instead of .env.")] = None,
    hardware: Annotated[str | None, typer.Option(metavar="NAMES", help='Plan for "4x Quadro RTX 8000".')] = None,
    free: Annotated[str | None, typer.Option(metavar="SIZES", help='Free of named GPUs: "22.5GiB,23GiB".')] = None,
    link: Annotated[str | None, typer.Option(metavar="KIND", help="nvlink or pcie between named GPUs.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="V", help="NVIDIA driver of named GPUs.")] = None,
    snapshot: Annotated[Path | None, typer.Option(metavar="FILE", help="Plan for this recorded machine.")] = None,
    reserve: Annotated[str | None, typer.Option(metavar="SIZE", help="Keep that much of each GPU free.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each service lies where it does.")] = False,
    format_: Annotated[
        str, typer.Option("-f", "--format", metavar="NAME", help="console, json, svg or html.")
    ] = "console",
    json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    output: Annotated[
        list[str] | None, typer.Option("-o", "--output", metavar="[FORMAT=]FILE", help="Also write it there.")
    ] = None,
    quiet: Annotated[int, typer.Option("-q", "--quiet", count=True, help="No progress; -qq: exit code only.")] = 0,
) -> int:
    """Say which service goes on which GPU, what to write for it, and who starves whom as it is written.

    Nothing is started or changed. Examples: gpudoctor plan compose.yml;
    gpudoctor plan services.toml --hardware "4x Quadro RTX 8000" --explain
    """
    from gpudoctor.cli.outputs import parse_outputs, write_text
    from gpudoctor.fit.model import Unusable
    from gpudoctor.reports.plan_schema import document as in_words

    outputs = parse_outputs(format_, json, output or [], FORMATS)
    if link not in (None, "nvlink", "pcie"):
        raise Failure(f"{str(link)[:20]!r} is no link", "--link", "nvlink or pcie")
    try:
        planned = _plan(files or [], profile or [], env_file or [], hardware, free, link, driver, snapshot, reserve,
                      quiet or int(json))  # fmt: skip
    except Unusable as problem:
        raise Failure(problem.message, problem.where or "", problem.hint or "") from None

    def render(name: str, to_file: bool) -> str:
        found = in_words(*planned)
        if name == "json":
            from gpudoctor.reports.json_report import encode

            return encode(found) + "\n"
        if name == "console":
            from gpudoctor.reports import plan_console

            return plan_console.render(found, width=_width(to_file), explain=explain)
        from gpudoctor.reports import plan_html

        return plan_html.svg(found) if name == "svg" else plan_html.render(found)

    write_text(outputs, render, quiet=quiet)
    return in_words(*planned).exit_code


def _plan(
    files: "Sequence[str]", profiles: "Sequence[str]", env_files: "Sequence[str]", hardware: str | None,
    free: str | None, link: str | None, driver: str | None, snapshot: Path | None, reserve: str | None, quiet: int,
) -> "tuple[Plan, str]":
    """Return the plan and the name of what it is for."""
    from gpudoctor.cli.compose_lint import machine_facts
    from gpudoctor.cli.judging import host_name
    from gpudoctor.fit.model import Unusable
    from gpudoctor.fit.settings import size
    from gpudoctor.plan.answer import plan as planned
    from gpudoctor.plan.composed import merged, services_of
    from gpudoctor.plan.machine import planned_on

    tables = [name for name in files if name.lower().endswith(".toml")]
    compose = [name for name in files if name not in tables]
    told: list[Service] = []
    if tables:
        from gpudoctor.plan.toml_file import read

        for name in tables:
            file = read(name)
            told += file.services
            if hardware is None and snapshot is None:
                hardware, link = file.machine.get("hardware"), link or file.machine.get("link")
                driver = driver or file.machine.get("driver")
    if (free is not None or link is not None) and hardware is None:
        raise Failure("it is for GPUs named with --hardware", "--free" if free else "--link", "a machine's is read")
    facts = machine_facts(hardware, snapshot, driver, quiet)
    services: tuple[Service, ...] = ()
    if compose:
        from gpudoctor.cli.compose_lint import read_compose

        services = services_of(read_compose(compose, profiles, env_files), facts.gpus)
    elif not tables:
        from gpudoctor.plan.running import services_of as running

        if hardware is not None:
            raise Failure("no service is named", "plan", "name a Compose file or TOML with [[service]]")
        services = running(facts)
    services = merged(services, told)
    if not services:
        raise Unusable("no service wants a GPU", where=files[0] if files else "running now",
                       hint="a service says so with device_ids, or in a TOML file with [[service]]")
    on = _hardware(facts, [each.name for each in services] if files else [], hardware, free, link, driver)
    return planned(services, planned_on(on, size(reserve) if reserve else 0)), host_name(facts)


def _hardware(
    facts: "Snapshot", names: "Sequence[str]", hardware: str | None, free: str | None, link: str | None,
    driver: str | None,
) -> "Hardware":
    if hardware is None:
        from gpudoctor.plan.machine import machine_for

        return machine_for(facts, names, link)
    from gpudoctor.fit.hardware import Hardware, named

    found, assumed = named(hardware, free)
    if link == "nvlink":
        # All of one kind are joined; other kinds have no bridge to them.
        found = tuple(
            gpu._replace(peers=tuple(o.number for o in found if o.name == gpu.name and o.number != gpu.number))
            for gpu in found
        )
    return Hardware(found, driver=driver, link=link, assumed=assumed)



def _width(to_file: bool) -> int:
    """Return the columns of the terminal; 100 where there is none."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and 0 < len(columns) < 5:
        return int(columns)
    try:
        return 100 if to_file else os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 100
