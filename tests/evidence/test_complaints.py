"""Prose alone, in English or Korean, ends in the right finding or the right question, never in "ready"."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = (
    'time=2025-09-10T10:00:00Z level=INFO source=routes.go:1332 msg="server config" env="map[OLLAMA_HOST:http://127.0.0.1:'
    '11434 OLLAMA_KEEP_ALIVE:5m0s OLLAMA_NUM_PARALLEL:1]"\n'
)
TOGETHER = "혼자 쓸 때는 괜찮은데 여러 명이 동시에 질문하면 답변이 엄청 느려집니다.\n"
RELOAD = "질문할 때마다 모델을 다시 로딩하는 것 같습니다.\n"


@pytest.fixture
def judged(gpudoctor: Command, tmp_path: Path) -> Callable[[str], tuple[int, list[dict[str, Any]]]]:
    """The exit code, and the findings that are neither pass nor skip."""

    def run(text: str) -> tuple[int, list[dict[str, Any]]]:
        (tmp_path / "paste.txt").write_text(text, encoding="utf-8")
        done = gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path)
        results = json.loads(done.stdout)["results"]
        return done.returncode, [each for each in results if each["status"] not in ("pass", "skip")]

    return run


@pytest.mark.parametrize(
    ("text", "check"),
    [
        (TOGETHER, "serving.queueing"),
        ("사용자 5명이 한꺼번에 물어보면 한참 기다려야 합니다", "serving.queueing"),
        ("답이 너무 늦어요, 직원 세 명만 써도 그래요", "serving.queueing"),
        ("When 5 people ask at the same time everything becomes very slow.", "serving.queueing"),
        ("Latency explodes with 16 concurrent requests", "serving.queueing"),
        ("첫 글자가 나올 때까지 30초 넘게 걸려요.", "serving.slow"),
        ("처음 답변이 나오는 데 오래 걸리고 그 뒤로는 빨라요", "serving.slow"),
        ("It takes forever until the first token appears", "serving.slow"),
        ("TTFT is 20 s on an idle server", "serving.slow"),
        (RELOAD, "serving.load-slow"),
        ("5분만 지나면 모델이 내려가서 또 기다려요", "serving.load-slow"),
        ("Ollama reloads the model on every request", "serving.load-slow"),
        ("each time I switch models it is loading the model again", "serving.load-slow"),
        ("Hi, my model is slow. Only 3 tokens per second.", "serving.slow"),
        ("GPU 사용률이 0%이고 답변이 너무 느려요.", "serving.slow"),
        ("the answers are very\nslow", "serving.slow"),
    ],
)
def test_a_complaint_is_answered_with_a_question(
    judged: Callable[[str], tuple[int, list[dict[str, Any]]]], text: str, check: str
) -> None:
    code, found = judged(text)
    assert ([(each["id"], each["status"]) for each in found], code) == ([(check, "unknown")], 3)
    assert found[0]["fix"]


def test_one_request_at_a_time_is_the_cause(judged: Callable[[str], tuple[int, list[dict[str, Any]]]]) -> None:
    first = judged(TOGETHER + CONFIG)[1][0]
    assert (first["id"], first["status"]) == ("serving.queueing", "warn")


def test_a_model_unloaded_when_idle_is_the_cause(judged: Callable[[str], tuple[int, list[dict[str, Any]]]]) -> None:
    first = judged(RELOAD + CONFIG)[1][0]
    assert "5m0s after its last request" in first["message"]


def test_what_the_log_proves_needs_no_question(judged: Callable[[str], tuple[int, list[dict[str, Any]]]]) -> None:
    found = judged(TOGETHER + "load_tensors: offloaded 20/81 layers to GPU\n")[1]
    assert [each["id"] for each in found] == ["serving.offload-partial"]


@pytest.mark.parametrize(
    "text",
    [
        "Using a slow image processor as `use_fast` is unset and a slow processor was saved with this model.\n",
        "INFO 09-03 16:28:23 [loggers.py:123] Engine 000: Running: 2 reqs, Waiting: 0 reqs, GPU KV cache usage: 3.1%\n",
        "[GIN] 2025/09/10 - 10:00:00 | 200 | 30.2s | 10.0.0.7 | POST \"/api/chat\" slow\n",
    ],
)
def test_a_log_does_not_complain(judged: Callable[[str], tuple[int, list[dict[str, Any]]]], text: str) -> None:
    log = "INFO 09-03 16:28:20 [api_server.py:1882] vLLM API server version 0.10.2\n" + text
    assert [each for each in judged(log)[1] if each["id"].startswith("serving.")] == []
