"""``compose lint`` and ``check --compose`` as people use them: stories C1, C4, C5, C6, F3, N2 and V11."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
FIXTURES = Path(__file__).parents[2] / "fixtures"
EIGHT = FIXTURES / "rtx8000x4-healthy-ollama-0-30-10" / "snapshot.json"


@pytest.fixture
def lint(gpudoctor: Command, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Lint one text and return the findings that are no pass and no skip."""

    def run(text: str, *arguments: str | Path, **environment: str) -> list[dict[str, Any]]:
        (tmp_path / "compose.yml").write_text(text, encoding="utf-8")
        machine = arguments or ("--hardware", "4x Quadro RTX 8000")
        done = gpudoctor("compose", "lint", "compose.yml", *machine, "--json", cwd=tmp_path, **environment)
        assert done.stderr == ""
        return [r for r in json.loads(done.stdout)["results"] if r["status"] not in ("pass", "skip")]

    return run


def of(findings: list[dict[str, Any]], check: str) -> list[dict[str, Any]]:
    return [each for each in findings if each["id"] == check]


STORY = """
services:
  main-brain:
    image: vllm/vllm-openai:v0.10.2
    runtime: nvidia
    environment:
      - CUDA_VISIBLE_DEVICES=0,1
    command: --model Qwen/Qwen3-8B --tensor-parallel-size {size}
"""


def test_c1_the_change_of_the_compose_file_is_written_out(lint: Callable[..., list[dict[str, Any]]]) -> None:
    (found,) = of(lint(STORY.format(size=2)), "compose.gpu-scope")
    assert "hands all GPUs to the container" in found["message"]
    assert found["location"] == {"file": "compose.yml", "line": 7, "column": 9}
    assert "device_ids: ['0', '1']" in found["fix"][0]["text"]


def test_c4_shared_memory(lint: Callable[..., list[dict[str, Any]]]) -> None:
    (found,) = of(lint(STORY.format(size=2)), "compose.shm-too-small")
    assert (found["status"], found["subject"]) == ("fail", "service:main-brain")
    assert of(lint(STORY.format(size=2) + "    ipc: host\n"), "compose.shm-too-small") == []
    assert of(lint(STORY.format(size=2) + "    volumes: [/dev/shm:/dev/shm]\n"), "compose.shm-too-small") == []


def test_c5_tensor_parallel_size_is_compared_with_what_cuda_shows(lint: Callable[..., list[dict[str, Any]]]) -> None:
    (found,) = of(lint(STORY.format(size=4)), "compose.parallel-mismatch")
    assert found["message"] == "vllm wants 4 GPUs, and the service gets 2: it will stop at the start"
    assert found["location"]["line"] == 8


def test_f3_the_default_of_this_release_and_the_variable(lint: Callable[..., list[dict[str, Any]]]) -> None:
    text = "services:\n  o: {image: 'ollama/ollama:0.11.10', gpus: all}\n"
    (found,) = of(lint(text), "compose.context-default")
    assert "4096" in found["message"]
    assert any("OLLAMA_CONTEXT_LENGTH" in step["text"] for step in found["fix"])


def test_v11_names_the_knob_that_works(lint: Callable[..., list[dict[str, Any]]]) -> None:
    text = "services:\n  o:\n    image: ollama/ollama\n    gpus: all\n    environment: [OLLAMA_NUM_GPU_LAYERS=37]\n"
    (found,) = of(lint(text), "compose.ignored-variable")
    assert (found["status"], found["location"]["line"]) == ("warn", 5)
    assert "num_gpu" in found["fix"][0]["text"]


def test_one_card_shared_by_two_that_do_not_fit(lint: Callable[..., list[dict[str, Any]]]) -> None:
    service = "image: 'vllm/vllm-openai:v0.19.1', gpus: all, command: '--model Qwen/Qwen3-8B'"
    text = f"services:\n  a: {{{service}}}\n  b: {{{service}}}\n"
    (found,) = of(lint(text, "--hardware", "1x A100 80GB"), "compose.overcommit")
    assert found["subject"] == "service:b"
    assert "add up to 1.8" in found["message"]


def test_a_recorded_machine_gives_its_gpus_and_listeners(lint: Callable[..., list[dict[str, Any]]]) -> None:
    text = "services:\n  a: {image: 'ollama/ollama:0.11.10', gpus: [{device_ids: ['4'], capabilities: [gpu]}]}\n"
    (found,) = of(lint(text, "--snapshot", EIGHT), "compose.unknown-gpu")
    assert "this machine has 4" in found["message"]


def test_this_machine_is_read_and_without_a_gpu_nothing_is_claimed(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {a: {image: 'ollama/ollama', gpus: all}}\n", encoding="utf-8")
    done = gpudoctor("compose", "lint", "compose.yml", "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    said = {r["status"] for r in report["results"] if r["id"] == "compose.unknown-gpu"}
    assert said <= {"unknown", "pass"}
    assert report["schema"] == "gpudoctor.report/1"


def test_profiles_are_chosen_and_what_is_left_out_is_named(
    gpudoctor: Command, lint: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    text = "services:\n  a: {image: nginx}\n  b: {image: 'vllm/vllm-openai:v0.11.0', profiles: [gpu]}\n"
    (left,) = of(lint(text), "compose.no-gpu-request")
    assert (left["status"], left["subject"]) == ("info", "service:b")
    machine = ("--hardware", "1x L4", "--profile", "gpu")
    assert [f["status"] for f in of(lint(text, *machine), "compose.no-gpu-request")] == ["fail"]
    (tmp_path / "compose.yml").write_text("services: {b: {image: x, profiles: [gpu]}}\n", encoding="utf-8")
    done = gpudoctor("compose", "lint", "compose.yml", "--hardware", "1x L4", cwd=tmp_path)
    assert (done.returncode, "--profile gpu" in done.stderr) == (2, True)


def test_without_a_name_the_usual_files_are_taken(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: nginx}}\n", encoding="utf-8")
    override = "services: {a: {ports: ['80:80']}, b: {image: y, ports: ['80:1']}}\n"
    (tmp_path / "compose.override.yml").write_text(override, encoding="utf-8")
    done = gpudoctor("compose", "lint", "--hardware", "1x L4", "--json", cwd=tmp_path)
    found = [r for r in of(json.loads(done.stdout)["results"], "compose.port-conflict") if r["status"] == "fail"]
    assert found[0]["location"]["file"] == "compose.override.yml"


def test_sarif_names_file_and_line(gpudoctor: Command) -> None:
    done = gpudoctor("compose", "lint", "host-indices-inside.yml", "--hardware", "4x RTX A6000", "-f", "sarif",
                     cwd=FIXTURES / "compose")  # fmt: skip
    results = json.loads(done.stdout)["runs"][0]["results"]
    places = [r["locations"][0]["physicalLocation"] for r in results if r["ruleId"] == "compose.gpu-scope"]
    assert places[0]["artifactLocation"]["uri"].endswith("host-indices-inside.yml")
    assert places[0]["region"]["startLine"] == 6


def test_check_judges_the_same_section_and_the_services_engines(gpudoctor: Command) -> None:
    file = FIXTURES / "compose" / "main-brain-runtime-and-cuda-visible-devices.yml"
    done = gpudoctor("check", "--snapshot", EIGHT, "--compose", file, "--json", SOURCE_DATE_EPOCH="1795132800")
    results = json.loads(done.stdout)["results"]
    assert [r["status"] for r in results if r["id"] == "compose.gpu-scope"] == ["warn"]
    engines = [r for r in results if r["id"] == "engine.gpu-unsupported" and r["status"] != "skip"]
    assert any("vllm" in json.dumps(r) for r in engines)


def test_flags_that_contradict_are_refused(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {a: {image: nginx}}\n", encoding="utf-8")
    for wrong in (("--hardware", "1x L4", "--snapshot", EIGHT), ("--driver", "535"), ("--hardware", "7x Nothing"),
                  ("--fail-on", "often"), ("--only", "compose.nothing")):
        done = gpudoctor("compose", "lint", "compose.yml", *wrong, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_accepted_findings_and_fail_on(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(STORY.format(size=2) + "    ipc: host\n", encoding="utf-8")
    arguments = ("compose", "lint", "compose.yml", "--hardware", "4x Quadro RTX 8000", "-qq")
    assert gpudoctor(*arguments, cwd=tmp_path).returncode == 0
    assert gpudoctor(*arguments, "--fail-on", "warn", cwd=tmp_path).returncode == 1


def test_tgi_takes_all_gpus_that_it_sees_and_wants_shared_memory_for_them(
    lint: Callable[..., list[dict[str, Any]]],
) -> None:
    text = "services:\n  t:\n    image: ghcr.io/huggingface/text-generation-inference:3.3.4\n    gpus: all\n"
    found = lint(text + "    command: --model-id Qwen/Qwen3-8B\n")
    assert of(found, "compose.parallel-mismatch") == []
    assert of(found, "compose.shm-too-small")[0]["message"].startswith("4 GPUs share a model")


@pytest.mark.parametrize(
    ("command", "mismatch"),
    [("--tp 2 --dp-size 2", False), ("--tp 4 --dp 4 --enable-dp-attention", False), ("--tp 4 --dp 2", True)],
)
def test_copies_of_a_model_take_gpus_of_their_own(
    lint: Callable[..., list[dict[str, Any]]], command: str, mismatch: bool
) -> None:
    text = f"services:\n  s:\n    image: lmsysorg/sglang:v0.5.2\n    gpus: all\n    command: --model-path m {command}\n"
    assert bool(of(lint(text), "compose.parallel-mismatch")) is mismatch


def test_amd_devices_are_no_nvidia_indices(lint: Callable[..., list[dict[str, Any]]]) -> None:
    text = "services:\n  s:\n    image: rocm/vllm\n    devices: ['amd.com/gpu=7']\n    command: vllm serve x\n"
    found = lint(text)
    assert of(found, "compose.unknown-gpu") == []
    assert of(found, "compose.no-gpu-request") == []
