"""What Compose files out there do: shell lines, short and long forms mixed, placeholders, variables of llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from compose_plugin import config, plugin

from gpudoctor.compose.reading import read_project
from gpudoctor.compose.secrets import shown_words
from gpudoctor.facts.compose import Service
from gpudoctor.judging.composed import asked


def service(tmp_path: Path, text: str) -> Service:
    (tmp_path / "compose.yml").write_text(f"services:\n  a:\n{text}", encoding="utf-8")
    return read_project([str(tmp_path / "compose.yml")]).services[0]


@pytest.mark.parametrize("line", [
    "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2",
    "pip install -q x && vllm serve Qwen/Qwen3-8B --tensor-parallel-size=2 # both",
    "exec vllm serve Qwen/Qwen3-8B \\\\\n  --tensor-parallel-size 2",
])
@pytest.mark.parametrize("shell", ["[sh, -c]", "[/bin/bash, -lc]"])
def test_the_line_of_a_shell_is_read_as_the_shell_does(tmp_path: Path, shell: str, line: str) -> None:
    found = asked(service(tmp_path, f"    image: vllm/vllm-openai:v0.19.1\n    entrypoint: {shell}\n"
                                    f"    command: [{json.dumps(line)}]\n"))
    assert found is not None
    assert (found.model, found.settings.tensor_parallel) == ("Qwen/Qwen3-8B", 2)


def test_a_secret_in_the_line_of_a_shell_is_hidden_and_told() -> None:
    kept, found = shown_words(["sh", "-c", "vllm serve m --api-key hunter2 --port 1"])
    assert (kept[2], found) == ("vllm serve m --api-key *** --port 1", [(2, "--api-key")])
    for harmless in ("vllm serve m --api-key $KEY", "vllm serve m --api-key EMPTY", "serve --token-limit 5"):
        assert shown_words(["sh", "-c", harmless]) == (("sh", "-c", harmless), [])


def test_a_placeholder_is_no_secret(tmp_path: Path) -> None:
    found = service(tmp_path, "    image: lmsysorg/sglang\n    environment: [HF_TOKEN=<secret>, API_KEY=hunter2]\n")
    assert [each.name for each in found.inline_secrets] == ["API_KEY"]


def test_variables_of_llama_cpp_are_its_flags(tmp_path: Path) -> None:
    found = asked(service(tmp_path, "    image: ghcr.io/ggml-org/llama.cpp:server-cuda\n    volumes: [/srv:/model]\n"
                                    "    environment: {LLAMA_ARG_MODEL: /model/a.gguf, LLAMA_ARG_CTX_SIZE: 65536,\n"
                                    "                  LLAMA_ARG_N_PARALLEL: 4}\n"))
    assert found is not None
    assert (found.model, found.settings.context, found.settings.parallel) == ("/srv/a.gguf", 16384, 4)


BOTH = {
    "labels": (["a=b"], {"c": "d"}), "annotations": (["a=b"], {"c": "d"}), "networks": (["front"], {"back": None}),
    "extra_hosts": (["h:1.2.3.4"], {"i": "1.2.3.5"}), "sysctls": (["net.core.somaxconn=1"], {"net.core.rmem_max": 1}),
    "ulimits": ({"nofile": 65535}, {"nofile": {"soft": 1, "hard": 2}}), "dns": ("1.1.1.1", ["8.8.8.8"]),
    "tmpfs": ("/tmp", ["/run"]), "build": (".", {"context": ".", "args": ["A=1"]}),
    "dns_search": ("a.b", ["c.d"]), "env_file": ("a.env", [{"path": "b.env"}]),
}  # fmt: skip


@pytest.mark.tier("compose")
@pytest.mark.parametrize("key", sorted(BOTH))
@pytest.mark.parametrize("order", [1, -1])
def test_short_and_long_forms_of_two_files_merge_as_in_compose(key: str, order: int, tmp_path: Path) -> None:
    program = plugin()
    assert program is not None
    (tmp_path / "a.env").write_text("A=1\n", encoding="utf-8")
    (tmp_path / "b.env").write_text("B=1\n", encoding="utf-8")
    first, second = BOTH[key][::order]
    paths = []
    for name, value in (("one.yml", first), ("two.yml", second)):
        text: dict[str, Any] = {"services": {"a": {"image": "x", key: value}}, "networks": {"front": {}, "back": {}}}
        (tmp_path / name).write_text(json.dumps(text), encoding="utf-8")
        paths.append(tmp_path / name)
    config(program, paths, cwd=tmp_path)
    assert read_project([str(path) for path in paths]).services[0].image == "x"
