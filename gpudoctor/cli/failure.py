"""Exit code 2: one clear line on stderr, or one JSON document on stdout."""

import contextlib
import os
import sys

from gpudoctor.reports.words import harmless


class Failure(Exception):
    """Why there is no report: what was wrong, where, and what to do."""

    def __init__(self, message: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint


def report_failure(failure: Failure, wants_json: bool) -> int:
    """Print the failure and return exit code 2."""
    message, where, hint = (harmless(" ".join(t.split())) for t in (failure.message, failure.where, failure.hint))
    if wants_json:
        from gpudoctor.reports.json_report import ErrorDetail, ErrorDocument, encode

        sys.stdout.write(encode(ErrorDocument(error=ErrorDetail(message, where, hint))) + "\n")
    line = "gpudoctor: " + (f"{where}: " if where and where not in message else "") + message
    # Where standard error takes nothing either (a full disk), the exit code has to say it alone.
    with contextlib.suppress(OSError):
        sys.stderr.write(line + (f" ({hint})" if hint else "") + "\n")
    return 2


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
