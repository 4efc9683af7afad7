"""Story C6: a model folder that the container's user cannot read, or that is not there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


def mounts(gpudoctor: Command, folder: Path, source: str, user: str = "") -> list[dict[str, Any]]:
    text = (f"services:\n  llm:\n    image: vllm/vllm-openai:v0.11.0\n    user: '{user}'\n    gpus: all\n"
            f"    volumes:\n      - {source}:/models\n")
    (folder / "compose.yml").write_text(text, encoding="utf-8")
    done = gpudoctor("compose", "lint", "compose.yml", "--json", cwd=folder)
    return [r for r in json.loads(done.stdout)["results"] if r["id"] == "compose.model-mount"]


def test_a_folder_that_is_missing(gpudoctor: Command, tmp_path: Path) -> None:
    (found,) = mounts(gpudoctor, tmp_path, "./models")
    assert (found["status"], found["location"]["line"]) == ("warn", 7)
    assert str(tmp_path / "models") in found["message"]


def test_files_that_uid_1000_may_not_read(gpudoctor: Command, tmp_path: Path) -> None:
    deep = tmp_path / "models" / "qwen"
    deep.mkdir(parents=True)
    (deep / "model.safetensors").write_text("x", encoding="utf-8")
    for path, mode in ((tmp_path / "models", 0o755), (deep, 0o755), (deep / "model.safetensors", 0o600)):
        path.chmod(mode)
    other = str(os.getuid() + 1000)
    (found,) = mounts(gpudoctor, tmp_path, "./models", f"{other}:{other}")
    assert found["status"] == "fail"
    assert found["params"]["path"] == str(deep / "model.safetensors")
    assert (found["params"]["owner"], found["params"]["mode"]) == (f"{os.getuid()}:{os.getgid()}", "600")
    (deep / "model.safetensors").chmod(0o644)
    assert [f["status"] for f in mounts(gpudoctor, tmp_path, "./models", f"{other}:{other}")] == ["pass"]


@pytest.mark.parametrize(("user", "status"), [("", "pass"), ("0:0", "pass"), ("ollama", "skip")])
def test_root_reads_everything_and_names_are_not_guessed(
    gpudoctor: Command, tmp_path: Path, user: str, status: str
) -> None:
    (tmp_path / "models").mkdir(mode=0o700)
    assert [f["status"] for f in mounts(gpudoctor, tmp_path, "./models", user)] == [status]
