"""What a prediction must not cost: heavy imports, and the parsing of what was not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "numpy", "rich", "docker", "psutil", "pynvml", "huggingface_hub", "typer", "urllib.request", "http.client",
    "ssl", "gguf", "safetensors", "msgspec",
}  # fmt: skip


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import gpudoctor.fit.sources",
        "from gpudoctor.fit.sources import load; load('gpt-oss:120b', ollama_models='/nonexistent')",
        "from gpudoctor.fit.sources import load; load('Qwen/Qwen3-8B', hub_cache='/nonexistent')",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    assert not loaded_after(code) & HEAVY


def test_only_the_rule_that_is_needed_is_imported() -> None:
    modules = loaded_after("from gpudoctor.fit.sources import load; load('llama3.1:8b', ollama_models='/nonexistent')")
    prefix = "gpudoctor.fit.sources."
    for unused in ("hybrid", "delta", "special", "gemma4", "towers", "gguf", "safetensors", "online", "latent", "moe"):
        assert prefix + unused not in modules
