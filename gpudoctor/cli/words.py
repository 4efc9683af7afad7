"""Words of the command line that several commands take: GPU indices, seconds, a folder, one of several."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpudoctor.cli.failure import Failure

if TYPE_CHECKING:
    from gpudoctor.checking.target import EngineWish


def one_of(flag: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a word that is none of those allowed."""
    if value not in allowed:
        raise Failure(f"{value[:40]!r} is none of {', '.join(allowed)}", flag)


def parse_engines(texts: Sequence[str]) -> tuple["EngineWish", ...]:
    """Read the engines named by ``--for``."""
    from gpudoctor.checking.target import parse_engine

    try:
        return tuple(parse_engine(text) for text in texts)
    except ValueError as error:
        raise Failure(str(error), "--for", "for example vllm==0.33.0, ollama, or vllm/vllm-openai:v0.33.0") from None


def parse_gpus(text: str | None) -> tuple[int, ...] | None:
    """Read ``0,1`` or ``0-3``; None means all GPUs."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise Failure(f"{text!r} is no list of GPU indices", "--gpus", "for example 0,1 or 0-3")
        low, high = int(first), int(last or first)
        if not low <= high < 1024:
            raise Failure(f"{part.strip()!r} is no range of GPU indices", "--gpus", "for example 0,1 or 0-3")
        found += [n for n in range(low, high + 1) if n not in found]
    return tuple(found)


def seconds(timeout: float | None, deep: bool) -> float:
    """Return the time for all probes. ``nan`` passes every comparison of a range and would wait for ever."""
    if timeout is not None and not 1 <= timeout <= 3600:
        raise Failure(f"{timeout} is no number of seconds from 1 to 3600", "--timeout")
    return timeout or (300.0 if deep else 45.0)


def require_folder(root: str) -> str:
    """Return ``--root`` as an absolute path (probes run elsewhere); refuse what is no folder or may not be listed."""
    hint = "name the folder where the host is mounted"
    if not root.strip():
        # An unset variable of a script must not turn into the folder that it happens to stand in.
        raise Failure("it is empty", "--root", hint)
    try:
        next(Path(root).iterdir(), None)
    except (OSError, ValueError) as error:
        raise Failure(f"{root}: {getattr(error, 'strerror', None) or error}", "--root", hint) from None
    return str(Path(root).resolve())
