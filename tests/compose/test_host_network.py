"""A service in the host's network publishes nothing, and may be open all the same."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("command", "status"),
    [("--host 0.0.0.0", "warn"), ("--host=0.0.0.0", "warn"), ("--host 127.0.0.1", "skip"), ("", "skip"),
     ("--host 0.0.0.0 --api-key ${KEY:-x}", "pass")],
)  # fmt: skip
def test_it_is_no_pass_for_want_of_ports(gpudoctor: Command, tmp_path: Path, command: str, status: str) -> None:
    (tmp_path / "compose.yml").write_text(
        "services:\n  llm:\n    image: lmsysorg/sglang:latest\n    network_mode: host\n    gpus: all\n"
        f"    command: python3 -m sglang.launch_server --model-path a/b {command}\n")
    done = gpudoctor("compose", "lint", "--hardware", "1x RTX 4090", "--only", "compose.port-open", "--json",
                     cwd=tmp_path)
    found = [r["status"] for r in json.loads(done.stdout)["results"] if r["id"] == "compose.port-open"]
    assert found == [status]
