"""Exit code 2: one clear line on stderr, or one JSON document on stdout."""

import contextlib
import os
import sys
from collections.abc import Sequence

from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import harmless


class Failure(Exception):
    """Why there is no report: what was wrong, where, and what to do."""

    def __init__(self, message: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint


def report_failure(failure: Failure, arguments: Sequence[str] = ()) -> int:
    """Print the failure as the command line asked for reports, and return the exit code: 2 by the contract."""
    from gpudoctor.cli.exits import exit_code_of_failure, format_of, value_of

    message, where, hint = (harmless(" ".join(t.split())) for t in (failure.message, failure.where, failure.hint))
    line = _line(message, where, hint)
    instead = _instead_of_report(format_of(arguments), message, where, hint, line)
    if instead:
        sys.stdout.write(instead + "\n")
    if (place := value_of(arguments, "--termination-log")) is not None:
        from gpudoctor.cli.termination import write

        write(place, f"gpudoctor: {line}\n")
    # Where standard error takes nothing either (a full disk), the exit code has to say it alone.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"gpudoctor: {_line(retold(message), retold(where), retold(hint))}\n")
    return exit_code_of_failure(arguments)


def _line(message: str, where: str, hint: str) -> str:
    return (f"{where}: " if where and where not in message else "") + message + (f" ({hint})" if hint else "")


def _instead_of_report(format_name: str, message: str, where: str, hint: str, line: str) -> str:
    """Return what a program that reads standard output gets where there is no report."""
    if format_name in ("json", "jsonl"):
        from gpudoctor.reports.json_report import ErrorDetail, ErrorDocument, encode

        text = encode(ErrorDocument(error=ErrorDetail(message, where, hint)))
        # Line breaks stand only between the parts of a document: in a string they are escaped.
        return text if format_name == "json" else "".join(part.strip() for part in text.splitlines())
    if format_name == "nagios":
        return "GPUDOCTOR UNKNOWN - " + line.replace("|", "/")
    if format_name == "npd":
        from gpudoctor.reports.npd import line as cut

        return cut(line)
    return ""


def say(text: str) -> None:
    """Write to standard output, whole, so that what goes wrong there is known while the exit code can still tell.

    A reader that went away (head, less) is no failure: the verdict keeps its exit code.

    Raises:
        Failure: It cannot be written (a full disk).
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What stays in the buffer must go nowhere, else it fails once more at the end of the process.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Failure(f"cannot write: {error.strerror or error}", "standard output") from None
