"""What each engine says of itself ends up in the facts, and nothing that it should keep for itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .engines import LLAMA_CPP, OLLAMA, SGLANG, TGI, VLLM, Answers, Server, completions

Command = Callable[..., subprocess.CompletedProcess[str]]
Serving = Callable[..., dict[str, Any]]
Engine = Callable[..., Server]


def recorded(gpudoctor: Command, server: Server, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """The facts of one server's endpoint, as --save writes them."""
    gpudoctor("serving", server.url, "--save", tmp_path / "facts.json", "-qq", *arguments)
    (endpoint,) = json.loads((tmp_path / "facts.json").read_text())["serving"]["endpoints"]
    found: dict[str, Any] = endpoint
    return found


@pytest.mark.parametrize(
    ("answers", "facts", "model"),
    [
        (OLLAMA, {"engine": "ollama", "version": "0.11.10"},
         {"name": "gpt-oss:120b", "context": 8192, "context_maximum": 131072, "layers": 36, "gpu_bytes": 0}),
        (VLLM, {"engine": "vllm", "version": "0.10.2", "running": 3, "waiting": 0, "preemptions": 0, "kv_usage": 0.42,
                "kv_tokens": 960000},
         {"name": "openai/gpt-oss-120b", "context": 16384, "path": "openai/gpt-oss-120b"}),
        (SGLANG, {"engine": "sglang", "version": "0.5.3", "slots": 256, "kv_tokens": 400000, "running": 4},
         {"name": "qwen", "context": 40960, "path": "Qwen/Qwen3-8B"}),
        (TGI, {"engine": "tgi", "version": "3.3.6-dev0", "slots": 128, "running": 2, "waiting": 0},
         {"name": "Qwen/Qwen2.5-7B-Instruct", "context": 8192}),
        (LLAMA_CPP, {"engine": "llama.cpp", "version": "b6500-0c1e570", "slots": 4, "running": 2},
         {"path": "/models/Qwen3-8B-Q4_K_M.gguf", "context": 4096, "context_maximum": 40960}),
    ],
    ids=["ollama", "vllm", "sglang", "tgi", "llama.cpp"],
)  # fmt: skip
def test_each_engine_is_known_by_its_answers(
    gpudoctor: Command, engine: Engine, tmp_path: Path, answers: Answers, facts: dict[str, Any], model: dict[str, Any]
) -> None:
    endpoint = recorded(gpudoctor, engine(answers), tmp_path)
    assert {name: endpoint[name] for name in facts} == facts
    assert {name: endpoint["models"][0][name] for name in model} == model


def test_models_on_disk_are_not_taken_for_loaded_ones(gpudoctor: Command, engine: Engine, tmp_path: Path) -> None:
    models = recorded(gpudoctor, engine(OLLAMA), tmp_path)["models"]
    assert [(m["name"], m["loaded"]) for m in models] == [("gpt-oss:120b", True), ("gpt-oss:20b", False)]


@pytest.mark.parametrize("answers", [OLLAMA, VLLM, SGLANG, TGI, LLAMA_CPP],
                         ids=["ollama", "vllm", "sglang", "tgi", "llama.cpp"])  # fmt: skip
def test_without_live_nothing_is_generated(serving: Serving, engine: Engine, answers: Answers) -> None:
    server = engine(answers)
    serving(server.url)
    assert {(method, path) for method, path, _, _ in server.asked if method != "GET"} <= {("POST", "/api/show")}


def test_what_sglang_tells_of_its_keys_is_not_kept(gpudoctor: Command, engine: Engine, tmp_path: Path) -> None:
    recorded(gpudoctor, engine(SGLANG), tmp_path)
    assert "secret" not in (tmp_path / "facts.json").read_text()


def test_open_webui_is_not_taken_for_ollama(serving: Serving, engine: Engine) -> None:
    page = lambda handler: handler.begin("text/html")  # noqa: E731
    report = serving(engine({"/api/version": {"version": "0.6.5"}, "*": page}).url)
    (found,) = [r for r in report["results"] if r["id"] == "serving.unreachable"]
    assert (found["status"], "web page" in found["message"]) == ("fail", True)


def test_a_queue_that_is_gone_a_moment_later_is_none(serving: Serving, engine: Engine) -> None:
    looks = iter([5, 0])

    def metrics(handler: Any) -> None:
        handler.begin("text/plain")
        handler.wfile.write(b'vllm:num_requests_waiting{engine="0"} %d\n' % next(looks))

    report = serving(engine({**VLLM, "/metrics": metrics}).url)
    assert [r["status"] for r in report["results"] if r["id"] == "serving.queueing"] == ["pass"]


def test_a_queue_that_stays_is_a_finding(serving: Serving, engine: Engine) -> None:
    busy = VLLM["/metrics"].replace("num_requests_waiting{engine=\"0\",model_name=\"openai/gpt-oss-120b\"} 0.0",
                                    "num_requests_waiting{engine=\"0\",model_name=\"openai/gpt-oss-120b\"} 7.0")
    report = serving(engine({**VLLM, "/metrics": busy}).url)
    (found,) = [r for r in report["results"] if r["id"] == "serving.queueing"]
    assert (found["status"], found["message"]) == ("warn", "7 requests wait at vllm while 3 run")


def test_ollama_without_a_loaded_model_is_no_fault(serving: Serving, engine: Engine) -> None:
    report = serving(engine({**OLLAMA, "/api/ps": {"models": []}}).url)
    assert report["summary"]["fail"] == report["summary"]["warn"] == 0


def test_live_keeps_the_loaded_context_and_what_stays_loaded(serving: Serving, engine: Engine) -> None:
    server = engine({**OLLAMA, "/api/generate": completions(token_seconds=0.002)})
    serving(server.url, "--live", "--max-tokens", "8")
    asked = [json.loads(body) for _, path, _, body in server.asked if path == "/api/generate"]
    assert {(each["model"], each["options"]["num_ctx"], each["keep_alive"]) for each in asked} == {
        ("gpt-oss:120b", 8192, -1)}  # fmt: skip


def test_live_asks_for_no_more_tokens_than_allowed(serving: Serving, engine: Engine) -> None:
    server = engine({**VLLM, "/v1/completions": completions()})
    serving(server.url, "--live", "--max-tokens", "8", "--concurrency", "1,3")
    asked = [json.loads(body) for _, path, _, body in server.asked if path == "/v1/completions"]
    assert (max(each["max_tokens"] for each in asked), len(asked)) == (8, 5)


def test_live_ends_at_its_bound_when_tokens_never_end(serving: Serving, engine: Engine) -> None:
    server = engine({**VLLM, "/v1/completions": completions(token_seconds=0.2, tokens=10_000)})
    report = serving(server.url, "--live", "--max-seconds", "1", "--concurrency", "1,4")
    (found,) = [r for r in report["results"] if r["id"] == "serving.slow"]
    assert (found["status"], "did not end in time" in found["message"]) == ("fail", True)
    assert len([1 for _, path, _, _ in server.asked if path == "/v1/completions"]) == 2
