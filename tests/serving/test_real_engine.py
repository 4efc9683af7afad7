"""A real engine on this machine's CPU: llama.cpp behind llama-cpp-python's OpenAI server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from .tiny_model import write_tiny_model

pytestmark = pytest.mark.tier("llama-server")
Serving = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def interpreter(llama_wheels: Path) -> Path:
    """An environment with the engine, made once from the cached wheels."""
    home = llama_wheels.parent / f"llama-server-{sys.version_info[0]}.{sys.version_info[1]}"
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", "--no-index", "--find-links", llama_wheels,
             "llama-cpp-python[server]"], capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"the cached wheels do not install: {done.stderr.strip()[-200:]}")
        (home / "ready").touch()
    return python


@pytest.fixture(scope="session")
def llama(interpreter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The engine with a tiny model, one request after the other."""
    folder = tmp_path_factory.mktemp("llama")
    model = write_tiny_model(folder / "tiny.gguf")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [interpreter, "-m", "llama_cpp.server", "--model", model, "--model_alias", "tiny", "--n_ctx", "512",
             "--n_threads", "1", "--port", str(port), "--interrupt_requests", "false"],
            stdout=log, stderr=log, env={**os.environ, "LD_LIBRARY_PATH": ""},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            with suppress(OSError), urllib.request.urlopen(f"{url}/v1/models", timeout=2):
                break
            if server.poll() is not None:
                pytest.skip(f"the engine does not start: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def test_it_is_found_and_its_model_named(serving: Serving, llama: str) -> None:
    report = serving(llama)
    (found,) = [r for r in report["results"] if r["id"] == "serving.load-failed"]
    assert (found["status"], found["message"]) == ("pass", "loaded: tiny")


def test_a_streamed_completion_is_measured(serving: Serving, llama: str) -> None:
    report = serving(llama, "--live", "--max-tokens", "32")
    (found,) = [r for r in report["results"] if r["id"] == "serving.slow"]
    seen = {each["what"]: each["value"] for each in found["evidence"]}
    assert found["status"] == "pass"
    assert 0 < seen["first token seconds"] < 30
    assert seen["tokens per second of one request"] > 1


def test_one_request_after_the_other_is_seen_as_a_queue(serving: Serving, llama: str) -> None:
    for _ in range(3):
        report = serving(llama, "--live", "--max-tokens", "400", "--concurrency", "1,16", "--max-seconds", "100")
        (found,) = [r for r in report["results"] if r["id"] == "serving.queueing"]
        if found["status"] == "warn":
            assert "they queue" in found["message"]
            return
    # A busy machine starts the requests one after the other: then none waits for another.
    pytest.skip(f"this machine never had 16 requests at once: {found['message']}")


def test_its_address_with_v1_is_the_same(serving: Serving, llama: str) -> None:
    report = serving(f"{llama}/v1")
    assert [r["status"] for r in report["results"] if r["id"] == "serving.unreachable"] == ["info"]


