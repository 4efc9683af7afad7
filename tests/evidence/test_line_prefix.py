"""A document each of whose lines a collector of logs prefixed or wrapped is the same document."""

import io
import json
from collections.abc import Callable

import pytest

from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.snapshot import Snapshot
from tests.evidence.bug_report_text import QUERY, XID_79

STAMP = "2026-11-19T07:05:00.123456789Z"
#: Collector -> what it makes of a line.
COLLECTORS: dict[str, Callable[[str], str]] = {
    "none": lambda line: line,
    "compose": lambda line: f"vllm-1  | {line}",
    "compose-v1": lambda line: f"vllm_1            | {line}",
    "compose-timestamps": lambda line: f"vllm-1  | {STAMP} {line}",
    "kubectl": lambda line: f"[pod/vllm-7d4b9c-x2x1z/vllm] {line}",
    "kubectl-timestamps": lambda line: f"{STAMP} {line}",
    "containerd": lambda line: f"{STAMP} stdout F {line}",
    "journald": lambda line: f"Nov 19 07:05:00 gpu07 ollama[4711]: {line}",
    "journald-iso": lambda line: f"2026-11-19T07:05:00+0100 gpu07 docker[4711]: {line}",
    "logcli": lambda line: f'2026-11-19T07:05:00Z {{app="vllm", node="gpu07"}} {line}',
    "docker-json": lambda line: json.dumps({"log": f"{line}\n", "stream": "stderr", "time": STAMP}),
    "journald-json": lambda line: json.dumps({"__REALTIME_TIMESTAMP": "1", "MESSAGE": line, "_PID": "4711"}),
    "loki-jsonl": lambda line: json.dumps({"labels": {"app": "vllm"}, "line": line, "timestamp": STAMP}),
    "quoted": lambda line: f"> {line}",
}
CSV = "index, name, memory.total [MiB]\n0, NVIDIA H100 80GB HBM3, 81559 MiB\n1, NVIDIA H100 80GB HBM3, 81559 MiB\n"
INSPECT = json.dumps(
    [{"Created": "2026-11-19T07:00:00Z", "Id": "c7ee8cdb3d8b", "Name": "/vllm", "Path": "vllm", "Args": [],
      "State": {"Status": "running"}, "Config": {"Image": "vllm/vllm-openai:v0.10.1"},
      "HostConfig": {"ShmSize": 67108864}}],
    indent=4,
)  # fmt: skip
COMPOSE = "services:\n  vllm:\n    image: vllm/vllm-openai:v0.10.1\n    deploy:\n      replicas: 1\n"


def facts(text: str, collector: str) -> Snapshot:
    lines = [COLLECTORS[collector](line) for line in text.rstrip("\n").split("\n")]
    paste = Paste()
    paste.feed(io.BytesIO(("\n".join(lines) + "\n").encode()), "paste")
    return paste.snapshot()


@pytest.mark.parametrize("collector", COLLECTORS)
@pytest.mark.parametrize("text", [QUERY, CSV], ids=["query", "csv"])
def test_the_gpus_are_read(text: str, collector: str) -> None:
    found = facts(text, collector).gpus
    assert isinstance(found, Gpus)
    assert [gpu.memory_total_bytes for gpu in found.gpus] == [81559 << 20] * 2


@pytest.mark.parametrize("collector", COLLECTORS)
def test_json_is_read(collector: str) -> None:
    found = facts(INSPECT, collector).containers
    assert isinstance(found, Containers)
    assert found.containers[0].shm_size_bytes == 64 << 20


@pytest.mark.parametrize("collector", COLLECTORS)
def test_yaml_is_read(collector: str) -> None:
    assert "Compose" in type(facts(COMPOSE, collector).compose).__name__


@pytest.mark.parametrize("collector", [name for name in COLLECTORS if name not in ("journald", "journald-iso")])
def test_a_line_of_the_kernel_is_one(collector: str) -> None:
    found = facts(XID_79, collector).kernel_log
    assert [event.code for event in getattr(found, "events", ())] == [79]


@pytest.mark.parametrize("collector", ["journald", "journald-iso"])
def test_what_another_program_quotes_is_no_line_of_the_kernel(collector: str) -> None:
    assert getattr(facts(XID_79, collector).kernel_log, "events", ()) == ()
