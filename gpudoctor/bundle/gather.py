"""The wheels of every target: gpudoctor's own, what it requires, and pip for a Python that has none."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gpudoctor.bundle import BundleError
from gpudoctor.bundle.closure import Wheel, follow, read_folder
from gpudoctor.bundle.own_wheel import checkout, copy_checkout, repack
from gpudoctor.bundle.target import Target
from gpudoctor.probes import pip

_ROOTS = ("gpudoctor", "pip")
#: What follows from a requirement that only the target has may have such requirements of its own.
_MOST_ROUNDS = 6
_MOST_WHEELS = 500
_MOST_BYTES = 512 << 20
_DEADLINE_SECONDS = 600.0


def own_wheel(command: Sequence[str], work: Path) -> Path:
    """Return gpudoctor's own wheel, made in a folder.

    Raises:
        BundleError: It cannot be made from what is here.
    """
    folder = work / "own"
    folder.mkdir()
    top = checkout()
    if top is None:
        return repack(folder)
    copy_checkout(top, work / "source")
    try:
        pip.build(command, work / "source", folder, _DEADLINE_SECONDS)
    except pip.PipFailure as failure:
        raise _explained(failure, f"gpudoctor's own wheel cannot be built from {top}", "its build needs") from None
    return next(folder.glob("gpudoctor-*.whl"))


def gather(
    command: Sequence[str],
    own: Path,
    targets: Sequence[Target],
    wheelhouse: Path,
    work: Path,
    tell: Callable[[str], None],
) -> dict[Target, list[Wheel]]:
    """Fill the wheelhouse with the wheels of every target, and return which are whose.

    Raises:
        BundleError: One cannot be had.
    """
    chosen: dict[Target, list[Wheel]] = {}
    for target in targets:
        folder = Path(tempfile.mkdtemp(prefix=target.short, dir=work))
        chosen[target] = _closed(command, own, target, folder)
        for wheel in chosen[target]:
            shutil.move(folder / wheel.file, wheelhouse / wheel.file)
        tell(f"Python {target.python}, {target.platform}: {len(chosen[target])} wheels")
    every = {wheel.file: wheel for wheels in chosen.values() for wheel in wheels}
    if len(every) > _MOST_WHEELS or sum(wheel.bytes for wheel in every.values()) > _MOST_BYTES:
        raise BundleError(f"{len(every)} wheels are more than a bundle takes", "name fewer Python versions")
    return chosen


def _closed(command: Sequence[str], own: Path, target: Target, folder: Path) -> list[Wheel]:
    wanted = [str(own), "pip"]
    for _ in range(_MOST_ROUNDS):
        try:
            pip.download(command, target.pip_options, wanted, folder, _DEADLINE_SECONDS)
        except pip.PipFailure as failure:
            about = f"no wheels for Python {target.python} on {target.platform}"
            raise _explained(failure, about, "gpudoctor needs") from None
        wheels = read_folder(folder)
        used, unmet = follow(wheels, target, _ROOTS)
        if not unmet:
            return [wheels[name][0] for name in sorted(used)]
        wanted += sorted(unmet)
        for old in folder.glob("*.whl"):
            old.unlink()
    raise BundleError(f"pip brings no wheel of {sorted(unmet)[0][:100]} for Python {target.python}")


def _explained(failure: pip.PipFailure, about: str, what: str) -> BundleError:
    if failure.unreachable:
        hint = "set index-url with pip config, or a proxy, or make the bundle where there is network"
        return BundleError(f"the package index cannot be reached: {failure}", hint)
    if "No space left" in str(failure):
        return BundleError(str(failure), "TMPDIR names another folder for what is being made")
    return BundleError(f"{about}: {failure}", f"pip download shows what the index has of what {what}")
