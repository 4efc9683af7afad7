"""What people wrote of late answers: the cause where the rest of the paste tells it, else what to paste next.

Sources: https://docs.ollama.com/faq (parallel requests, keep_alive, queueing),
https://docs.vllm.ai/en/latest/configuration/optimization/ (preemption, the figures of its log).
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from gpudoctor.checking.finding import Evidence, Finding, Result, Step, saw, step, unknown, warned
from gpudoctor.facts.signatures import COMPLAINT, Signatures
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.pasted_fit import ask_fit, start_of

LINKS = ("https://docs.ollama.com/faq", "https://docs.vllm.ai/en/latest/configuration/optimization/")
#: Areas of which a finding is likelier the answer than any question.
_ANSWERS = ("serving.", "gpu.", "proxy.", "compose.parallel", "compose.context", "host.oom", "container.gpu", "docker.",
            "driver.", "engine.", "torch.", "env.visible")  # fmt: skip

#: A KV cache so full takes no new request of any length.
_FULL = 0.95

_MEASURE = step("On that machine measure it: it asks for short answers, alone and at once.",
                "gpudoctor serving --live --concurrency 1,4,16")  # fmt: skip
_OLLAMA_PS = step("Paste this while it is slow: \"CPU\" in it means that the model does not fit on the GPUs.",
                  "ollama ps; nvidia-smi")  # fmt: skip
_OLLAMA_LOG = step("Paste Ollama's log from its start: it names how many it serves at once, and every load.",
                   "journalctl -u ollama -b --no-pager   # or: docker logs ollama")  # fmt: skip
_VLLM_LOG = step("Paste vLLM's own figures: \"Waiting\" above 0 is a queue, a KV cache near 100 % one that is short.",
                 "docker logs VLLM 2>&1 | grep -E 'Running:|Waiting:|preempt' | tail -20")  # fmt: skip


class _Kind(NamedTuple):
    check: str
    message: str
    ways: tuple[Step, ...]


def said(check: str, message: str, *ways: Step) -> _Kind:
    """Name the check that a complaint belongs to, its question, and what can be tried before any answer."""
    return _Kind(check, message, ways)


_ASKED: dict[str, _Kind] = {
    "together": said(
        "serving.queueing",
        "late when several ask at once: a queue, a KV cache that is short, or a model partly on the CPU; what you "
        "pasted does not tell which",
    ),
    "first": said(
        "serving.slow",
        "the first word comes late: a load before it, a queue, a long prompt or the CPU; what you pasted does not tell "
        "which",
        step("Ask the same twice within a minute: if only the first is late, the model was loaded for it."),
    ),
    "reload": said(
        "serving.load-slow",
        "the model is loaded again and again: unloaded when idle, or pushed out by another model; what you pasted does "
        "not tell which",
        step("Ollama unloads a model five minutes after the last request unless told otherwise.",
             "OLLAMA_KEEP_ALIVE=-1 ollama serve"),
    ),
    "slow": said(
        "serving.slow",
        "slow, and what you pasted does not tell why: a model partly on the CPU is the most common cause",
    ),
}  # fmt: skip


def asked(results: Sequence[Result], facts: Snapshot, ids: Collection[str]) -> list[Result]:
    """Return a finding for each complaint that no finding answers."""
    log = facts.signatures
    if not isinstance(log, Signatures):
        return []
    problems = [each for each in results if each.status in ("fail", "warn")]
    if any(each.id.startswith(_ANSWERS) for each in problems):
        return []
    found: dict[str, Finding] = {}
    for name, sentence in log.stated.items():
        kind = _ASKED.get(name.removeprefix(COMPLAINT)) if name.startswith(COMPLAINT) else None
        if kind is not None and kind.check in ids:
            finding = _known(name.removeprefix(COMPLAINT), sentence, log, facts) or _question(kind, sentence, log)
            found.setdefault(kind.check, finding)
    return [Result(id=check, finding=finding) for check, finding in found.items()]


def _known(name: str, sentence: str, log: Signatures, facts: Snapshot) -> Finding | None:
    """Return the cause where Ollama's own settings in the paste are one."""
    seen = saw("you wrote", sentence, "what you pasted")
    if name != "reload" and (crowded := _crowded(seen, log, facts)) is not None:
        return crowded
    ask = ask_fit(start_of(log, facts, "ollama"), facts)
    if name == "together" and log.stated.get("ollama parallel") == "1":
        return warned(
            "host", "Ollama serves one request at a time here, and several ask at once: the others wait",
            evidence=(seen, saw("OLLAMA_NUM_PARALLEL", 1, "Ollama's log")), links=LINKS[:1],
            fix=(step("Serve more at once, as many as fit: each has its own KV cache.",
                      "OLLAMA_NUM_PARALLEL=COUNT ollama serve", risk="restarts the service"), ask),
        )  # fmt: skip
    if name == "reload" and (kept := log.stated.get("ollama keep alive")) and not kept.startswith("-"):
        return warned(
            "host", "Ollama unloads a model {kept} after its last request; the next one waits for the load",
            kept=kept, evidence=(seen, saw("OLLAMA_KEEP_ALIVE", kept, "Ollama's log")), links=LINKS[:1],
            fix=(step("Keep models loaded.", "OLLAMA_KEEP_ALIVE=-1 ollama serve", risk="restarts the service"),
                 step("If two models take turns, see whether both fit at once.", "gpudoctor plan --help")),
        )  # fmt: skip
    return None


def _crowded(seen: Evidence, log: Signatures, facts: Snapshot) -> Finding | None:
    """Return what the engine's own figures tell: requests wait, for want of KV cache or of slots."""
    waiting, running = int(log.stated.get("load waiting", "0")), int(log.stated.get("load running", "0"))
    usage = float(log.stated.get("load kv usage", "0"))
    if not waiting:
        return None
    seen_all = (seen, saw("running", running, "the log"), saw("waiting", waiting, "the log"),
                saw("KV cache in use", f"{usage:.1%}", "the log"))  # fmt: skip
    start = start_of(log, facts, None)
    if usage >= _FULL:
        return warned(
            "host", "the KV cache is {usage:.0%} full, so {waiting} requests wait while {running} run", usage=usage,
            waiting=waiting, running=running, evidence=seen_all, links=LINKS[1:],
            fix=(step("Make room in it: half its size with FP8, a shorter longest sequence, more GPUs, or a second "
                      "engine beside this one.", "vllm serve MODEL --kv-cache-dtype fp8"), ask_fit(start, facts)),
        )  # fmt: skip
    return warned(
        "host", "{waiting} requests wait while {running} run, though the KV cache has room ({usage:.0%} in use)",
        usage=usage, waiting=waiting, running=running, evidence=seen_all, links=LINKS[1:],
        fix=(step("Let more run at once: raise the limit of sequences, or of tokens in one batch.",
                  "vllm serve MODEL --max-num-seqs COUNT"), ask_fit(start, facts)),
    )  # fmt: skip


def _question(kind: _Kind, sentence: str, log: Signatures) -> Finding:
    more = (_OLLAMA_PS, _OLLAMA_LOG) if kind.check == "serving.load-slow" else tuple(_what_next(log))
    return unknown("host", kind.message, evidence=saw("you wrote", sentence, "what you pasted"), links=LINKS,
                   fix=(*kind.ways, *more, _MEASURE))  # fmt: skip


def _what_next(log: Signatures) -> Iterator[Step]:
    ollama, vllm = "engine:llama" in log.context, "engine:vllm" in log.context
    if ollama or not vllm:
        yield _OLLAMA_PS
        yield _OLLAMA_LOG
    if vllm or not ollama:
        yield _VLLM_LOG
