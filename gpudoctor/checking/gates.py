"""What keeps a green report honest: no choice of checks, and no forged fact, may turn "not looked" into "ready"."""

from collections.abc import Iterable, Sequence

from gpudoctor.checking.finding import Finding, Result, failed, saw, skipped, step, unknown
from gpudoctor.checking.policy import Policy
from gpudoctor.checking.registry import Check
from gpudoctor.checking.run import run_checks
from gpudoctor.checking.selection import Selection
from gpudoctor.checking.target import Target
from gpudoctor.checking.verdict import DECIDING_SECTIONS
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.snapshot import Snapshot


def left_out_results(selection: Selection, facts: Snapshot, target: Target, policy: Policy) -> list[Result]:
    """Return a result for each check that --skip leaves out.

    A gatekeeper cannot be left out where its section gave nothing and other checks were to judge by it: all of
    them would skip, and that would look like a pass.
    """
    return [
        Result(id=each.id, finding=_blind(each, selection, facts, target, policy) or skipped("host", LEFT_OUT))
        for each in selection.left_out
    ]


LEFT_OUT = "left out with --skip"


def _blind(
    each: Check, selection: Selection, facts: Snapshot, target: Target, policy: Policy
) -> Finding | None:
    section = each.gatekeeper_of
    if section not in DECIDING_SECTIONS or section not in selection.sections:
        return None
    fact = getattr(facts, section)
    if isinstance(fact, Unavailable):
        reason: str | None = fact.reason
    elif isinstance(fact, Gpus) and fact.error_code is not None:
        reason = fact.error
    elif isinstance(fact, Pci) and isinstance(facts.gpus, Gpus) and not facts.gpus.gpus:
        reason = "NVML lists no GPU"
    else:
        return None
    if all(result.status not in ("fail", "unknown") for result in run_checks((each,), facts, target, policy)):
        return None
    return unknown(
        "host",
        "left out with --skip, but the checks that rest on it could not look: {reason}",
        reason=reason,
        fix=step("Leave them out, too, or let this one speak."),
    )


def absent_gpus(selection: Selection, facts: Snapshot, target: Target) -> list[Result]:
    """Return a failure for each GPU that --gpus names and NVML does not list: every check of it would skip."""
    gpus = facts.gpus
    if target.gpus is None or "gpus" not in selection.sections:
        return []
    if isinstance(gpus, Unavailable) or gpus.error_code is not None or not gpus.gpus:
        return []
    here = [gpu.index for gpu in gpus.gpus]
    return [
        Result(
            id="gpu.count-short",
            finding=failed(
                f"gpu:{index}",
                "GPU {index}, chosen with --gpus, is not here",
                index=index,
                evidence=saw("GPUs that NVML lists", tuple(here), "nvmlDeviceGetCount_v2"),
                fix=step("Choose among those that are here.", "nvidia-smi -L"),
            ),
        )
        for index in target.gpus
        if index not in here
    ]


def nothing_decided(keepers: Sequence[Check], results: Iterable[Result], target: Target) -> list[Result]:
    """Return one ``unknown`` where every gatekeeper says that there is nothing to judge, though a GPU is wanted."""
    ids = {each.id for each in keepers}
    said = [result for result in results if result.id in ids]
    if not said or not target.wants_gpu or any(result.status != "skip" for result in said):
        return []
    return [
        Result(
            id=said[0].id,
            finding=unknown(
                "host",
                "nothing here shows whether there is a GPU",
                fix=step("If this machine is meant to have none, say so.", "gpudoctor check --expect-gpus 0"),
            ),
        )
    ]
