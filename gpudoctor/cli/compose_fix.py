"""``gpudoctor compose fix``: the corrected Compose file as a diff, or written with ``--apply``."""

import codecs
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gpudoctor.cli.failure import Failure, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.checking.policy import Policy
    from gpudoctor.compose.fix_plan import Judged, Plan
    from gpudoctor.compose.reading import Wishes
    from gpudoctor.facts.compose import ComposeProject, Service
    from gpudoctor.facts.snapshot import Snapshot

#: Tokens: room for a long document. More costs memory that another request could use.
_CONTEXT = 32768


def fix(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The Compose file to mend.")],
    apply: Annotated[bool, typer.Option("--apply", help="Write the file; the old one stays beside it.")] = False,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Mend only this. Repeatable.")] = None,
    service: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this service. Repeatable.")] = None,
    env_file: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Variables, instead of .env.")] = None,
    project_directory: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where relative paths begin; the file's folder.")
    ] = None,
    hardware: Annotated[str | None, typer.Option(metavar="NAMES", help='Judge for "4x Quadro RTX 8000".')] = None,
    snapshot: Annotated[Path | None, typer.Option(metavar="FILE", help="Judge for this recorded machine.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="V", help="NVIDIA driver of named hardware.")] = None,
    config: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Thresholds and acceptances.")] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no configuration but --config.")] = False,
    model: Annotated[str | None, typer.Option(help="Ollama's model, for --only compose.context-default.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
    color: Annotated[str, typer.Option(metavar="WHEN", help="auto, always or never.")] = "auto",
) -> int:
    """Show what would mend a Compose file as a diff; with --apply write it, whole or not at all.

    Comments, order, quotes and anchors stay. What changes more than a fault, such as open ports, is mended only when
    named with --only. Exit codes: 0 nothing to mend, or --apply wrote it; 1 there are changes to make; 2 refused: the
    file cannot be edited or written, or nothing that --only or --service named could be mended.
    """
    from gpudoctor.cli.compose_lint import machine_facts
    from gpudoctor.cli.judging import load_configuration
    from gpudoctor.compose.edit_tree import Refused
    from gpudoctor.compose.fix_plan import Limits, plan
    from gpudoctor.compose.reading import Wishes
    from gpudoctor.compose.replacing import NotReplaced, read_original, replace_file
    from gpudoctor.compose.tree import ComposeError
    from gpudoctor.facts.gpus import Gpus
    from gpudoctor.reports.fix_console import as_text
    from gpudoctor.reports.fix_schema import make_document
    from gpudoctor.reports.json_report import encode
    from gpudoctor.reports.language import speaking, spoken

    if color not in ("auto", "always", "never"):
        raise Failure(f"{color[:40]!r} is none of auto, always, never", "--color")
    ids = _ids(only or [])
    backup = None
    try:
        original = read_original(Path(file))
        mark, text = _text(original.data)
        wishes = Wishes(dict(os.environ), ("*",), tuple(env_file or []), project_directory)
        policy = load_configuration(config or [], no_config)
        before = _Judge(file, wishes, policy).project(text)
        _require_services(service or [], before)
        judge = _Judge(file, wishes, policy, machine_facts(hardware, snapshot, driver, int(json)))
        gpus = judge.machine.gpus
        names = [gpu.name for gpu in gpus.gpus] if isinstance(gpus, Gpus) else None
        limits = Limits(
            file, ids, frozenset(service or []), host_gpus=len(names) if names is not None else None,
            mixed=len(set(names or ())) > 1, compose_v1=_has_only_v1(judge.machine),
            context=lambda each: _context(each, judge.machine, model),
        )  # fmt: skip
        planned = plan(text, judge, limits)
        _require_others_same(before, judge.project(planned.text), planned)
        if apply and planned.text != text:
            backup = replace_file(original, mark + planned.text.encode())
    except ComposeError as error:
        raise Failure(error.message, error.where, error.hint) from None
    except Refused as refusal:
        raise Failure(f"{refusal}; the file is as it was", file, "edit it by hand") from None
    except NotReplaced as problem:
        raise Failure(problem.message, file, problem.hint) from None
    with speaking("en" if json else spoken()):
        saved = str(backup) if backup else None
        document = make_document(file, text, planned, backup=saved, asked=bool(ids or service))
        say(encode(document) + "\n" if json else as_text(document, color))
    return document.exit_code


class _Judge:
    """Judges the project as if the file held a text."""

    def __init__(self, file: str, wishes: "Wishes", policy: "Policy", machine: "Snapshot | None" = None) -> None:
        from gpudoctor.facts.snapshot import Snapshot

        self._file, self._wishes, self._policy = file, wishes, policy
        self.machine = machine or Snapshot()

    def project(self, text: str) -> "ComposeProject":
        from gpudoctor.compose.reading import read_project

        return read_project((self._file,), self._wishes._replace(texts={self._file: text}))

    def __call__(self, text: str) -> "Judged":
        from gpudoctor.checking.run import run_checks
        from gpudoctor.checking.target import Target
        from gpudoctor.checking.verdict import judge
        from gpudoctor.cli.judging import select_checks
        from gpudoctor.compose.fix_plan import Judged
        from gpudoctor.facts.compose import Compose

        project = self.project(text)
        facts = msgspec.structs.replace(self.machine, compose=Compose(projects=(project,)))
        _, selection = select_checks(["compose"], [], [])
        chosen = [each for each in selection.chosen if each.area == "compose"]
        results = run_checks(chosen, facts, Target(), self._policy)
        return Judged(project, judge(results, policy=self._policy, gatekeepers={}).results)


def _context(service: "Service", machine: "Snapshot", model: str | None) -> int | None:
    """Return a context that the model has room for on the service's GPUs, no more than most requests need."""
    from gpudoctor.fit.model import Unusable
    from gpudoctor.judging.composed import asked, given
    from gpudoctor.judging.composed_fit import fitting_context

    question = asked(service)
    if model is None or question is None:
        return None
    try:
        largest = fitting_context(question, given(service, machine.gpus).used or (), machine, model)
    except Unusable as problem:
        raise Failure(problem.message, "--model", problem.hint or "") from None
    if not largest:
        raise Failure(f"{model} does not fit on the GPUs of service {service.name} with any context", "--model",
                      f"gpudoctor fit {model} says what does")
    return min(largest, _CONTEXT)


def _has_only_v1(machine: "Snapshot") -> bool:
    """Tell whether the machine has Compose v1 and no newer one."""
    from gpudoctor.facts.docker import Docker

    docker = machine.docker
    return isinstance(docker, Docker) and docker.compose_version is None and isinstance(docker.compose_v1_path, str)


def _text(data: bytes) -> tuple[bytes, str]:
    """Return the byte order mark, if any, and the text behind it."""
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    try:
        return mark, data[len(mark) :].decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Failure(f"it is no UTF-8 text in line {line}", hint="save it as UTF-8") from None


def _ids(wanted: "Sequence[str]") -> frozenset[str]:
    from gpudoctor.cli.judging import select_checks
    from gpudoctor.compose.fixing import REMEDIES

    if not wanted:
        return frozenset()
    _, selection = select_checks(wanted, [], [])
    ids = frozenset(each.id for each in selection.chosen if each.id not in selection.added)
    if not ids & REMEDIES.keys():
        raise Failure(f"this command does not mend {', '.join(wanted)[:80]}", "--only",
                      f"it mends {', '.join(each.removeprefix('compose.') for each in REMEDIES)}")
    return ids


def _require_services(wanted: "Sequence[str]", project: "ComposeProject") -> None:
    known = [each.name for each in project.services]
    for name in wanted:
        if name not in known:
            raise Failure(f"no service is called {name[:60]!r}", "--service", f"there are {', '.join(known)[:200]}")


def _require_others_same(before: "ComposeProject", after: "ComposeProject", planned: "Plan") -> None:
    from gpudoctor.compose.edit_tree import Refused
    from gpudoctor.compose.fix_plan import same_but

    meant = frozenset(each.result.subject.removeprefix("service:") for each in planned.mended)
    if other := same_but(before, after, meant):
        raise Refused(f"service {other} would change as well")
