"""Proxies that are no nginx: seen, and said not to have been read."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpudoctor.checking.finding import Result
from gpudoctor.facts.network import Listener, Processes
from gpudoctor.facts.proxy import OtherProxy, Proxy
from gpudoctor.probes.proxy import _others
from gpudoctor.probes.root import Root
from gpudoctor.testing import judge_check

ENGINE = Processes(listeners=(Listener(port=11434, address="0.0.0.0", pid=7, process="ollama"),))


@pytest.fixture
def caddy(tmp_path: Path) -> Iterator[int]:
    """A process of that name."""
    program = tmp_path / "caddy"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    child = subprocess.Popen([str(program), "60"])
    end = time.monotonic() + 20
    while Path(f"/proc/{child.pid}/comm").read_text() != "caddy\n":  # the kernel names it a moment after it starts
        assert time.monotonic() < end
        time.sleep(0.01)
    yield child.pid
    child.kill()
    child.wait()


def test_one_that_runs_is_seen(caddy: int) -> None:
    # Of several in one place the oldest is named: another may run here.
    (pid,) = [each.pid for each in _others(Root("/")) if each.name == "caddy" and each.container is None]
    assert 0 < pid <= caddy


def judged(processes: Processes) -> list[Result]:
    proxy = Proxy(others=(OtherProxy(name="traefik", pid=9),))
    return judge_check("proxy.config-invalid", proxy=proxy, processes=processes)


def test_before_an_engine_it_is_unknown_and_says_where_to_look() -> None:
    (found,) = judged(ENGINE)
    assert (found.status, "was not read" in found.finding.message) == ("unknown", True)


def test_without_an_engine_nobody_hears_of_it() -> None:
    assert [each.status for each in judged(Processes())] == ["skip"]
