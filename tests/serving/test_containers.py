"""An engine in a real container of a real Docker: found by its name, its processes and its port."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rig_images
from rig import Engine

from .engines import OLLAMA

pytestmark = pytest.mark.tier("docker")
IMAGE = "ollama/ollama:0.11.10"


def pages() -> bytes:
    """Ollama's answers as files, for busybox' httpd."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in ("/api/version", "/api/ps", "/api/tags"):
            data = json.dumps(OLLAMA[path]).encode()
            entry = tarfile.TarInfo(f"www{path}")
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture(scope="module")
def brain(bare_engine: Engine) -> Iterator[Any]:
    """A container called main-brain that answers as Ollama does, in the engine's own network."""
    client = bare_engine.client()
    client.images.get(rig_images.BUSYBOX).tag(*IMAGE.rsplit(":", 1))
    command = ["busybox", "httpd", "-f", "-p", "11434", "-h", "/www"]
    made = client.containers.create(IMAGE, command, name="main-brain", network_mode="host")
    made.put_archive("/", pages())
    made.start()
    time.sleep(0.5)
    yield made
    made.remove(force=True)


def ask(engine: Engine, *arguments: str) -> dict[str, Any]:
    """Run the command in the engine's network, as on its host."""
    command = ["nsenter", "-t", str(engine.pid), "-n", str(Path(sys.executable).with_name("gpudoctor")), "serving",
               *arguments, "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, "DOCKER_HOST": engine.url, "XDG_CONFIG_HOME": "/nonexistent"})  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_it_is_found_by_its_name(bare_engine: Engine, brain: Any) -> None:
    report = ask(bare_engine, "--container", "main-brain")
    (found,) = [r for r in report["results"] if r["id"] == "serving.load-failed"]
    assert (found["status"], found["message"]) == ("pass", "loaded: gpt-oss:120b")


def test_it_is_found_without_being_named(bare_engine: Engine, brain: Any, tmp_path: Path) -> None:
    ask(bare_engine, "--save", str(tmp_path / "facts.json"))
    (endpoint,) = json.loads((tmp_path / "facts.json").read_text())["serving"]["endpoints"]
    assert (endpoint["engine"], endpoint["container"]) == ("ollama", "main-brain")
    assert len(endpoint["pids"]) >= 1


def test_another_name_is_one_line_with_those_there_are(bare_engine: Engine, brain: Any) -> None:
    report = ask(bare_engine, "--container", "main-brian")
    assert (report["exit_code"], "main-brain" in report["error"]["hint"]) == (2, True)


def test_a_stopped_one_is_told(bare_engine: Engine, brain: Any) -> None:
    brain.stop(timeout=0)
    report = ask(bare_engine, "--container", "main-brain")
    brain.start()
    assert report["error"]["message"] == "no container 'main-brain' runs here"


@pytest.fixture
def hidden(bare_engine: Engine, brain: Any) -> Iterator[Any]:
    """Ollama beside a web page in one network: nothing is published."""
    client = bare_engine.client()
    network = client.networks.create("webui")
    command = ["busybox", "httpd", "-f", "-p", "11434", "-h", "/www"]
    made = client.containers.create(IMAGE, command, name="hidden-brain", network="webui")
    made.put_archive("/", pages())
    made.start()
    time.sleep(0.5)
    yield made
    made.remove(force=True)
    network.remove()


def test_one_that_publishes_no_port_is_asked_at_its_own_address(bare_engine: Engine, hidden: Any) -> None:
    report = ask(bare_engine, "--container", "hidden-brain")
    (found,) = [r for r in report["results"] if r["id"] == "serving.unreachable"]
    hidden.reload()
    (network,) = hidden.attrs["NetworkSettings"]["Networks"].values()
    assert (found["status"], network["IPAddress"] in found["message"]) == ("pass", True)
    assert "publishes no port" in found["message"]


def test_one_in_a_network_that_cannot_be_reached_is_no_failure(bare_engine: Engine, hidden: Any) -> None:
    hidden.pause()
    report = ask(bare_engine, "--container", "hidden-brain")
    hidden.unpause()
    (found,) = [r for r in report["results"] if r["id"] == "serving.unreachable"]
    assert (found["status"], "publishes no port" in found["message"]) == ("unknown", True)


def test_one_whose_network_is_on_the_wire_is_not_asked(bare_engine: Engine, hidden: Any) -> None:
    """By another name the bridge is nobody's that is known: it might be a cable."""
    in_network = ["nsenter", "-t", str(bare_engine.pid), "-n"]
    links = json.loads(subprocess.run([*in_network, "ip", "-j", "link"], capture_output=True, check=True).stdout)
    (bridge,) = [each["ifname"] for each in links if each["ifname"].startswith("br-")]
    subprocess.run([*in_network, "ip", "link", "set", bridge, "name", "lan0"], check=True)
    report = ask(bare_engine, "--container", "hidden-brain")
    subprocess.run([*in_network, "ip", "link", "set", "lan0", "name", bridge], check=True)
    (found,) = [r for r in report["results"] if r["id"] == "serving.unreachable"]
    assert (found["status"], "no bridge" in found["message"]) == ("unknown", True)
