"""The driver wrote Xid errors about a GPU to the kernel log.

## Why it matters
An Xid number is the driver's word for what went wrong on a GPU. Some need a reset or a reboot before the GPU can be
trusted, a few mean broken hardware; many are the fault of the program that ran (13, 31, 43, 45) and say nothing about
the machine. NVIDIA's catalogue names an action for each, and this check passes it on.

## How to fix
Do what the finding names. An error that lies before the last load of the driver, or the last reset of that GPU, is a
warning only. Where the log cannot be read, the check is "unknown": join the group systemd-journal or adm, or use sudo.

## References
- https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html
- https://docs.nvidia.com/deploy/xid-errors/index.html
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpudoctor.checking import (
    Evidence,
    Finding,
    Policy,
    Step,
    Target,
    check,
    failed,
    noted,
    passed,
    saw,
    skipped,
    step,
    unknown,
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelEvent, KernelLog
from gpudoctor.judging.cards import by_address
from gpudoctor.judging.remedies import reboot, reset_gpu
from gpudoctor.matrices.xid import Xid
from gpudoctor.matrices.xid import xid as lookup

CATALOGUE = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"
RECOVERY_ACTION = 154
RESET_ACTIONS = ("RESET_GPU", "WORKFLOW_XID_48", "WORKFLOW_NVLINK_ERR", "WORKFLOW_NVLINK5_ERR", "XID_154", "CHECK_UVM")
LET_READ = step("Let this user read the journal, then log in anew.", "sudo usermod -aG systemd-journal $USER")


class Case(NamedTuple):
    """All events of one number on one GPU."""

    status: str
    gpu: Gpu | None
    code: int
    row: Xid | None
    event: KernelEvent
    times: int

    @property
    def subject(self) -> str:
        """The GPU; a lost one may have no index any more."""
        return self.gpu.subject if self.gpu is not None else f"pci:{self.event.address or 'unknown'}"


@check(gatekeeper_of="kernel_log")
def xid(
    kernel_log: KernelLog | Unavailable,
    gpus: Gpus | Unavailable,
    host: Host | Unavailable,
    target: Target,
    policy: Policy,
) -> Iterator[Finding]:
    """Judge each number on each GPU once, by NVIDIA's action, age and resets."""
    if isinstance(kernel_log, Unavailable):
        if kernel_log.kind == "not-applicable":
            yield skipped("host", "there is no kernel log to read: {reason}", reason=kernel_log.reason)
        else:
            yield unknown(
                "host",
                "the kernel log could not be read: {reason}",
                reason=kernel_log.reason,
                fix=(LET_READ,) if kernel_log.kind == "no-permission" else (),
            )
        return
    cases = _cases(kernel_log, gpus, target, policy)
    for case in cases:
        yield _finding(case, host)
    if not cases:
        seen = (saw("source", kernel_log.source, "kernel log"),
                saw("goes back to the start of this boot", kernel_log.from_boot, "kernel log"))
        if kernel_log.from_boot:
            yield passed("host", "no Xid error since boot", evidence=seen)
        else:
            yield passed("host", "no Xid error in what is left of the kernel log, which lacks the start of this boot",
                         evidence=seen)


def _cases(log: KernelLog, gpus: Gpus | Unavailable, target: Target, policy: Policy) -> list[Case]:
    places = by_address(gpus)
    cases: dict[tuple[str | None, int], Case] = {}
    for event in log.of("xid", "fell-off-bus"):
        if event.code is None:
            continue
        gpu = places.get(event.address or "")
        row = lookup(event.code)
        status = _status(row, event, gpu, policy)
        if status == "fail" and gpu is not None and not target.chosen(gpu.index):
            status = "warn"
        place = (event.address, event.code)
        old = cases.get(place)
        if old is None:
            cases[place] = Case(status, gpu, event.code, row, event, event.count)
        else:
            worse = min((old.status, status), key=("fail", "warn", "info").index)
            kept = old.event if worse == old.status and worse != status else event
            cases[place] = Case(worse, gpu, event.code, row, kept, old.times + event.count)
    return list(cases.values())


def _status(row: Xid | None, event: KernelEvent, gpu: Gpu | None, policy: Policy) -> str:
    """Return fail, warn or info for one event."""
    severe = "fail" if event.after_driver_load else "warn"
    if row is None or row.verdict == "warn":
        return "warn"
    if row.verdict == "fail-until-reset":
        return severe
    if row.verdict == "fail-if-recurring":
        return severe if event.count > 1 else "warn"
    if row.verdict == "fail-if-fatal":
        return "info" if event.fatal is False else severe if event.fatal else "warn"
    if row.verdict == "warn-if-recent":
        recent = event.seconds_ago is None or event.seconds_ago < policy["xid_recent_seconds"]
        return "warn" if recent else "info"
    if row.verdict == "see":
        return _pointed_to(row, event, gpu, severe)
    return "info"


def _pointed_to(row: Xid, event: KernelEvent, gpu: Gpu | None, severe: str) -> str:
    """Where other checks judge the figure that a number points to, it is information here."""
    if row.see == "recovery-action":
        told = gpu is not None and isinstance(gpu.recovery_action, int)
        return "info" if told else severe if event.code == RECOVERY_ACTION else "warn"
    told = gpu is not None and not isinstance(gpu.ecc, Unavailable)
    return "info" if told else "warn"


def _finding(case: Case, host: Host | Unavailable) -> Finding:
    name = case.gpu.label if case.gpu is not None else "GPU"
    code, count, meaning = case.code, case.times, case.row.meaning if case.row is not None else ""
    program = case.event.process
    seen, fix = _evidence(case), tuple(_steps(case, host))
    if case.status == "fail":
        return failed(case.subject, "{name}: Xid {code} ({count}x): {meaning}", name=name, code=code, count=count,
                      meaning=meaning, evidence=seen, fix=fix, links=(CATALOGUE,))
    if case.row is None:
        return warned(case.subject, "{name}: Xid {code} ({count}x), a number that this gpudoctor does not know",
                      name=name, code=code, count=count, evidence=seen, fix=fix, links=(CATALOGUE,))
    if case.status == "warn" and not case.event.after_driver_load:
        return warned(
            case.subject,
            "{name}: Xid {code} ({count}x), before the driver was loaded anew or the GPU reset: {meaning}",
            name=name, code=code, count=count, meaning=meaning, evidence=seen,
            fix=step("Nothing now; if it returns, the GPU or its power and slot are at fault."), links=(CATALOGUE,),
        )
    if case.status == "warn" and case.row.program:
        return warned(
            case.subject,
            "{name}: Xid {code} ({count}x): {meaning}; usually the fault of the program ({program})",
            name=name, code=code, count=count, meaning=meaning, program=program or "not named", evidence=seen, fix=fix,
            links=(CATALOGUE,),
        )
    if case.status == "warn":
        return warned(case.subject, "{name}: Xid {code} ({count}x): {meaning}", name=name, code=code, count=count,
                      meaning=meaning, evidence=seen, fix=fix, links=(CATALOGUE,))
    return noted(case.subject, "{name}: Xid {code} ({count}x): {meaning}", name=name, code=code, count=count,
                 meaning=meaning, evidence=seen, links=(CATALOGUE,))


def _evidence(case: Case) -> tuple[Evidence, ...]:
    event = case.event
    return (
        saw("line", event.text, "kernel log"),
        saw("times", case.times, "kernel log"),
        saw("seconds since the last one", event.seconds_ago, "kernel log"),
        saw("NVIDIA's action", case.row.action if case.row is not None else None, "Xid catalogue"),
    )


def _steps(case: Case, host: Host | Unavailable) -> Iterable[Step]:
    action = case.row.action if case.row is not None else None
    if action in RESET_ACTIONS:
        if "NVLINK" in action:
            yield step("Check that the NVLink bridge or board is seated well.")
        if case.gpu is not None:
            yield reset_gpu(case.gpu.index)
        else:
            yield reboot(host)
    elif action in ("RESTART_BM", "CHECK_MECHANICALS"):
        yield step("Check the card's power cables, its slot or riser, and the temperatures.")
        yield step("Power the machine off and on; a reboot often does not bring the GPU back.",
                   risk="stops everything on this machine")
    elif action == "RESTART_APP":
        yield step("Restart the program; if it comes back with other programs too, run a diagnostic.",
                   "sudo dcgmi diag -r 3", risk="uses the GPUs for minutes")
    elif action == "RESTART_VM":
        yield step("Restart the virtual machine.")
    elif action == "UPDATE_SWFW":
        yield step("Bring the driver of host and guest to releases that fit each other.")
    else:
        yield step("Look the number up in NVIDIA's catalogue, and send the vendor the output of nvidia-bug-report.sh.",
                   "sudo nvidia-bug-report.sh")
