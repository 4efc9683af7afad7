"""From results to a verdict and an exit code: one rule for every command that judges."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import msgspec

from gpudoctor.checking.causes import link
from gpudoctor.checking.finding import STATUSES, Result, Step
from gpudoctor.checking.policy import Policy
from gpudoctor.checking.registry import Check

Verdict = Literal["pass", "warn", "unknown", "fail"]
FailOn = Literal["never", "warn", "fail"]

#: Sections whose gatekeeper's ``unknown`` means that there is no verdict (exit code 3). That of ``docker`` skips where
#: no engine is installed and no Compose file is given.
#: ``docker``'s keeper skips where no engine is installed and no container is wanted, so that it decides only then.
DECIDING_SECTIONS: tuple[str, ...] = ("pci", "driver", "gpus", "docker")
#: Those of them that show whether there is a GPU.
GPU_SECTIONS: tuple[str, ...] = DECIDING_SECTIONS[:3]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """All results in their final order, counted, with verdict and exit code (0, 1 or 3)."""

    results: tuple[Result, ...]
    summary: dict[str, int]
    verdict: Verdict
    exit_code: int


def judge(
    results: Iterable[Result],
    *,
    policy: Policy,
    gatekeepers: Mapping[str, str],
    required: Collection[str] = (),
    fail_on: FailOn = "fail",
) -> Judgement:
    """Accept what the policy accepts, link causes, count, and decide.

    Args:
        results: What the checks said.
        policy: Holds the acceptances.
        gatekeepers: Check id by section, for the sections this run was asked to judge.
        required: Ids whose ``unknown`` decides as a gatekeeper's does (``--require``).
        fail_on: The least status that makes exit code 1.
    """
    deciding = {gatekeepers[s] for s in DECIDING_SECTIONS if s in gatekeepers} | set(required)
    ordered = link([_accept(result, policy, deciding) for result in results])
    open_results = [r for r in ordered if r.accepted is None]
    blocking = {"fail": ("fail",), "warn": ("fail", "warn"), "never": ()}[fail_on]
    statuses = {r.status for r in open_results}
    undecided = any(r.status == "unknown" and r.id in deciding for r in open_results)
    exit_code = 1 if statuses & set(blocking) else 3 if undecided else 0
    verdict: Verdict = (
        "fail" if "fail" in statuses else "unknown" if undecided else "warn" if "warn" in statuses else "pass"
    )
    summary: dict[str, int] = {status: sum(r.status == status for r in open_results) for status in STATUSES}
    summary["accepted"] = len(ordered) - len(open_results)
    return Judgement(results=tuple(ordered), summary=summary, verdict=verdict, exit_code=exit_code)


def _accept(result: Result, policy: Policy, deciding: Collection[str]) -> Result:
    if result.status not in ("fail", "warn", "unknown"):
        return result
    # Who accepts "driver.*" lives with faults that were seen, not with a driver that hangs or cannot be looked at.
    blind = result.status in ("fail", "unknown") and result.id in deciding
    acceptance, expired = policy.acceptance(result.id, result.subject, by_name=blind)
    if acceptance is not None:
        return msgspec.structs.replace(result, accepted=acceptance)
    if expired is None:
        return result
    note = Step("Its acceptance in the configuration ended on {until}: renew it there, or mend this.", None, None,
                {"until": expired})
    finding = msgspec.structs.replace(result.finding, fix=(*result.finding.fix, note))
    return msgspec.structs.replace(result, finding=finding)


def gatekeepers_of(checks: Iterable[Check]) -> dict[str, str]:
    """Return the gatekeeper's check id by section."""
    return {each.gatekeeper_of: each.id for each in checks if each.gatekeeper_of is not None}
