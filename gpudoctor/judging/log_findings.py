"""Findings that a log proves by itself: the matches of known lines, put into the words of their check."""

from collections.abc import Iterator, Mapping

import msgspec

from gpudoctor.checking.finding import Evidence, Finding, Location, Step, Value, saw, skipped
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.signatures import LogMatch, Signatures
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.log_remedies import remedy
from gpudoctor.judging.module_build import other_kernel, refuted
from gpudoctor.matrices import signatures as table

_MOST_LINES = 5
#: Troubles of a build, for which people blame the CUDA version in nvidia-smi's head.
_NOT_BY_CEILING = frozenset(
    {"torch.arch-missing", "torch.cpu-only", "stack.library-shadowed", "stack.nvcc-missing",
     "stack.nvrtc-headers-missing", "stack.cudnn", "engine.cuda-runtime-missing"}
)  # fmt: skip


def told(log: Signatures, check: str, facts: Snapshot | None = None) -> Iterator[Finding]:
    """Yield the one finding that the log proves for a check, none when it proves nothing.

    The weightiest line gives the words; the others are evidence beside it.
    """
    matches = log.of(check)
    if not matches or check not in table.verdicts():
        return
    verdict = table.verdicts()[check]
    first = matches[0]
    signature = table.by_key().get(first.signature)
    values: dict[str, Value] = {name: value for match in reversed(matches) for name, value in match.values.items()}
    own = signature.message if signature is not None and signature.message else None
    question = _question(log, check, matches, facts)
    built = other_kernel(facts) if check == "driver.not-loaded" else None
    ways = tuple(Step(way.text, way.command, way.risk) for way in verdict.fix)
    yield Finding(
        status=(signature.status if signature is not None else None) or verdict.status,
        subject="host",
        message=own or verdict.message,
        params=values,
        evidence=(*_lines(matches), *(built.evidence if built else ()), *_look_alike(check, facts),
                  *_undecided(question)),
        fix=(*(built.fix if built else ()), *_asked(question),
             *(remedy(verdict.remedy, values, log, facts) if verdict.remedy else ()), *ways),
        location=Location(first.file, first.line),
        links=links(matches),
    )


def _lines(matches: tuple[LogMatch, ...]) -> tuple[Evidence, ...]:
    by_text = {match.text: match for match in reversed(matches)}
    distinct = [match for match in matches if by_text[match.text] is match]
    return tuple(saw(_place(match), match.text, match.file) for match in distinct[:_MOST_LINES])


def _question(
    log: Signatures, check: str, matches: tuple[LogMatch, ...], facts: Snapshot | None
) -> table.Question | None:
    """Return what to ask because the lines have other causes, too; None once the paste decides."""
    question = table.questions().get(check)
    if question is None or set(question.unless) & set(log.context):
        return None
    if any(match.signature not in question.signatures for match in matches):
        return None
    others = {answer.means for answer in question.answers} - {check}
    if any(match.check in others for match in log.matches):
        return None
    if check != "driver.not-loaded":
        return question
    # What another piece of the paste answers is not asked again.
    out = refuted(facts)
    left = tuple(answer for answer in question.answers if answer.means not in out)
    return msgspec.structs.replace(question, answers=left) if left and other_kernel(facts) is None else None


def _undecided(question: table.Question | None) -> tuple[Evidence, ...]:
    if question is None:
        return ()
    return (saw("causes left", tuple(dict.fromkeys(answer.means for answer in question.answers)), "what you pasted"),)


def _asked(question: table.Question | None) -> tuple[Step, ...]:
    if question is None:
        return ()
    answers = "; ".join(f"{answer.says}: {answer.means}" for answer in question.answers)
    return (Step(f"{question.ask} Paste what this says, too ({answers}).", question.command),)


def _look_alike(check: str, facts: Snapshot | None) -> tuple[Evidence, ...]:
    """Name what stands in the same paste, is often blamed for this, and is not the cause."""
    gpus = facts.gpus if facts is not None else None
    if check not in _NOT_BY_CEILING or not isinstance(gpus, Gpus) or not isinstance(gpus.cuda_version, int):
        return ()
    shown = f"{gpus.cuda_version // 1000}.{gpus.cuda_version % 1000 // 10}"
    text = f"CUDA {shown} of the driver: it is a ceiling, no toolkit and no build"
    return (saw("not the cause", text, "nvidia-smi"),)


def _place(match: LogMatch) -> str:
    return f"line {match.line}" + (f" and {match.count - 1} more" if match.count > 1 else "")


def weight(log: Signatures, check: str) -> int:
    """Return how much the log tells for a check: the best line, and a little for every other."""
    known = table.by_key()
    weights = [known[match.signature].weight for match in log.of(check) if match.signature in known]
    return max(weights, default=0) + len(weights) - 1 if weights else 0


def links(matches: tuple[LogMatch, ...]) -> tuple[str, ...]:
    """Return where the meaning of these lines is written."""
    known: Mapping[str, table.Signature] = table.by_key()
    keys = (known[match.signature].source for match in matches if match.signature in known)
    return tuple(dict.fromkeys(table.table().source(key).url for key in keys))


def judge_log(log: Signatures, check: str) -> Iterator[Finding]:
    """Yield what the log proves for a check that only logs can prove, or that no line says so."""
    found = tuple(told(log, check))
    yield from found
    if not found:
        yield skipped("host", "no line of what you pasted says so")
