"""Running checks over a snapshot: every check yields a verdict, and nothing disappears."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gpudoctor.checking.finding import Finding, Result, skipped, step, unknown
from gpudoctor.checking.foreign import pass_on, quiet, sound
from gpudoctor.checking.needs import NotKnown
from gpudoctor.checking.policy import Policy
from gpudoctor.checking.registry import Check
from gpudoctor.checking.target import Target
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.snapshot import Snapshot


def run_checks(checks: Iterable[Check], snapshot: Snapshot, target: Target, policy: Policy) -> list[Result]:
    """Run each check and return at least one result for each, in the order of the checks.

    A check that raises, yields nothing, or yields something else becomes ``unknown`` under its id.
    """
    results: list[Result] = []
    for each in checks:
        started = time.perf_counter()
        findings = list(_judge(each, snapshot, target, policy)) or [
            unknown("host", "the check found nothing to judge", fix=_report_bug(each))
        ]
        spent = round(time.perf_counter() - started, 4)
        results.extend(Result(id=each.id, finding=finding, duration_s=spent) for finding in findings)
    return results


def _judge(each: Check, snapshot: Snapshot, target: Target, policy: Policy) -> Iterator[Finding]:
    facts: dict[str, Any] = {}
    for name, takes_failure in each.wants.items():
        if name == "gpu":
            continue
        value = target if name == "target" else policy if name == "policy" else getattr(snapshot, name)
        if isinstance(value, Unavailable) and not takes_failure:
            yield _missing(name, value)
            return
        facts[name] = value
    if "gpu" not in each.wants:
        yield from _call(each, facts, "host")
        return
    yield from _each_gpu(each, facts, snapshot.gpus, target)


def _each_gpu(
    each: Check, facts: Mapping[str, Any], section: Gpus | Unavailable, target: Target
) -> Iterator[Finding]:
    if isinstance(section, Unavailable):
        yield _missing("gpus", section)
        return
    if not section.gpus:
        yield skipped("host", "no NVIDIA GPU answers through NVML")
        return
    chosen = [gpu for gpu in section.gpus if target.chosen(gpu.index)]
    if not chosen:
        yield skipped("host", "none of the GPUs chosen with --gpus is here")
    for gpu in chosen:
        if gpu.failure is not None:
            yield skipped(gpu.subject, "the GPU did not answer: {failure}", failure=gpu.failure)
        else:
            yield from _call(each, {**facts, "gpu": gpu}, gpu.subject)


def _call(each: Check, facts: Mapping[str, Any], subject: str) -> Iterator[Finding]:
    got: list[Finding] = []
    try:
        with quiet():
            got.extend(map(sound, each.function(**facts)))
    except NotKnown as gap:
        got.append(_gap(subject, gap.fact))
    except BaseException as error:
        pass_on(error)
        got.append(
            unknown(
                subject,
                "the check itself crashed: {error}",
                error=f"{type(error).__name__}: {error}"[:300],
                fix=_report_bug(each),
            )
        )
    if not got and "gpu" in facts and isinstance(facts["gpu"], Gpu):
        got.append(unknown(subject, "the check found nothing to judge", fix=_report_bug(each)))
    yield from got


def _gap(subject: str, fact: Unavailable) -> Finding:
    if fact.harmless:
        return skipped(subject, "nothing to judge: {reason}", reason=fact.reason)
    return unknown(subject, "could not be read: {reason}", reason=fact.reason)


def _missing(section: str, fact: Unavailable) -> Finding:
    return skipped("host", "needs {section}: {reason}", section=section, reason=fact.reason)


def _report_bug(each: Check) -> Iterable[Any]:
    return (step("Report this as a defect of {package}, with the output of gpudoctor snapshot --redact.",
                 package=each.package),)
