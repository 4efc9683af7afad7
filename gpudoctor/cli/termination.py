"""Kubernetes' termination message: why a container gave up, as ``kubectl describe`` shows it."""

import contextlib
import os

from gpudoctor.reports.report import Report
from gpudoctor.reports.summary import deciding

#: Kubernetes keeps so much of it (``terminationMessagePath`` in the reference of the container's API).
MAX_BYTES = 4096


def report_lines(report: Report) -> str:
    """Return what decided, with its remedies, in few words."""
    lines = [f"gpudoctor: {report.verdict}"]
    for result in deciding(report):
        subject = "" if result.subject == "host" else f" {result.subject}"
        lines.append(f"{result.id}{subject}: {result.message}")
        lines += [f"  fix: {step.text}" + (f" {step.command}" if step.command else "") for step in result.fix[:3]]
    return "\n".join(lines) + "\n"


def write(path: str, text: str) -> None:
    """Write to the file that Kubernetes made; one that is not there or closed is no reason to fail."""
    data = text.encode("utf-8", "backslashreplace")
    kept = data[:MAX_BYTES].decode("utf-8", "ignore").encode()
    # Bound into the container as a file: it can be written, not replaced.
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        with os.fdopen(handle, "wb") as file:
            file.write(kept)
