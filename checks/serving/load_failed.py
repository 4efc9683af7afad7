"""An engine could not load its model, and the log does not say why; or nothing that was pasted could be judged.

## Why it matters
The last line of a log is seldom the cause: "engine core initialization failed" and "runner has terminated" only say
that something before them went wrong. What could not be read, or is not known, must not look like a healthy machine.

## How to fix
Paste the log from the engine's start, with the environment report of the engine (`python -m torch.utils.collect_env`,
`nvidia-smi`, `docker info`) beside it.

## References
- https://docs.vllm.ai/en/latest/usage/troubleshooting/
- https://docs.ollama.com/troubleshooting
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, saw, skipped, step, unknown
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.signatures import Signatures
from gpudoctor.judging.log_findings import told
from gpudoctor.judging.presence import closed_gate

_PASTE_MORE = (
    step("Paste the log from the engine's start, not only its end."),
    step("Paste what these say, too.", "nvidia-smi; python -m torch.utils.collect_env; docker info"),
)


@check(gatekeeper_of="signatures")
def load_failed(signatures: Signatures | Unavailable) -> Iterator[Finding]:
    """Judge what a log says, and whether what was pasted could be judged at all."""
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
        yield skipped("host", "no line of what you pasted says so")
