"""Engines to ask, and the command that asks them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .engines import Answers, Server


@pytest.fixture
def engine() -> Iterator[Callable[..., Server]]:
    """Start servers that answer like engines; all are stopped at the end."""
    servers: list[Server] = []

    def start(answers: Answers, certificate: tuple[Path, Path] | None = None) -> Server:
        servers.append(Server(answers, certificate))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def serving(gpudoctor: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., dict[str, Any]]:
    """Run ``gpudoctor serving ... --json`` and return its report."""

    def run(*arguments: str | Path, **variables: str) -> dict[str, Any]:
        done = gpudoctor("serving", *arguments, "--json", **variables)
        assert done.stderr == ""
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == report["run"]["exit_code"]
        return report

    return run
