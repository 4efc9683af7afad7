"""A process that outlives the probe for a moment: when the probe is killed, it removes the probe's containers."""

import contextlib
import os
import signal
import time

from gpudoctor.probes.live_engine import LiveEngine

#: An engine that hangs keeps nobody alive.
_SECONDS = 30


def guard(address: str, run: str) -> int:
    """Start the guardian; return the end of a pipe. It acts when that closes without a word before."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(reading)
        os.set_inheritable(writing, False)
        return writing
    try:
        _watch(reading, address, run)
    finally:
        os._exit(0)


def dismiss(pipe: int, *, clean: bool) -> None:
    """Let the guardian go: at once where nothing is left, else when it has removed what it finds."""
    with contextlib.suppress(OSError):
        if clean:
            os.write(pipe, b"x")
    os.close(pipe)


def _watch(reading: int, address: str, run: str) -> None:
    os.setsid()
    # The probe's pipes must not stay open in here: its parent waits for their end.
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(quiet, number)
    os.dup2(reading, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65_536 else 65_536)
    if os.read(3, 1):
        return
    signal.alarm(_SECONDS)
    engine = LiveEngine(address, run)
    # Twice: the engine may still be creating what the probe asked for in its last moment.
    for _ in range(2):
        for container, _, _ in engine.ours(run):
            with contextlib.suppress(Exception):
                engine.remove(container)
        time.sleep(1)
