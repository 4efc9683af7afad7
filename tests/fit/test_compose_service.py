"""`gpudoctor fit --from-compose`: the service's own model, flags and GPUs."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.fit.compose_service import engine_of, read_service
from gpudoctor.fit.model import Unusable

Command = Callable[..., subprocess.CompletedProcess[str]]

VLLM: dict[str, Any] = {
    "image": "vllm/vllm-openai:v0.11.0",
    "command": "--model Qwen/Qwen3-8B --max-model-len=16384 --gpu-memory-utilization 0.85 -tp 2 --enforce-eager",
    "deploy": {"resources": {"reservations": {"devices": [{"driver": "nvidia", "device_ids": ["0", "1"]}]}}},
}
OLLAMA: dict[str, Any] = {
    "image": "ollama/ollama:0.11.10",
    "environment": ["OLLAMA_CONTEXT_LENGTH=32768", "OLLAMA_NUM_PARALLEL=2", "OLLAMA_KV_CACHE_TYPE=q8_0",
                    "NVIDIA_VISIBLE_DEVICES=1"],
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "image": "ghcr.io/ggml-org/llama.cpp:server-cuda",
    "command": ["-m", "/models/m.gguf", "-c", "32768", "-np", "4", "-ngl", "99", "-ctk", "q8_0", "--cpu-moe"],
}


@pytest.fixture
def compose(tmp_path: Path) -> Callable[..., Path]:
    def write(**services: dict[str, Any]) -> Path:
        path = tmp_path / "compose.json"
        path.write_text(json.dumps({"services": services}), encoding="utf-8")
        return path

    return write


def test_vllm_service(compose: Callable[..., Path]) -> None:
    service = read_service(str(compose(brain=VLLM, db={"image": "postgres:17"})))
    assert service.model == "Qwen/Qwen3-8B"
    assert service.gpus == (0, 1)
    settings = service.settings
    assert (settings.engine, settings.version) == ("vllm", "0.11.0")
    assert (settings.context, settings.tensor_parallel, settings.gpu_memory_utilization) == (16384, 2, 0.85)
    assert settings.enforce_eager


def test_ollama_service_sets_by_environment(compose: Callable[..., Path]) -> None:
    service = read_service(f"{compose(ollama=OLLAMA, brain=VLLM)}:ollama")
    assert service.model is None
    assert service.gpus == (1,)
    assert (service.settings.context, service.settings.parallel) == (32768, 2)
    assert service.settings.kv_cache_type == "q8_0"


@pytest.mark.parametrize(
    ("image", "words", "engine"),
    [
        ("ollama/ollama", (), "ollama"), ("myhub:5000/team/vllm:latest", ("serve",), "vllm"),
        ("rocm/vllm:rocm6.4.1", (), "vllm"), ("python:3.12", ("python3", "-m", "sglang.launch_server"), "sglang"),
        ("ubuntu", ("/opt/bin/llama-server", "-m", "x.gguf"), "llama.cpp"), ("", ("vllm", "serve", "m"), "vllm"),
        ("debian", ("sh", "-c", "ollama serve & wait"), "ollama"),
        ("ghcr.io/open-webui/open-webui:ollama", (), None), ("prom/ollama-exporter", (), None),
        ("ghcr.io/acme/app", ("--backend", "http://ollama:11434"), None), ("acme/vllm-router:v1", (), None),
        ("node:20", ("npm", "start"), None),
    ],
)
def test_what_only_bears_an_engines_name_is_none(image: str, words: tuple[str, ...], engine: str | None) -> None:
    assert engine_of(image, words) == engine


def test_a_model_in_a_mounted_folder_is_found_on_the_host(compose: Callable[..., Path], tmp_path: Path) -> None:
    mounted = {**LLAMA, "volumes": ["./weights:/models:ro", "/srv:/"]}
    assert read_service(str(compose(llm=mounted))).model == str(tmp_path / "weights" / "m.gguf")


def test_llama_cpp_context_is_divided_among_its_slots(compose: Callable[..., Path]) -> None:
    service = read_service(str(compose(llm=LLAMA)))
    assert service.settings.context == 8192
    assert service.settings.parallel == 4
    assert service.settings.cpu_moe


def test_through_the_command_line(gpudoctor: Command, compose: Callable[..., Path]) -> None:
    path = compose(brain=VLLM)
    arguments = ("--from-compose", f"{path}:brain", "--hardware", "2x RTX 4090", "--context", "8192")
    done = gpudoctor("fit", *arguments, "--json")
    report = json.loads(done.stdout)
    assert report["verdict"] == "fits"
    assert report["model"]["name"] == "Qwen/Qwen3-8B"
    assert report["engine"] == {"name": "vllm", "version": "0.11.0"}
    assert report["settings"]["context"] == 8192
    assert report["settings"]["tensor_parallel"] == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"[1, 2]", b'{"services": {}}', b'{"services": {"a": {"image": "postgres"}}}', b"\x00\xff", b"[" * 100_000,
     b'{"services": {"a": {"image": "vllm/vllm-openai", "command": "--max-model-len lots"}}}',
     b'{"services": {"a": {"image": "vllm/vllm-openai"}, "b": {"image": "ollama/ollama"}}}'],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "compose.json"
    path.write_bytes(content)
    with pytest.raises(Unusable):
        read_service(str(path))
    with pytest.raises(Unusable):
        read_service(str(tmp_path / "missing.json"))

YAML = """
# 주석: the brain of the house
services:
  brain: &brain
    image: vllm/vllm-openai:v0.11.0
    command: >
      --model Qwen/Qwen3-8B
      --max-model-len 16384
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              device_ids: ['0', '1']
              capabilities: [gpu]
"""


def test_yaml_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "docker-compose.yml"
    path.write_text(YAML, encoding="utf-8")
    service = read_service(str(path))
    assert (service.model, service.gpus, service.settings.context) == ("Qwen/Qwen3-8B", (0, 1), 16384)


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c",
        "\tx: 1",
        "services:\n  a: *none\n",
        "services: {a: {image: x}, a: {image: y}}",
        "a: !!python/object:os.x",
        "[" * 20_000,
    ],
)
def test_broken_yaml_is_one_clear_line(gpudoctor: Command, tmp_path: Path, text: str) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(text, encoding="utf-8")
    done = gpudoctor("fit", "--from-compose", path, "--hardware", "L4")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" not in done.stderr


def test_the_hub_cache_is_where_hugging_face_says(gpudoctor: Command, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "models--acme--tiny" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text("0123", encoding="utf-8")
    shape = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 128, "vocab_size": 256,
             "max_position_embeddings": 512, "torch_dtype": "bfloat16", "tie_word_embeddings": False}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    question = ("fit", "acme/tiny", "--engine", "transformers", "--hardware", "L4", "--json")
    assert gpudoctor(*question).returncode == 2
    done = gpudoctor(*question, HF_HOME=str(tmp_path))
    assert json.loads(done.stdout)["model"]["layers"] == 2
