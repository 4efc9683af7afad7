"""Exit code 2: one clear line on stderr, or one JSON document on stdout."""

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
    sys.stderr.write(line + (f" ({hint})" if hint else "") + "\n")
    return 2
