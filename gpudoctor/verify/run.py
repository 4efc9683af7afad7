"""Reading many files at once: hashing leaves Python's lock alone, so that every core works."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from gpudoctor.facts.files import CheckedFile
from gpudoctor.verify.examine import examine
from gpudoctor.verify.jobs import Job, shown

#: Files from here on are begun first, so that no core is left with the largest at the end.
_LARGE = 64 << 20
_MOST_THREADS = 32
_REDRAW_SECONDS = 0.1
_GIVE_UP_SECONDS = 5.0


class Stopped(Exception):
    """The run ends before this file does."""


class Progress:
    """How far the threads are; read by whoever draws it."""

    def __init__(self) -> None:
        self.bytes_done = 0
        self.files_done = 0
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def tick(self, count: int) -> None:
        """Count bytes; raises `Stopped` when the run is to end."""
        if self.stop.is_set():
            raise Stopped
        with self._lock:
            self.bytes_done += count


class Reading:
    """One run over all jobs."""

    def __init__(
        self, jobs: Iterable[Job], known: Mapping[str, CheckedFile], also: frozenset[str] = frozenset()
    ) -> None:
        self.progress = Progress()
        self.found: list[CheckedFile] = []
        self._known, self._also = known, also
        self._queue = deque(sorted(jobs, key=_order))
        self._slow: dict[int, threading.Lock] = {}

    def run(self, threads: int, spinning: Callable[[int], bool], draw: Callable[[], None]) -> BaseException | None:
        """Read everything; return what interrupted it (Ctrl-C, a signal), None when it came to its end.

        Args:
            threads: How many files are read at once.
            spinning: Says of a device number whether it is a disk with a moving head: one file at a time there.
            draw: Called a few times a second.
        """
        for device in {_device(job.path) for job in list(self._queue)[:10_000]}:
            if device is not None and spinning(device):
                self._slow[device] = threading.Lock()
        count = max(1, min(threads, _MOST_THREADS, len(self._queue)))
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        stopped: BaseException | None = None
        try:
            for each in workers:
                each.start()
            for each in workers:
                while each.is_alive():
                    each.join(_REDRAW_SECONDS)
                    draw()
        except (KeyboardInterrupt, SystemExit) as error:
            stopped = error
            self.progress.stop.set()
            # A read that hangs (a network file system) must not keep the report back.
            with contextlib.suppress(KeyboardInterrupt):
                for each in workers:
                    each.join(_GIVE_UP_SECONDS)
        return stopped

    def _work(self) -> None:
        while not self.progress.stop.is_set():
            try:
                job = self._queue.popleft()
            except IndexError:
                return
            device = _device(job.path) if self._slow else None
            try:
                with self._slow.get(device, contextlib.nullcontext()) if device else contextlib.nullcontext():
                    found = examine(job, self._known.get(shown(job.path)), self._also, self.progress.tick)
            except Stopped:
                return
            except Exception as error:
                # A defect costs this file its verdict, never the report.
                problem = f"{type(error).__name__}: {error}"[:200]
                found = CheckedFile(path=shown(job.path), outcome="unreadable", kind=job.kind, problem=problem)
            self.found.append(found)
            self.progress.files_done += 1


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except (OSError, ValueError):
        return None


def size_of(path: str) -> int:
    """Return a file's length, 0 when it cannot be asked."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _order(job: Job) -> tuple[int, str]:
    size = size_of(job.path)
    return (-size if size >= _LARGE else 0, job.path)
