"""Services that share a GPU: what each will hold is known, computed, or said to be unknown; never taken for nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.compose.machine import named_machine
from gpudoctor.compose.reading import read_project
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Container, Containers
from gpudoctor.facts.serving import Endpoint, ServedModel, Serving
from gpudoctor.testing import judge_check

Command = Callable[..., subprocess.CompletedProcess[str]]
Lint = Callable[..., list[str]]
VLLM = """
  vllm: {image: 'vllm/vllm-openai:v0.19.1', gpus: all, command: '--model Qwen/Qwen3-8B --gpu-memory-utilization 0.6'}
"""


@pytest.fixture
def lint(gpudoctor: Command, tmp_path: Path) -> Lint:
    """Lint services on one machine; return ``status subject: message`` of a check that is no pass and no skip."""

    def run(services: str, check: str = "compose.overcommit", hardware: str = "1x L40S") -> list[str]:
        (tmp_path / "compose.yml").write_text(f"services:\n{services}", encoding="utf-8")
        done = gpudoctor("compose", "lint", "compose.yml", "--hardware", hardware, "--only", check, "--json",
                         cwd=tmp_path)  # fmt: skip
        return [f"{r['status']} {r['subject']}: {r['message']}" for r in json.loads(done.stdout)["results"]
                if r["id"] == check]

    return run


def of(said: list[str], status: str) -> list[str]:
    return [each for each in said if each.startswith(status)]


def ollama(command: str) -> str:
    return f"  ollama: {{image: 'ollama/ollama:0.32.15', gpus: all, entrypoint: [sh, -c], command: ['{command}']}}\n"


@pytest.mark.parametrize("program", ["run", "pull"])
def test_a_model_that_the_command_loads_counts(lint: Lint, program: str) -> None:
    said = lint(VLLM + ollama(f"ollama serve & sleep 5; ollama {program} qwen3:32b; wait"))
    assert "do not fit together" in of(said, "fail")[0]
    fine = lint(VLLM + ollama(f"ollama serve & sleep 5; ollama {program} nomic-embed-text; wait"))
    assert of(fine, "fail") == []
    assert "fit together" in of(fine, "pass")[-1]


def test_a_helper_that_pulls_into_it_counts(lint: Lint) -> None:
    helper = ("  pull: {image: 'ollama/ollama:0.32.15', environment: {OLLAMA_HOST: 'http://ollama:11434'},\n"
              "         entrypoint: [sh, -c, ollama pull qwen3:32b]}\n")
    alone = "  ollama: {image: 'ollama/ollama:0.32.15', gpus: all}\n"
    assert of(lint(VLLM + alone + helper), "fail")
    assert of(lint(VLLM + alone + helper.replace("ollama:11434", "other:11434")), "fail") == []


def test_what_users_name_is_unknown_and_never_fine(lint: Lint) -> None:
    said = lint(VLLM + "  ollama: {image: 'ollama/ollama:0.32.15', gpus: all}\n")
    assert "what ollama will need is not known" in of(said, "unknown")[0]
    assert not [each for each in of(said, "pass") if "together" in each]


def test_a_service_of_another_kind_is_counted_or_said_to_be_unknown(lint: Lint) -> None:
    said = lint(VLLM + "  comfy: {image: 'someone/comfyui:latest', gpus: all}\n")
    assert "what comfy will need is not known" in of(said, "unknown")[0]
    whisper = ("  asr: {image: 'fedirz/faster-whisper-server:latest-cuda', gpus: all,\n"
               "        environment: {WHISPER__MODEL: Systran/faster-whisper-large-v3}}\n")
    said = lint(VLLM + whisper)
    assert of(said, "pass")[-1].endswith("fit together") or "asr will need is not known" in of(said, "unknown")[0]


def test_shares_and_an_unknown_that_are_too_much_already_fail(lint: Lint) -> None:
    two = VLLM + VLLM.replace("  vllm:", "  second:")
    said = lint(two + "  comfy: {image: 'someone/comfyui', gpus: all}\n")
    assert "do not fit together" in of(said, "fail")[0]


def test_layers_on_the_processor_are_no_fit(lint: Lint) -> None:
    said = lint(ollama("ollama serve & ollama run llama3.3:70b"), hardware="1x RTX 4090")
    assert "the processor computes the rest" in of(said, "warn")[0]


def test_what_ollama_holds_now_counts(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text("name: llm\nservices:\n" + VLLM + "  ollama: {image: 'ollama/ollama:0.32.15', gpus: all}\n",
                    encoding="utf-8")
    labels = {"com.docker.compose.service": "ollama", "com.docker.compose.project": "llm"}
    running = Containers(containers=(Container(id="1", name="llm-ollama-1", labels=labels),))
    endpoint = Endpoint(url="http://127.0.0.1:11434", engine="ollama", container="llm-ollama-1",
                        models=(ServedModel(name="qwen3:32b"),))
    facts: dict[str, Any] = {"compose": Compose(projects=(read_project([str(file)]),)), "containers": running,
                             "gpus": named_machine("1x L40S").gpus}
    now = judge_check("compose.overcommit", **facts, serving=Serving(endpoints=(endpoint,)))
    assert [r.status for r in now if "fit together" in r.finding.message] == ["fail"]
    unloaded = Endpoint(url="http://127.0.0.1:11434", engine="ollama", container="llm-ollama-1",
                        models=(ServedModel(name="qwen3:32b", loaded=False),))
    idle = judge_check("compose.overcommit", **facts, serving=Serving(endpoints=(unloaded,)))
    assert [r.status for r in idle if "share" in r.finding.message] == ["unknown"]


RADEON = """  brain:
    image: {image}
    devices: [/dev/kfd, /dev/dri]
    mem_limit: {limit}
    entrypoint: [sh, -c]
    command: ['{command}']
"""


@pytest.mark.parametrize(("image", "limit", "command", "expected"), [
    ("ollama/ollama:0.32.15-rocm", "200m", "ollama serve & ollama run llama3.1:8b", "fail"),
    ("ollama/ollama:0.32.15-rocm", "8g", "ollama serve & ollama run llama3.1:8b", "pass"),
    ("ollama/ollama:0.32.15-rocm", "200m", "ollama serve", "skip"),
    ("rocm/vllm:latest", "200m", "vllm serve Qwen/Qwen3-8B", "skip"),
])
def test_a_memory_limit_on_amd_is_judged_where_the_need_has_a_source(
    lint: Lint, image: str, limit: str, command: str, expected: str
) -> None:
    said = lint(RADEON.format(image=image, limit=limit, command=command), "compose.memory-limit-low", "1x MI300X")
    assert [each.split()[0] for each in said] == [expected]
