"""The parent's side: children side by side, each with a deadline, killed without waiting on the unkillable."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gpudoctor.probes.reporter import MAX_LINE_BYTES

_CHILD = Path(__file__).with_name("child.py")
_MAX_TOTAL_BYTES = 64 * 1024 * 1024
_MAX_RESTARTS = 32
_STDERR_KEPT = 4096
#: How long to wait for a killed child before leaving it behind (one stuck in the kernel never dies).
_GRACE_SECONDS = 1.0


class ProbeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One child process: the modules it runs one after the other and the sections they fill.

    Attributes:
        patience: Seconds of silence after which the item in progress is given up.
        deep: Only with ``--deep``.
    """

    name: str
    modules: tuple[str, ...]
    sections: tuple[str, ...]
    patience: float = 10.0
    deep: bool = False


class ProbeAnswer(msgspec.Struct, kw_only=True):
    """What came of one probe: raw sections, why others are missing, and how it went."""

    name: str
    sections: dict[str, dict[str, Any]] = {}
    missing: dict[str, tuple[str, str]] = {}
    outcome: str = "ok"
    duration_s: float = 0.0


class _Run:
    """One probe in progress, over as many children as it takes."""

    def __init__(self, spec: ProbeSpec, config: Mapping[str, Any]) -> None:
        self.spec = spec
        self.config = dict(config)
        self.answer = ProbeAnswer(name=spec.name)
        self.left_out: list[str] = []
        self.started = time.monotonic()
        self.bytes = 0
        self.start_child()

    def start_child(self) -> None:
        told = json.dumps({**self.config, "modules": self.spec.modules, "left_out": self.left_out})
        self.item: dict[str, Any] | None = None
        self.finished = False
        self.buffer = bytearray()
        self.errors = b""
        self.heard = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD), told],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)

    @property
    def patience(self) -> float:
        asked = self.item.get("patience") if self.item else None
        return float(asked) if asked else self.spec.patience

    def deadline(self) -> float:
        return self.heard + self.patience

    def take(self, data: bytes) -> None:
        """Read what the child wrote; lines that are no JSON are noise."""
        self.heard = time.monotonic()
        self.bytes += len(data)
        self.buffer += data
        while (end := self.buffer.find(b"\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            try:
                message = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(message, dict):
                self._understand(message)
        if len(self.buffer) > MAX_LINE_BYTES or self.bytes > _MAX_TOTAL_BYTES:
            raise OverflowError("it wrote more than a probe may")

    def _understand(self, message: dict[str, Any]) -> None:
        if message.get("done"):
            self.finished = True
            return
        if "broken" in message:
            self.answer.outcome = str(message["broken"])
            return
        if "start" in message:
            self.item = message
            return
        section = message.get("section")
        if not isinstance(section, str) or section not in self.spec.sections:
            return
        if "unavailable" in message:
            self.answer.missing[section] = (str(message["unavailable"]), str(message.get("kind", "error")))
            return
        self.answer.missing.pop(section, None)
        facts = self.answer.sections.setdefault(section, {})
        if "append" in message:
            facts.setdefault(str(message.get("field")), []).append(message["append"])
            self.item = None
        elif isinstance(message.get("set"), dict):
            facts.update(message["set"])

    def lost(self, why: str, kind: str) -> bool:
        """Account for a child that hung or died; True if a fresh one goes on without the item in progress."""
        item = self.item
        if item is None:
            self._give_up(why, kind)
            return False
        name, doing = str(item["start"]), str(item.get("doing") or "")
        reason = f"{why} in {doing}" if doing else why
        self.answer.outcome = f"{name}: {reason}"
        section, placeholder = item.get("section"), item.get("placeholder")
        if section in self.spec.sections and isinstance(placeholder, dict):
            facts = self.answer.sections.setdefault(section, {})
            facts.setdefault(str(item.get("field")), []).append({**placeholder, "failure": reason})
        elif section in self.spec.sections:
            self.answer.missing[section] = (f"{name}: {reason}", kind)
        self.left_out.append(name)
        return len(self.left_out) <= _MAX_RESTARTS

    def restart(self) -> None:
        """Forget lists that the fresh child will send again: only placeholders of lost items stay."""
        for facts in self.answer.sections.values():
            for field, value in facts.items():
                if isinstance(value, list):
                    facts[field] = [v for v in value if isinstance(v, dict) and v.get("failure")]
        self.start_child()

    def _give_up(self, why: str, kind: str) -> None:
        self.answer.outcome = why
        for section in self.spec.sections:
            if section not in self.answer.sections and section not in self.answer.missing:
                self.answer.missing[section] = (f"the {self.spec.name} probe {why}", kind)

    def end(self) -> ProbeAnswer:
        if self._silent():
            outcome = self.answer.outcome
            self._give_up("said nothing about it" if outcome == "ok" else f"failed: {outcome}", "error")
        self.answer.duration_s = round(time.monotonic() - self.started, 3)
        return self.answer

    def _silent(self) -> bool:
        known = {**self.answer.sections, **self.answer.missing}
        return any(section not in known for section in self.spec.sections)


def run_probes(
    specs: Sequence[ProbeSpec],
    *,
    root: str = "/",
    timeout: float = 45.0,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[Sequence[str]], None] | None = None,
) -> list[ProbeAnswer]:
    """Run probes side by side and return one answer for each, whatever happens to their children.

    Args:
        specs: The probes.
        root: Prefix of every file they read.
        timeout: Seconds for all of them together.
        options: Passed to those that know them.
        progress: Called now and then with the names of those still running.
    """
    config = {"path": module_path(), "root": root, "options": dict(options or {})}
    deadline = time.monotonic() + timeout
    runs = [_Run(spec, config) for spec in specs]
    waiting = list(runs)
    with selectors.DefaultSelector() as selector:
        for run in runs:
            _watch(selector, run)
        try:
            while waiting:
                now = time.monotonic()
                wake = min([deadline, *(run.deadline() for run in waiting)]) - now
                for key, _ in selector.select(max(0.0, min(wake, 0.2))):
                    _hear(selector, key)
                if progress is not None:
                    progress([run.spec.name for run in waiting])
                for run in list(waiting):
                    if _settled(selector, run, deadline):
                        waiting.remove(run)
        except BaseException:
            for run in waiting:
                _kill(run.process)
            raise
    return [run.end() for run in runs]


def _watch(selector: selectors.BaseSelector, run: _Run) -> None:
    for pipe in (run.process.stdout, run.process.stderr):
        if pipe is not None:
            selector.register(pipe, selectors.EVENT_READ, run)


def _forget(selector: selectors.BaseSelector, run: _Run) -> None:
    for pipe in (run.process.stdout, run.process.stderr):
        if pipe is not None:
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(pipe)
            pipe.close()


def _hear(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    run: _Run = key.data
    try:
        data = os.read(key.fd, 1 << 16)
    except BlockingIOError:
        return
    if not data:
        selector.unregister(key.fileobj)
        return
    if key.fileobj is run.process.stderr:
        run.errors = (run.errors + data)[-_STDERR_KEPT:]
        return
    try:
        run.take(data)
    except OverflowError as error:
        run.item = None
        run.finished = True
        run.lost(str(error), "crashed")
        _kill(run.process)


def _settled(selector: selectors.BaseSelector, run: _Run, deadline: float) -> bool:
    """True when this probe has come to its end; a lost child is replaced here."""
    now = time.monotonic()
    code = run.process.poll()
    open_pipe = any(key.data is run for key in selector.get_map().values() if key.fileobj is run.process.stdout)
    if code is not None and not open_pipe:
        if run.finished and code == 0:
            _forget(selector, run)
            return True
        if run.finished:
            run.answer.outcome = "ended badly after its last fact"
            _forget(selector, run)
            return True
        why, kind = _death(code, run.errors), "crashed"
    elif run.finished and not open_pipe:
        # The facts are complete; a child that cannot end (stuck in the driver's exit path) is left behind.
        _kill(run.process)
        _forget(selector, run)
        return True
    elif now >= deadline:
        why, kind = "ran out of time (--timeout)", "timeout"
    elif now >= run.deadline():
        why, kind = f"did not answer within {run.patience:g} s", "timeout"
    else:
        return False
    _kill(run.process)
    _forget(selector, run)
    if run.lost(why, kind) and now < deadline:
        run.restart()
        _watch(selector, run)
        return False
    if now >= deadline:
        run.item = None
        run.lost(why, kind)
    return True


def _death(code: int, errors: bytes) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"crashed ({signal.Signals(-code).name})"
        return f"crashed (signal {-code})"
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f"ended with code {code}" + (f": {lines[-1][:200]}" if lines else "")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)


def module_path() -> list[str]:
    """Return the folders a child may import from: the parent's, without the current directory.

    The folder that holds gpudoctor itself comes last, so that an editable checkout works too and a stray
    module beside it shadows nothing.
    """
    here = Path.cwd().resolve()
    kept = [p for p in sys.path if p and Path(p).is_absolute() and Path(p).resolve() != here]
    home = str(Path(__file__).resolve().parents[2])
    return [*kept, *([] if home in kept else [home])]
