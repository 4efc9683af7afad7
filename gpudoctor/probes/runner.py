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
from typing import IO, Any

import msgspec

from gpudoctor.probes.reporter import MAX_LINE_BYTES

_CHILD = Path(__file__).with_name("child.py")
_MAX_TOTAL_BYTES = 64 * 1024 * 1024
_MAX_RESTARTS = 32
_STDERR_KEPT = 4096
#: A child needs the processor for its start; one that takes longer than this waits for something else.
_STAGGER_SECONDS = 0.5
#: How long to wait for a killed child before leaving it behind (one stuck in the kernel never dies).
_GRACE_SECONDS = 1.0


class ProbeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One child process: the modules it runs one after the other and the sections they fill.

    Attributes:
        patience: Seconds of silence after which the item in progress is given up.
        deep: Only with ``--deep``.
        live: Only with ``--live``.
        options: For its modules, beside those of the whole run.
    """

    name: str
    modules: tuple[str, ...]
    sections: tuple[str, ...]
    patience: float = 10.0
    deep: bool = False
    live: bool = False
    options: dict[str, Any] = {}


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
        self.config = {**config, "options": {**config["options"], **spec.options}}
        self.answer = ProbeAnswer(name=spec.name)
        self.left_out: list[str] = []
        #: What the probe said of each item, those it promised, and those of them that this child completed.
        self.known: dict[str, dict[str, Any]] = {}
        self.expected: dict[str, None] = {}
        self.complete: set[str] = set()
        self.stand_ins: list[tuple[str, str, dict[str, Any]]] = []
        self.started = time.monotonic()
        self.bytes = 0
        self.overflow: str | None = None
        self.failed_start: str | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start_child(self) -> None:
        told = json.dumps({**self.config, "modules": self.spec.modules, "left_out": self.left_out})
        self.item: dict[str, Any] | None = None
        self.finished = False
        self.buffer = bytearray()
        self.errors = b""
        self.heard = time.monotonic()
        self.process = None
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_CHILD), told],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            # No process, no descriptor or no memory is left here: this probe could not look, the others may.
            self.failed_start = f"could not be started: {error.strerror or error}"
            return
        for pipe in self.pipes:
            os.set_blocking(pipe.fileno(), False)

    @property
    def pipes(self) -> tuple[IO[bytes], ...]:
        """The child's standard output and error; none where no child could be started."""
        ends = (self.process.stdout, self.process.stderr) if self.process is not None else ()
        return tuple(pipe for pipe in ends if pipe is not None)

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
            except (msgspec.DecodeError, UnicodeDecodeError):
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
            # What is not said anew still holds, so that a probe need not repeat a placeholder before each call.
            name = str(message["start"])
            said = {key: value for key, value in message.items() if value is not None}
            self.item = self.known[name] = {**self.known.get(name, {}), **said}
            if message.get("promised"):
                self.expected[name] = None
            return
        section = message.get("section")
        if not isinstance(section, str) or section not in self.spec.sections:
            return
        if "unavailable" in message:
            self.answer.missing[section] = (str(message["unavailable"]), str(message.get("kind", "error")))
            if section in self.answer.sections:
                self.answer.outcome = str(message["unavailable"])
            return
        self.answer.missing.pop(section, None)
        facts = self.answer.sections.setdefault(section, {})
        if "append" in message:
            self._put(section, str(message.get("field")), message["append"])
            if self.item is not None:
                self.complete.add(str(self.item["start"]))
            self.item = None
        elif isinstance(message.get("set"), dict):
            for field, value in message["set"].items():
                lost = [v for v in _list(facts.get(field)) if isinstance(v, dict) and v.get("failure")]
                facts[field] = [*lost, *value] if lost and isinstance(value, list) else value

    def lost(self, why: str, kind: str) -> bool:
        """Account for a child that hung or died; True if a fresh one goes on without the item in progress."""
        item = self.item
        if item is None:
            self.give_up(why, kind)
            return False
        name, doing = str(item["start"]), str(item.get("doing") or "")
        reason = f"{why} in {doing}" if doing else why
        self.answer.outcome = f"{name}: {reason}"
        if not self._stand_in(item, reason) and item.get("section") in self.spec.sections:
            self.answer.missing[str(item["section"])] = (f"{name}: {reason}", kind)
        self.left_out.append(name)
        if len(self.left_out) <= _MAX_RESTARTS:
            return True
        self.give_up(f"was started {_MAX_RESTARTS + 1} times in vain", kind)
        return False

    def _stand_in(self, item: Mapping[str, Any], reason: str) -> bool:
        section, placeholder = item.get("section"), item.get("placeholder")
        if section not in self.spec.sections or not isinstance(placeholder, dict):
            return False
        self.stand_ins.append((str(section), str(item.get("field")), {**placeholder, "failure": reason}))
        self._put(*self.stand_ins[-1])
        return True

    def _put(self, section: str, field: str, value: Any) -> None:
        self.answer.sections.setdefault(section, {}).setdefault(field, []).append(value)

    def restart(self) -> None:
        """Forget lists that the fresh child will send again: only placeholders of lost items stay."""
        for facts in self.answer.sections.values():
            for value in facts.values():
                if isinstance(value, list):
                    value.clear()
        for section, field, placeholder in self.stand_ins:
            self._put(section, field, placeholder)
        self.complete.clear()
        self.start_child()

    def give_up(self, why: str, kind: str) -> None:
        """Say of everything that never came why it is not there."""
        self.answer.outcome = why
        for name in self._owed():
            self.complete.add(name)
            self._stand_in(self.known[name], f"not reached: the {self.spec.name} probe {why}")
        self._say_missing(why, kind)

    def _owed(self) -> list[str]:
        return [name for name in self.expected if name not in self.complete and name not in self.left_out]

    def _say_missing(self, why: str, kind: str) -> None:
        for section in self.spec.sections:
            if section not in self.answer.sections and section not in self.answer.missing:
                self.answer.missing[section] = (f"the {self.spec.name} probe {why}", kind)

    def end(self) -> ProbeAnswer:
        """Close the account: no section stays without a word, and lists are in the order of their items."""
        if self._silent():
            self.give_up("said nothing about it" if self.answer.outcome == "ok" else self.answer.outcome, "error")
        for facts in self.answer.sections.values():
            for value in facts.values():
                if isinstance(value, list) and all(isinstance(v, dict) for v in value):
                    value.sort(key=lambda v: [v.get(key, 0) for key in ("index", "first", "second")])
        return self.answer

    def _silent(self) -> bool:
        known = {**self.answer.sections, **self.answer.missing}
        return any(section not in known for section in self.spec.sections) or bool(self._owed())


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


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
        progress: Called now and then with the names of those that have not come to their end.
    """
    config = {"path": module_path(), "root": root, "options": dict(options or {})}
    deadline = time.monotonic() + timeout
    runs = [_Run(spec, config) for spec in specs]
    queue, waiting = list(runs), list[_Run]()
    with selectors.DefaultSelector() as selector:
        try:
            while queue or waiting:
                now = time.monotonic()
                while queue and (now >= deadline or _starting(waiting, now) <= (os.cpu_count() or 1)):
                    run = queue.pop(0)
                    if now >= deadline:
                        run.give_up("was not started in time (--timeout)", "timeout")
                        continue
                    run.started = now
                    run.start_child()
                    _watch(selector, run)
                    waiting.append(run)
                soon = [now + _STAGGER_SECONDS / 10] if queue else []
                wake = min([deadline, *soon, *(run.deadline() for run in waiting)]) - now
                for key, _ in selector.select(max(0.0, min(wake, 0.2))):
                    _hear(selector, key)
                if progress is not None:
                    progress([run.spec.name for run in [*waiting, *queue]])
                for run in list(waiting):
                    if _settled(selector, run, deadline):
                        waiting.remove(run)
                        run.answer.duration_s = round(time.monotonic() - run.started, 3)
        except BaseException:
            for run in waiting:
                _kill(run)
                _forget(selector, run)
            raise
    return [run.end() for run in runs]


def _starting(waiting: Sequence[_Run], now: float) -> int:
    """Count the children that are still busy with their own start, which is where they need the processor."""
    return sum(now - run.started < _STAGGER_SECONDS for run in waiting)


def _watch(selector: selectors.BaseSelector, run: _Run) -> None:
    for pipe in run.pipes:
        selector.register(pipe, selectors.EVENT_READ, run)


def _forget(selector: selectors.BaseSelector, run: _Run) -> None:
    for pipe in run.pipes:
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
    if run.process is not None and key.fileobj is run.process.stderr:
        run.errors = (run.errors + data)[-_STDERR_KEPT:]
        return
    try:
        run.take(data)
    except OverflowError as error:
        run.overflow = str(error)


def _settled(selector: selectors.BaseSelector, run: _Run, deadline: float) -> bool:
    """True when this probe has come to its end; a lost child is replaced here."""
    if run.process is None:
        run.give_up(run.failed_start or "could not be started", "error")
        return True
    now = time.monotonic()
    code = run.process.poll()
    open_pipe = any(key.data is run for key in selector.get_map().values() if key.fileobj is run.process.stdout)
    out_of_time = now >= deadline
    if run.overflow is not None:
        why, kind = run.overflow, "crashed"
    elif run.finished and not open_pipe:
        # The facts are complete; a child that cannot end (stuck in the driver's exit path) is left behind.
        _kill(run)
        _forget(selector, run)
        return True
    elif code is not None and not open_pipe:
        why, kind = _death(code, run.errors), "crashed"
    elif out_of_time:
        why, kind = "ran out of time (--timeout)", "timeout"
    elif now >= run.deadline():
        why, kind = f"did not answer within {run.patience:g} s", "timeout"
    else:
        return False
    _kill(run)
    _forget(selector, run)
    if run.overflow is not None:
        run.give_up(why, kind)
        return True
    if not run.lost(why, kind):
        return True
    if out_of_time:
        run.give_up(why, kind)
        return True
    run.restart()
    _watch(selector, run)
    return False


def _death(code: int, errors: bytes) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"crashed ({signal.Signals(-code).name})"
        return f"crashed (signal {-code})"
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f"ended with code {code}" + (f": {lines[-1][:200]}" if lines else "")


def _kill(run: _Run) -> None:
    process = run.process
    if process is None:
        return
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
