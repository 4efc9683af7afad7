"""The engine of checks: findings, the @check mark, running, causes, selection, plug-ins, policy.

A check imports from here and from ``gpudoctor.facts``.
"""

from gpudoctor.checking.finding import (
    Evidence,
    Finding,
    Location,
    Result,
    Status,
    Step,
    failed,
    noted,
    passed,
    saw,
    skipped,
    step,
    unknown,
    warned,
)
from gpudoctor.checking.needs import NotKnown, known, need
from gpudoctor.checking.policy import Policy
from gpudoctor.checking.registry import Check, check
from gpudoctor.checking.target import Target

__all__ = [
    "Check",
    "Evidence",
    "Finding",
    "Location",
    "NotKnown",
    "Policy",
    "Result",
    "Status",
    "Step",
    "Target",
    "check",
    "failed",
    "known",
    "need",
    "noted",
    "passed",
    "saw",
    "skipped",
    "step",
    "unknown",
    "warned",
]
