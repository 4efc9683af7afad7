"""What an engine's log says of its load: requests that run and wait, and how full the KV cache is.

Sample input:

    INFO 11-20 03:00:01 [loggers.py:127] Engine 000: ... Running: 64 reqs, Waiting: 210 reqs, GPU KV cache usage: 99.4%
    [2025-11-20 03:00:01 TP0] Decode batch, #running-req: 64, #token: 90112, token usage: 0.97, #queue-req: 210
"""

import re

_VLLM = re.compile(
    r"Running: (\d{1,6}) reqs?,.{0,60}?(?:Waiting|Pending): (\d{1,6}) reqs?,.{0,40}?KV cache usage: (\d{1,3}(?:\.\d)?)%"
)
_SGLANG = re.compile(
    r"Decode batch.{0,20}#running-req: (\d{1,6}),.{0,80}?token usage: (\d\.\d{1,3}),.{0,200}?#queue-req: (\d{1,6})"
)
#: A queue of one moment is none: so many looks must see it.
_LOOKS = 2


class EngineLoad:
    """Keeps the last looks of a log."""

    def __init__(self) -> None:
        self._looks: list[tuple[int, int, float]] = []

    def feed(self, line: str) -> None:
        """Take a line."""
        if "#running-req" in line and (found := _SGLANG.search(line)) is not None:
            look = (int(found[1]), int(found[3]), float(found[2]))
        elif "Running: " in line and (found := _VLLM.search(line)) is not None:
            look = (int(found[1]), int(found[2]), float(found[3]) / 100)
        else:
            return
        self._looks = [*self._looks[1 - _LOOKS :], look]

    def told(self) -> dict[str, str]:
        """Return the least of the last looks; nothing where no line told it."""
        if not self._looks:
            return {}
        running, waiting, usage = (min(each) for each in zip(*self._looks, strict=True))
        return {"load running": str(running), "load waiting": str(waiting), "load kv usage": f"{usage:.3f}"}
