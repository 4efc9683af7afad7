"""``gpudoctor.compose-fix/1``: what ``compose fix`` would change, or changed, in one Compose file."""

from typing import Literal

import msgspec

from gpudoctor.checking.finding import Status
from gpudoctor.compose.fix_plan import Left, Plan, said
from gpudoctor.reports.diff import unified
from gpudoctor.reports.words import message

#: Checks whose remedy gives a container its GPUs: only a new container has them.
_GPU_CHECKS = frozenset({"compose.gpu-scope", "compose.no-gpu-request", "compose.unknown-gpu"})


class FixedFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding and the edit that mends it. ``subject`` is ``service:NAME``, or the file."""

    id: str
    status: Status
    subject: str
    message: str
    line: int | None
    change: str


class LeftFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that stays, and why. ``refused``: it has a remedy that could not be used here."""

    id: str
    status: Status
    subject: str
    message: str
    file: str | None
    line: int | None
    reason: str
    refused: bool


class FixStep(msgspec.Struct, frozen=True):
    """What remains to be done by hand. ``risk`` says what the command disturbs."""

    text: str
    command: str | None = None
    risk: str | None = None


class ComposeFix(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. ``diff`` shows secrets as ``***``; it is for reading, the file is written by ``--apply``.

    ``exit_code`` is 0 when there is nothing to mend or ``--apply`` wrote it, 1 when there are changes to make, 2 when
    all that was asked for by name was refused.
    """

    schema: Literal["gpudoctor.compose-fix/1"] = "gpudoctor.compose-fix/1"
    file: str
    applied: bool
    backup: str | None
    diff: str
    fixed: tuple[FixedFinding, ...]
    left: tuple[LeftFinding, ...]
    steps: tuple[FixStep, ...]
    exit_code: Literal[0, 1, 2]


def make_document(file: str, before: str, plan: Plan, *, backup: str | None, asked: bool) -> ComposeFix:
    """Put a plan into words; ``backup`` names the old file when the plan was carried out."""
    fixed = tuple(
        FixedFinding(
            id=each.result.id, status=each.result.status, subject=each.result.subject,
            message=message(each.result.finding), change=each.change,
            line=each.result.finding.location.line if each.result.finding.location else None,
        )
        for each in plan.mended
    )  # fmt: skip
    left = tuple(_left(each, plan, applied=backup is not None) for each in plan.left)
    refused = asked and not fixed and any(each.refused for each in left)
    return ComposeFix(
        file=file,
        applied=backup is not None,
        backup=backup,
        diff=unified(before, plan.text, file),
        fixed=fixed,
        left=left,
        steps=_steps(file, fixed),
        exit_code=2 if refused else 1 if fixed and backup is None else 0,
    )


def _left(each: Left, plan: Plan, *, applied: bool) -> LeftFinding:
    finding = each.result.finding
    place = finding.location if applied else plan.places.get(said(each.result), finding.location)
    return LeftFinding(
        id=each.result.id, status=finding.status, subject=finding.subject, message=message(finding),
        file=place.file if place else None, line=place.line if place else None,
        reason=each.reason, refused=each.refused,
    )  # fmt: skip


def _steps(file: str, fixed: tuple[FixedFinding, ...]) -> tuple[FixStep, ...]:
    services = tuple(dict.fromkeys(e.subject.removeprefix("service:") for e in fixed if e.subject[:8] == "service:"))
    if not services:
        return ()
    from gpudoctor.reports.words import fill_command

    command = "docker compose -f {file} up -d --force-recreate {services}"
    recreate = FixStep(
        "A running container keeps what it was started with: recreate it, which is what brings its GPUs back."
        if any(each.id in _GPU_CHECKS for each in fixed)
        else "A running container keeps what it was started with: recreate it.",
        fill_command(command, {"file": file, "services": services}),
        "stops the service: running requests are lost and the model is loaded again",
    )
    if not any(each.id in _GPU_CHECKS for each in fixed):
        return (recreate,)
    exposure = FixStep(
        "The new container can lose its GPUs in the same way, at the next systemctl daemon-reload or container update "
        "on a host where NVIDIA's hook hands them over. Only CDI (container toolkit 1.18 or newer), every device named "
        "under devices: with its links in /dev/char, or the cgroup driver cgroupfs (against daemon-reload) ends that."
    )
    return recreate, exposure
