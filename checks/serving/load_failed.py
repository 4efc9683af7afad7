"""An engine could not load its model, and nothing says why; or nothing that was pasted could be judged.

## Why it matters
The last line of a log is seldom the cause: "engine core initialization failed" and "runner has terminated" only say
that something before them went wrong. What could not be read, or is not known, must not look like a healthy machine.

With `gpudoctor serving`: an engine that runs and answers nowhere, says that it still loads, or answers without a
model.

## How to fix
Paste the log from the engine's start, with the environment report of the engine (`python -m torch.utils.collect_env`,
`nvidia-smi`, `docker info`) beside it.

## References
- https://docs.vllm.ai/en/latest/usage/troubleshooting/
- https://docs.ollama.com/troubleshooting
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.network import Processes
from gpudoctor.facts.serving import Endpoint, Serving
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import told
from gpudoctor.judging.presence import closed_gate

_PASTE_MORE = (
    step("Paste the log from the engine's start, not only its end."),
    step("Paste what these say, too.", "nvidia-smi; python -m torch.utils.collect_env; docker info"),
)
_READ_LOG = step("Read its log from the start, or have it read.", "gpudoctor diagnose LOG")


@check(gatekeeper_of="signatures")
def load_failed(
    signatures: Signatures | Unavailable, serving: Serving | Unavailable, processes: Processes | Unavailable
) -> Iterator[Finding]:
    """Judge what a log says, whether what was pasted could be judged at all, and engines without a model."""
    if isinstance(serving, Serving):
        yield from _at_work(serving, processes)
        return
    if isinstance(signatures, Unavailable):
        yield closed_gate("pasted log", signatures)
        return
    for piece in signatures.pieces:
        if piece.problem is not None:
            yield unknown(f"file:{piece.file}", "could not be read: {problem}", problem=piece.problem,
                          fix=step("Paste it as plain text, or as the gzip file that the tool wrote."))
    found = tuple(told(signatures, "serving.load-failed"))
    yield from found
    if not signatures.matches and all(piece.kind in ("text", "unreadable") for piece in signatures.pieces):
        yield unknown("host", "nothing in what you pasted is known: no error line, no environment report",
                      evidence=tuple(saw("read as text", piece.kind, piece.file) for piece in signatures.pieces[:5]),
                      fix=_PASTE_MORE)
    elif not found:
        yield _no_trouble(signatures) or skipped("host", "no line of what you pasted says so")


def _no_trouble(signatures: Signatures) -> Finding | None:
    """Say how much of which logs was read without a known trouble: no more is known, but no less."""
    lines = {piece.file: piece.lines for piece in signatures.pieces if piece.lines is not None}
    if not lines or signatures.matches:
        return None
    logs = tuple(dict.fromkeys(piece.kind for piece in signatures.pieces if piece.lines is not None))
    return passed("host", "no known trouble in {lines} lines of {logs}", logs=logs, lines=sum(lines.values()),
                  evidence=tuple(saw("lines", count, file) for file, count in list(lines.items())[:5]))


def _at_work(serving: Serving, processes: Processes | Unavailable) -> Iterator[Finding]:
    here = {each.engine for each in serving.endpoints}
    by_name = any(each.origin == "named" for each in serving.endpoints)
    running = processes.engines if isinstance(processes, Processes) and not by_name else ()
    for name in running:
        # What did not answer like an engine may be this one: unreachable tells of it.
        if name not in here and not any(each.engine is None for each in serving.endpoints):
            yield unknown(f"process:{name}", "{engine} runs here and answers at none of the usual ports", engine=name,
                          evidence=saw("running", name, "/proc"),
                          fix=(step("If it still loads its model, wait; else name its address.",
                                    "gpudoctor serving http://127.0.0.1:PORT"), _READ_LOG))  # fmt: skip
    for each in serving.endpoints:
        yield _judge(each)
    if not serving.endpoints and not running:
        yield skipped("host", "no engine runs here")


def _judge(each: Endpoint) -> Finding:
    names = tuple(model.name for model in each.loaded)
    if each.kind == "loading":
        return warned(each.subject, "{url} answers, and says that its model is not loaded yet", url=each.url,
                      evidence=saw("answer", each.failure, each.url),
                      fix=(step("Wait for the load to end, then ask again.", "gpudoctor serving {url}"), _READ_LOG))
    if each.failure is not None or each.engine is None:
        return skipped(each.subject, "it could not be asked")
    if names:
        return passed(each.subject, "loaded: {models}", models=names, evidence=saw("models", names, each.url))
    stored = saw("models on its disk", len(each.models), each.url)
    if each.engine == "ollama":
        return passed(each.subject, "no model is loaded now: the next request waits for its load", evidence=stored)
    return failed(each.subject, "{engine} at {url} answers without a model", engine=each.engine, url=each.url,
                  evidence=stored, fix=(_READ_LOG, step("Start it again with the model named.")))
