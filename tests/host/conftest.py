"""Recorded trees, and a probe run on one in this process."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

Tree = Callable[[dict[str, str]], Root]
Said = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write a tree; a text that begins with ``->`` is a link to what follows, one that ends in ``/`` a folder."""

    def write(files: dict[str, str]) -> Root:
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                path.symlink_to(text[2:])
            elif name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.write_text(text)
        return Root(str(tmp_path))

    return write


@pytest.fixture
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """Run a probe module and return the lines it wrote."""

    def run(module: ModuleType, root: Root, left_out: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        path = tmp_path_factory.mktemp("said") / "lines"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT)
        module.probe(Reporter(handle, left_out), root)
        os.close(handle)
        return [json.loads(line) for line in path.read_text().splitlines()]

    return run
