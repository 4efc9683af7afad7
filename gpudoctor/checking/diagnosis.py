"""Judging a paste: what the checks find in its facts, and what its log lines prove, ranked by what tells most."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from gpudoctor.checking.causes import EXPLAINS, link
from gpudoctor.checking.finding import Evidence, Finding, Result, Step, saw, skipped
from gpudoctor.checking.registry import Check
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.kernel_log import KernelLog
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.signatures import NOT_PASTED, PASTED_ENVIRONMENT, PASTED_OLLAMA, Signatures
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.complaints import asked
from gpudoctor.judging.log_findings import told, weight

#: What the causes of ``check`` leave open because only logs show it. Read after them.
EXPLAINS_IN_LOGS: dict[str, tuple[str, ...]] = {
    "docker.confined": ("driver.nvml-unusable",),
    "container.gpu-lost": ("driver.nvml-unusable", "env.visible-devices", "serving.unreachable", "driver.not-loaded"),
    "container.gpu-invisible": ("env.visible-devices",),
    "container.shm-too-small": ("gpu.p2p-broken", "host.disk-short"),
    "driver.not-loaded": ("env.visible-devices",),
    "gpu.xid": ("serving.nccl-failed", "serving.load-failed", "container.gpu-lost"),
    "gpu.not-responding": ("container.gpu-lost", "driver.not-loaded", "driver.uvm-broken", "serving.nccl-failed"),
    "gpu.fabric-manager-missing": ("env.visible-devices", "serving.nccl-failed"),
    "gpu.p2p-broken": ("serving.nccl-failed",),
    "engine.driver-too-old": ("serving.offload-partial",),
    "engine.gpu-unsupported": ("serving.offload-partial",),
    "host.oom-kills": ("serving.load-failed", "serving.nccl-failed"),
    "host.ram-short": ("serving.load-failed", "host.oom-kills"),
    "serving.offload-partial": ("serving.slow",),
    "torch.cpu-only": ("env.visible-devices", "serving.load-failed"),
    "env.visible-devices": ("serving.load-failed",),
    "serving.kv-short": ("serving.load-failed",),
    "serving.out-of-memory": ("serving.load-failed",),
}  # fmt: skip


#: A shorter text is a word or a figure, and may be the same by chance.
_LEAST_LINE = 30


def with_log(results: Sequence[Result], checks: Iterable[Check], facts: Snapshot, ids: Collection[str]) -> list[Result]:
    """Return the results with what the log proves, the best proved first.

    Args:
        results: What the checks said of the facts.
        checks: All checks; those that ask for the log have judged it themselves.
        facts: The paste.
        ids: The checks that were chosen. What a log proves under an id that no check has is told all the same.
    """
    log = facts.signatures
    if not isinstance(log, Signatures):
        return list(results)
    checks = tuple(checks)
    known_ids = {each.id for each in checks}
    themselves = {each.id for each in checks if "signatures" in each.wants}
    found: list[Result] = []
    replaced: set[int] = set()
    for check in dict.fromkeys(match.check for match in log.matches):
        if check in known_ids and check not in ids:
            continue
        own = [number for number, result in enumerate(results) if result.id == check and not _by_piece(result)]
        for finding in told(log, check, facts):
            seen = [number for number in own if results[number].status in ("fail", "warn")]
            strong = [n for n in seen if results[n].status == "fail" or finding.status != "fail"]
            known = strong[0] if strong and check not in themselves else None
            same = [n for n in seen if not strong and results[n].finding.subject == finding.subject]
            if known is not None:
                # The facts say it too, and about what; the log is more evidence.
                both = results[known].finding
                merged = msgspec.structs.replace(both, evidence=_once((*both.evidence, *finding.evidence)),
                                                 location=both.location or finding.location)
                found.append(msgspec.structs.replace(results[known], finding=merged))
                replaced.add(known)
            else:
                # What the facts say less of, and of the same, is evidence of it.
                more = tuple(each for n in same for each in results[n].finding.evidence)
                finding = msgspec.structs.replace(finding, evidence=_once((*finding.evidence, *more)))
                found.append(Result(id=check, finding=finding))
                replaced.update(same)
            gone = own if check in themselves else [n for n in own if results[n].status not in ("fail", "warn")]
            replaced.update(gone)
    variables = facts.host.environment if isinstance(facts.host, Host) else {}
    left = [result for number, result in enumerate(results) if number not in replaced]
    left = [_placed(_silent(result, variables), facts) for result in left if not _own_memory(result, facts)]
    merged_results = [*found, *_reported(log, [*found, *left]), *left]
    questions = asked(merged_results, facts, ids)
    if questions:
        merged_results = _with_questions(merged_results, questions)
    return sorted(_or_nothing(merged_results, log), key=lambda result: -weight(log, result.id))


def _with_questions(results: list[Result], questions: list[Result]) -> list[Result]:
    """Let a question stand in place of what its check had nothing to say to, and of the word that nothing is known."""
    own = {each.id for each in questions}
    nothing = skipped("host", "what to paste next is asked elsewhere")
    kept = [*questions]
    for each in results:
        if each.id == "serving.load-failed" and each.status == "unknown" and not _by_piece(each):
            kept.append(msgspec.structs.replace(each, finding=nothing))
        elif each.id not in own or each.status in ("fail", "warn", "info"):
            kept.append(each)
    return kept


def _once(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Leave out a line that another piece of evidence quotes whole, with its place or its time."""
    texts = [each.value if isinstance(each.value, str) else "" for each in evidence]

    def repeated(number: int) -> bool:
        own = texts[number]
        return len(own) >= _LEAST_LINE and any(
            own in other and (len(other) > len(own) or place < number) for place, other in enumerate(texts)
            if place != number
        )  # fmt: skip

    return tuple(each for number, each in enumerate(evidence) if not repeated(number))


def _or_nothing(results: list[Result], log: Signatures) -> list[Result]:
    """Where everything was skipped nobody looked at anything, and that is no verdict."""
    if any(each.status != "skip" for each in results):
        return results
    kinds = tuple(dict.fromkeys(piece.kind for piece in log.pieces))
    nothing = Finding(status="unknown", subject="host", message="nothing in what you pasted can be judged",
                      evidence=(saw("read as", kinds, "what you pasted"),),
                      fix=(Step("Paste also the engine's log from its start, and what these say.",
                                "nvidia-smi; docker info"),))  # fmt: skip
    return [msgspec.structs.replace(each, finding=nothing) if each.id == "serving.load-failed" else each
            for each in results]  # fmt: skip


def _reported(log: Signatures, results: Sequence[Result]) -> list[Result]:
    """Return what a pasted report of gpudoctor says beyond what was found here."""
    known = {(each.id, each.subject) for each in results if each.status in ("fail", "warn")}
    return [
        Result(
            id=each.id,
            finding=Finding(
                status=each.status,
                subject=each.subject,
                message="{told}",
                params={"told": each.message},
                evidence=tuple(saw(*seen) for seen in each.seen),
                fix=tuple(Step("{words}", "{line}" if line else None, risk, {"words": words, "line": line})
                          for words, line, risk in each.fix),
            ),
        )
        for each in log.reported
        if (each.id, each.subject) not in known
    ]


def _own_memory(result: Result, facts: Snapshot) -> bool:
    """Tell whether the memory in use is that of the Ollama whose list was pasted: it is no other program's."""
    if result.id != "gpu.memory-in-use" or not isinstance(facts.serving, Serving) or not isinstance(facts.gpus, Gpus):
        return False
    own = {pid for each in facts.serving.endpoints if each.url == PASTED_OLLAMA for pid in each.pids}
    gpu = next((gpu for gpu in facts.gpus.gpus if gpu.subject == result.finding.subject), None)
    holders = {each.pid for each in gpu.processes} if gpu is not None and isinstance(gpu.processes, tuple) else set()
    return bool(holders) and holders <= own


def _placed(result: Result, facts: Snapshot) -> Result:
    """Name the file, and its section, where the kernel's words stood."""
    seen = result.finding.evidence
    if not isinstance(facts.kernel_log, KernelLog) or not any(each.source == "kernel log" for each in seen):
        return result
    place = facts.kernel_log.source
    evidence = tuple(msgspec.structs.replace(e, source=place) if e.source == "kernel log" else e for e in seen)
    return msgspec.structs.replace(result, finding=msgspec.structs.replace(result.finding, evidence=evidence))


def _by_piece(result: Result) -> bool:
    return result.subject.startswith("file:")


def _silent(result: Result, environment: Mapping[str, str]) -> Result:
    """A section that nobody pasted is nothing that could not be read, and no variable that was told is no pass."""
    finding = result.finding
    untold = result.id.startswith("env.") and not environment
    untold = untold or (result.id == "serving.unreachable" and finding.subject == f"endpoint:{PASTED_OLLAMA}")
    if result.status == "pass" and untold:
        nothing = skipped(finding.subject, "nothing to judge: {reason}", reason=NOT_PASTED.reason)
        return msgspec.structs.replace(result, finding=nothing)
    reasons = (finding.params.get("reason"), finding.params.get("failure"))
    silent = NOT_PASTED.reason in reasons or finding.subject == PASTED_ENVIRONMENT
    if result.status != "unknown" or not silent:
        return result
    skip = skipped(finding.subject, finding.message, evidence=finding.evidence, **finding.params)
    return msgspec.structs.replace(result, finding=skip)


def ranked(results: Sequence[Result]) -> tuple[Result, ...]:
    """Return judged results with the causes that only logs show, best proved first within one status."""
    graph = {**EXPLAINS}
    for cause, symptoms in EXPLAINS_IN_LOGS.items():
        graph[cause] = (*graph.get(cause, ()), *symptoms)
    return tuple(link(results, graph))
