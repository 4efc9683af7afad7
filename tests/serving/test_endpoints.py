"""What is worth asking on a machine: by port, process and container, and nothing beyond it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.docker import Container, Containers, PublishedPort
from gpudoctor.facts.network import Listener, Processes
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.endpoints import UnknownPlace, candidates, of_container_named, of_url
from gpudoctor.judging.engine_flags import read_flags


def machine(*listeners: Listener, containers: tuple[Container, ...] = ()) -> Snapshot:
    return Snapshot(processes=Processes(listeners=listeners), containers=Containers(containers=containers))


def listener(port: int, process: str | None, address: str = "0.0.0.0", pid: int | None = 10) -> Listener:
    return Listener(port=port, address=address, process=process, pid=pid)


def brain(**changes: Any) -> Container:
    known: dict[str, Any] = {"id": "c" * 64, "name": "main-brain", "image": "ollama/ollama:0.11.10", "pid": 77,
                             "ports": (PublishedPort(host_port=11435, container_port=11434),)}  # fmt: skip
    return Container(**{**known, **changes})


@pytest.mark.parametrize(
    ("held", "url"),
    [
        (listener(11434, "ollama", "127.0.0.1"), "http://127.0.0.1:11434"),
        (listener(8000, None, "0.0.0.0", None), "http://127.0.0.1:8000"),
        (listener(8000, "python3.12", "::"), "http://127.0.0.1:8000"),
        (listener(30000, "sglang", "::1"), "http://[::1]:30000"),
        (listener(8000, "vllm", "10.0.0.5"), "http://10.0.0.5:8000"),
        (listener(9100, "vllm"), "http://127.0.0.1:9100"),
        (listener(8080, "docker-proxy"), "http://127.0.0.1:8080"),
    ],
)
def test_a_listener_that_may_be_an_engine_is_asked(held: Listener, url: str) -> None:
    assert [each.url for each in candidates(machine(held))] == [url]


@pytest.mark.parametrize(
    "held",
    [listener(8080, "nginx"), listener(8080, "java"), listener(3000, "node"), listener(8000, "ssh"),
     listener(22, "sshd"), listener(5432, "postgres"), listener(9000, None, pid=None)],
    ids=lambda held: f"{held.process}:{held.port}",
)  # fmt: skip
def test_other_programs_are_left_in_peace(held: Listener) -> None:
    assert candidates(machine(held)) == ()


def test_a_container_s_published_port_leads_to_it() -> None:
    (found,) = candidates(machine(listener(11435, "docker-proxy"), containers=(brain(),)))
    assert (found.url, found.container, found.pid) == ("http://127.0.0.1:11435", "main-brain", 77)


def test_a_published_port_is_found_without_a_proxy_process() -> None:
    (found,) = candidates(machine(containers=(brain(),)))
    assert (found.url, found.origin) == ("http://127.0.0.1:11435", "container")


def test_a_container_that_publishes_nothing_is_asked_at_its_own_address() -> None:
    own = brain(ports=(), addresses=("172.18.0.2", "fd18::2"))
    (found,) = candidates(machine(containers=(own,)))
    assert (found.url, found.origin, found.port) == ("http://172.18.0.2:11434", "inside", 0)


def test_two_that_publish_nothing_are_both_asked() -> None:
    two = tuple(brain(id=str(n) * 64, name=f"brain-{n}", ports=(), addresses=(f"172.18.0.{n}",)) for n in (2, 3))
    assert [each.url for each in candidates(machine(containers=two))] == [
        "http://172.18.0.2:11434", "http://172.18.0.3:11434"]


def test_a_container_that_publishes_its_metrics_only_is_asked_at_its_own_address() -> None:
    ports = (PublishedPort(host_port=9090, container_port=9090, address="0.0.0.0"),)
    (found,) = candidates(machine(containers=(brain(ports=ports, addresses=("172.18.0.2",)),)))
    assert found.url == "http://172.18.0.2:11434"


def test_a_container_that_publishes_nothing_is_named() -> None:
    (found,) = of_container_named("main-brain", machine(containers=(brain(ports=()),)))
    assert "publishes no port" in str(found.failure)


@pytest.mark.parametrize(
    ("image", "inside"),
    [("open-webui/open-webui:ollama", 8080), ("acme/vllm-exporter:1", 9400), ("vllm/vllm-openai:v0.10.2", 9090)],
)
def test_a_page_or_exporter_beside_an_engine_is_not_taken_for_one(image: str, inside: int) -> None:
    ports = (PublishedPort(host_port=8080, container_port=inside),)
    found = candidates(machine(listener(8080, "docker-proxy"), containers=(brain(image=image, ports=ports),)))
    assert found
    assert not any(each.sure for each in found)


def test_of_several_ports_the_engine_s_own_is_asked() -> None:
    ports = (PublishedPort(host_port=9090, container_port=9090), PublishedPort(host_port=18000, container_port=8000))
    found = of_container_named("main-brain", machine(containers=(brain(image="vllm/vllm-openai:v1", ports=ports),)))
    assert [each.port for each in found] == [18000]


def test_a_stopped_container_is_named_as_such() -> None:
    (found,) = of_container_named("main-brain", machine(containers=(brain(state="exited"),)))
    assert "does not run (it is exited)" in str(found.failure)


def test_an_unknown_container_is_bad_input() -> None:
    with pytest.raises(UnknownPlace, match="no container 'brian' runs here"):
        of_container_named("brian", machine(containers=(brain(),)))


@pytest.mark.parametrize(
    ("text", "url", "local"),
    [
        ("localhost:8000", "http://localhost:8000", True),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000", True),
        ("https://gpu02.example/llm/v1", "https://gpu02.example:443/llm", False),
        ("http://[::1]:30000", "http://[::1]:30000", True),
        ("gpu01:8000", "http://gpu01:8000", True),
    ],
)
def test_addresses_as_people_write_them(text: str, url: str, local: bool) -> None:
    found = of_url(text, machine(), "gpu01")
    assert (found.url, found.local) == (url, local)


def test_the_end_of_an_ssh_tunnel_is_another_machine() -> None:
    assert of_url("http://127.0.0.1:8000", machine(listener(8000, "ssh", "127.0.0.1"))).local is False


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("vllm serve m --tensor-parallel-size 4 --max_model_len=16384 --api-key sk-1",
         {"tensor_parallel": "4", "context": "16384"}),
        ("python -m sglang.launch_server --tp 2 --port 30000", {"tensor_parallel": "2", "port": "30000"}),
        ("llama-server -m x.gguf -c 8192 -np 4 -ngl 99", {"context": "8192", "parallel": "4", "gpu_layers": "99"}),
        ("sh -c exec-something", {}),
        ("vllm serve m --tensor-parallel-size", {}),
    ],
)
def test_only_known_flags_are_read(command: str, expected: dict[str, str]) -> None:
    assert read_flags(command.split()) == expected


_INSIDE = """
import subprocess, sys
sys.path.insert(0, sys.argv[1])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
import engines
from http.server import ThreadingHTTPServer
def at(port, answers):
    server = engines.Server.__new__(engines.Server)
    class Fixed(ThreadingHTTPServer):
        def __init__(self, address, handler):
            super().__init__(("127.0.0.1", port), handler)
    engines.ThreadingHTTPServer = Fixed
    server.__init__(answers)
    return server
servers = [at(11434, engines.OLLAMA), at(8000, engines.VLLM), at(8080, {"*": lambda h: h.begin("text/html")}),
           at(9333, engines.LLAMA_CPP), at(30000, {"/v1/models": lambda h: h.begin("application/json", 401)})]
done = subprocess.run([sys.argv[2], "serving", "--json"], capture_output=True, text=True)
print(__import__("json").dumps({"report": __import__("json").loads(done.stdout), "stderr": done.stderr,
                                "strangers": servers[3].asked}))
"""


@pytest.mark.tier("root")
def test_in_a_network_of_its_own_what_serves_is_found_and_a_page_is_left_out() -> None:
    if not Path("/usr/sbin/ip").exists() and not Path("/sbin/ip").exists():
        pytest.skip("no ip here (package iproute2)")
    command = ["unshare", "-n", sys.executable, "-c", _INSIDE, str(Path(__file__).parent),
               str(Path(sys.executable).with_name("gpudoctor"))]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, "XDG_CONFIG_HOME": "/nonexistent"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    subjects = [r["subject"] for r in said["report"]["results"] if r["id"] == "serving.unreachable"]
    assert sorted(subjects) == [f"endpoint:http://127.0.0.1:{port}" for port in (11434, 30000, 8000)]
    assert said["strangers"] == []
