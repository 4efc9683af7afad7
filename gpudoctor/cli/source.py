"""Where the facts of a judgement come from: this machine, a mounted one, a record, or what was read a moment ago."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor.cli.failure import Failure
from gpudoctor.cli.words import require_folder, seconds

if TYPE_CHECKING:
    from gpudoctor.checking.selection import Selection
    from gpudoctor.checking.target import Target
    from gpudoctor.facts.snapshot import Snapshot


def read_record(path: Path, hint: str = "record one with gpudoctor snapshot -o FILE") -> "Snapshot":
    """Read a recorded snapshot.

    Raises:
        Failure: It cannot be read; ``hint`` says how to make one.
    """
    from gpudoctor.facts.snapshot import SnapshotError, read_snapshot

    try:
        return read_snapshot(path)
    except SnapshotError as error:
        raise Failure(str(error), str(path), hint) from None


class Source(NamedTuple):
    """What the command line says of it. ``age``: how many seconds old facts of a cache may be, None for none."""

    snapshot: Path | None = None
    root: str = "/"
    timeout: float | None = None
    python: tuple[Path, ...] = ()
    age: float | None = None
    probe_image: str | None = None
    quiet: bool = False

    @property
    def here(self) -> bool:
        """True when it is the machine that gpudoctor stands on."""
        return self.snapshot is None and self.root == "/"

    def facts(self, target: "Target", selection: "Selection") -> "Snapshot":
        """Read what these checks need.

        Raises:
            Failure: The record or folder cannot be read, or options fight.
        """
        if self.snapshot is not None:
            return self._record(self.snapshot, target)
        root = require_folder(self.root)
        from gpudoctor.cli.progress import progress_line
        from gpudoctor.probes.take import take_snapshot

        options = {"gpus": list(target.gpus) if target.gpus else None, "use_busy": target.use_busy,
                   "python": [str(path.absolute()) for path in self.python], "probe_image": self.probe_image}

        def take() -> "Snapshot":
            with progress_line(sys.stderr, enabled=not self.quiet) as progress:
                return take_snapshot(
                    root=root,
                    timeout=seconds(self.timeout, target.deep or target.live),
                    deep=target.deep,
                    live=target.live,
                    # The next command may ask for other checks.
                    sections=selection.sections | {"host"} if self.age is None else None,
                    options=options,
                    progress=progress,
                )

        if self.age is None:
            return take()
        from gpudoctor.cli.fact_cache import cached

        return cached([root, options], self.age, take)

    def _record(self, path: Path, target: "Target") -> "Snapshot":
        for flag, given in (("--root", self.root != "/"), ("--deep", target.deep), ("--live", target.live),
                            ("--python", bool(self.python))):
            if given:
                raise Failure(f"{flag} reads this machine, --snapshot another's record", "command line", "choose one")
        return read_record(path)
