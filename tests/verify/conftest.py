"""Running ``gpudoctor verify`` and reading its report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Verdict(NamedTuple):
    """What a run said: exit code, and the subjects' statuses without the path of the test's folder."""

    code: int
    report: dict[str, Any]
    folder: Path

    def of(self, *statuses: str) -> list[tuple[str, str]]:
        """(id, subject) of every result of these statuses."""
        return [
            (r["id"], r["subject"].removeprefix("file:").replace(f"{self.folder}/", ""))
            for r in self.report["results"]
            if r["status"] in statuses
        ]

    def message(self, status: str = "fail") -> str:
        """The message of the one result of this status."""
        (found,) = [r for r in self.report["results"] if r["status"] == status]
        return str(found["message"])


@pytest.fixture
def verify(gpudoctor: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Callable[..., Verdict]:
    """Run the command with ``--json``."""

    def run(*arguments: str | Path, **variables: str) -> Verdict:
        done = gpudoctor("verify", *arguments, "--json", **variables)
        assert done.stderr == ""
        report = json.loads(done.stdout)
        assert done.returncode == report["run"]["exit_code"]
        return Verdict(done.returncode, report, tmp_path)

    return run
