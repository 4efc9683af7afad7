"""Real nginx: what it refuses is what we refuse, and what we say of buffering and time-outs is what happens."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from gpudoctor.facts.proxy import Configuration
from gpudoctor.nginx.configuration import read_configuration

from .corpus import BAD, GOOD

pytestmark = pytest.mark.tier("nginx")


def ours(path: Path) -> Configuration:
    return read_configuration(
        str(path), lambda pattern: [pattern] if Path(pattern).is_file() else [], lambda name: Path(name).read_text()
    )


def nginx_says(path: Path) -> str:
    """What ``nginx -t`` has against a configuration; empty when it takes it."""
    quiet = f"pid {path.parent}/nginx.pid; error_log stderr;"
    done = subprocess.run(["nginx", "-t", "-q", "-p", str(path.parent), "-c", str(path), "-g", quiet],
                          capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
    assert (done.returncode == 0) == ("[emerg]" not in done.stderr), done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if "[emerg]" in line)


@pytest.mark.parametrize("name", GOOD)
def test_what_nginx_takes_is_not_accused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(GOOD[name])
    assert nginx_says(path) == ""
    assert ours(path).problems == ()


@pytest.mark.parametrize("name", BAD)
def test_what_nginx_refuses_is_found_at_its_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "nginx.conf"
    text, line = BAD[name]
    path.write_text(text)
    said = nginx_says(path)
    assert said != ""
    named = re.search(r" in \S+:(\d+)", said)
    assert line is None or (named is not None and int(named[1]) == line), said
    found = ours(path).problems
    assert found
    # nginx names the line on which a statement ends, we the one on which it begins.
    assert line is None or any(line - 2 <= each.line <= line for each in found), (said, found)
