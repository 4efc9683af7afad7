"""Running what others wrote: it may print, raise anything, and yield nonsense, and costs only itself."""

import contextlib
import sys
from contextlib import AbstractContextManager

import msgspec

from gpudoctor.checking.finding import Finding


class Terminated(SystemExit):
    """A signal ends this process; unlike a check's own ``sys.exit`` it is not to be caught."""


def pass_on(error: BaseException) -> None:
    """Raise again what ends gpudoctor itself; a plain ``SystemExit`` of a plug-in would be a green exit code."""
    if isinstance(error, KeyboardInterrupt | Terminated):
        raise error


def quiet() -> AbstractContextManager[object]:
    """Send what a plug-in prints to standard error: standard output is the report's."""
    return contextlib.redirect_stdout(sys.stderr)


def sound(finding: object) -> Finding:
    """Return a finding that every report can show.

    Raises:
        TypeError: It is none, or holds what a finding may not.
    """
    if not isinstance(finding, Finding):
        raise TypeError(f"yielded {type(finding).__name__}, not a Finding")
    try:
        msgspec.json.decode(msgspec.json.encode(finding), type=Finding)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise TypeError(f"yielded a Finding that is none: {error}") from None
    return finding
