"""One transient line on a terminal while probes run; nothing in logs and pipes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from gpudoctor.reports.language import tell

_AFTER_SECONDS = 0.3
_EVERY_SECONDS = 0.1


@contextmanager
def progress_line(stream: TextIO, *, enabled: bool) -> Iterator[Callable[[Sequence[str]], None] | None]:
    """Yield a function that shows what is still running, and wipe the line at the end."""
    if not (enabled and stream.isatty()):
        yield None
        return
    started = shown = time.monotonic()
    visible = False

    def show(running: Sequence[str]) -> None:
        nonlocal shown, visible
        now = time.monotonic()
        if now - started >= _AFTER_SECONDS and now - shown >= _EVERY_SECONDS and running:
            shown, visible = now, True
            stream.write(f"\r\x1b[K{tell('reading')} {', '.join(running)}"[:100] + f" ({now - started:.0f} s)")
            stream.flush()

    try:
        yield show
    finally:
        if visible:
            stream.write("\r\x1b[K")
            stream.flush()
