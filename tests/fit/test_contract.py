"""What scripts rely on: one document, its keys, exit codes, one line for bad input, and a start without ballast."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.reports.fit_schema import Fit

Command = Callable[..., subprocess.CompletedProcess[str]]

KEYS = [
    "schema", "verdict", "exit_code", "model", "engine", "assumed", "settings", "gpus", "host", "layers", "kv_cache",
    "limits", "error_bytes", "margin_bytes", "if_stopped", "contexts", "speed", "findings", "advice", "launch",
]  # fmt: skip
ENGINES = ("ollama", "llama.cpp", "vllm", "sglang", "tgi", "transformers")


def ask(gpudoctor: Command, *arguments: str) -> dict[str, Any]:
    done = gpudoctor("fit", *arguments, "--json")
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == report["exit_code"]
    return report


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_answers_in_one_shape(gpudoctor: Command, engine: str) -> None:
    report = ask(gpudoctor, "llama3.1:8b", "--engine", engine, "--hardware", "2x RTX 4090 + L4", "--context", "8192")
    assert list(report) == KEYS
    msgspec.convert(report, Fit)
    assert report["schema"] == "gpudoctor.fit/1"
    assert [gpu["index"] for gpu in report["gpus"]] == [0, 1, 2]
    for gpu in report["gpus"]:
        assert set(gpu["breakdown"]) == {"weights", "kv_cache", "compute", "overhead"}
        if gpu["breakdown"]["weights"] == 0:
            assert gpu["required_bytes"] == 0
        else:
            assert gpu["required_bytes"] <= gpu["total_bytes"]
            assert gpu["minimum_bytes"] > 0
    assert report["verdict"] == "fits"
    assert report["limits"]["max_context"] >= 8192
    assert report["limits"]["max_parallel"] >= 1
    assert (report["layers"] is None) == (engine in ("vllm", "sglang", "tgi", "transformers"))
    assert report["launch"]["command"]
    assert len(report["error_bytes"]) == 2


def test_more_context_never_needs_less(gpudoctor: Command) -> None:
    for engine in ("ollama", "llama.cpp", "transformers"):
        needs = [
            sum(gpu["required_bytes"] for gpu in ask(
                gpudoctor, "llama3.1:8b", "--engine", engine, "--hardware", "RTX A6000", "--context", context
            )["gpus"])
            for context in ("4k", "16k", "64k")
        ]  # fmt: skip
        assert needs == sorted(needs)
        assert needs[0] < needs[-1]


def test_the_largest_context_fits_and_a_longer_one_does_not(gpudoctor: Command) -> None:
    model = "meta-llama/Llama-3.1-8B-Instruct"
    base = (model, "--engine", "vllm", "--engine-version", "0.11.0", "--hardware", "RTX 4090")
    most = ask(gpudoctor, *base, "--context", "8192")["limits"]["max_context"]
    assert 8192 < most < 131072
    for context, verdict in ((most, "fits"), (most + 512, "does-not-fit")):
        assert ask(gpudoctor, *base, "--context", str(context))["verdict"] == verdict
    best = ask(gpudoctor, *base, "--context", "max")
    assert best["settings"]["context"] == most
    assert best["verdict"] == "fits"


def test_advice_holds_what_it_says(gpudoctor: Command) -> None:
    base = ["Qwen/Qwen2.5-32B-Instruct", "--engine", "llama.cpp", "--quant", "Q8_0", "--hardware", "RTX 4090"]
    report = ask(gpudoctor, *base, "--context", "16384")
    assert report["verdict"] != "fits"
    assert report["advice"]
    change = next(option["change"] for option in report["advice"] if "quant" in option["change"])
    flags = {"quant": "Q8_0", "context": 16384, **change}
    again = ask(
        gpudoctor, *base[:3], "--quant", str(flags["quant"]), "--context", str(flags["context"]), *base[5:]
    )
    assert again["verdict"] == "fits"


def test_partial_is_fine_when_asked_for(gpudoctor: Command) -> None:
    base = ("llama3.3:70b", "--engine", "llama.cpp", "--hardware", "RTX 4090", "--context", "4096")
    assert ask(gpudoctor, *base)["exit_code"] == 1
    assert ask(gpudoctor, *base, "--allow-partial")["exit_code"] == 0


def test_without_a_gpu_nothing_is_judged(gpudoctor: Command) -> None:
    report = ask(gpudoctor, "llama3.1:8b")
    if report["gpus"]:
        pytest.skip("this machine has a GPU")
    assert report["verdict"] == "unknown"
    assert report["exit_code"] == 3
    assert report["kv_cache"]["bytes_per_token"] == 131072


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-model:7b"],
        ["llama3.1:8b", "--hardware", "RTX 9999"],
        ["llama3.1:8b", "--hardware", ""],
        ["llama3.1:8b", "--hardware", "9999x RTX 4090"],
        ["llama3.1:8b", "--hardware", "2x RTX 4090", "--free", "1GiB,2GiB,3GiB"],
        ["llama3.1:8b", "--hardware", "RTX 4090", "--free", "a lot"],
        ["llama3.1:8b", "--hardware", "RTX 4090", "--free", "48GiB"],
        ["llama3.1:8b", "--hardware", "RTX 4090", "--gpus", "0"],
        ["llama3.1:8b", "--free", "1GiB"],
        ["llama3.1:8b", "--engine", "mystery"],
        ["llama3.1:8b", "--context", "-5"],
        ["llama3.1:8b", "--context", "0"],
        ["llama3.1:8b", "--context", "9" * 30],
        ["llama3.1:8b", "--context", "8k", "--max-context"],
        ["llama3.1:8b", "--kv-cache-type", "q3_9", "--hardware", "RTX 4090", "--engine", "llama.cpp"],
        ["llama3.1:8b", "--quant", "Q99"],
        ["llama3.1:8b", "--link", "string", "--hardware", "RTX 4090"],
        ["llama3.1:8b", "--engine", "ktransformers", "--hardware", "RTX 4090"],
        ["llama3.1:8b", "--engine", "vllm", "--hardware", "RTX 4090", "--tensor-parallel", "2"],
        ["llama3.1:8b", "--engine", "vllm", "--hardware", "RTX 4090", "--gpu-layers", "3"],
        ["llama3.1:8b", "--context", "1k", "--prompt-tokens", "2000"],
        ["llama3.1:8b", "--snapshot", "/no/such/file.json"],
        ["llama3.1:8b", "--contexts", ",".join(["8k"] * 100)],
    ],
    ids=lambda arguments: " ".join(arguments[1:])[:50] or "unknown tag",
)
def test_bad_input_is_one_line(gpudoctor: Command, arguments: list[str]) -> None:
    done = gpudoctor("fit", *arguments, "--json")
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert document["schema"] == "gpudoctor.error/1"
    assert document["error"]["message"]
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_unknown_architecture_is_not_guessed(gpudoctor: Command, tmp_path: Path) -> None:
    config = {
        "model_type": "mystery", "architectures": ["MysteryForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000, "intermediate_size": 11008,
        "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
    }  # fmt: skip
    index = {"metadata": {"total_size": 14_000_000_000}, "weight_map": {}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    report = ask(gpudoctor, str(tmp_path), "--engine", "vllm", "--hardware", "RTX 4090")
    assert report["verdict"] == "unknown"
    assert report["exit_code"] == 3
    assert report["gpus"][0]["breakdown"]["compute"] is None
    assert report["gpus"][0]["breakdown"]["weights"] == 14_000_000_000
    assert report["limits"] == {"max_context": None, "max_parallel": None}
    assert any(finding["status"] == "unknown" for finding in report["findings"])
    assert ask(gpudoctor, str(tmp_path), "--engine", "vllm", "--hardware", "RTX 3060")["verdict"] == "does-not-fit"


def test_nearest_names_are_offered(gpudoctor: Command) -> None:
    done = gpudoctor("fit", "lama3.1:8b", "--json")
    assert "llama3.1:8b" in json.loads(done.stdout)["error"]["hint"]


def test_json_imports_no_ballast() -> None:
    code = (
        "import sys, io, contextlib\n"
        "from gpudoctor.cli import run\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    run(['fit', 'llama3.1:8b', '--hardware', 'RTX 4090', '--json'])\n"
        "print(sorted({'rich', 'docker', 'psutil', 'pynvml', 'yaml', 'jinja2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_newest_versions_agree_with_the_typed_readers() -> None:
    from gpudoctor.fit.newest import newest
    from gpudoctor.matrices import ollama, vllm

    assert newest("ollama") == ollama.table().known_until
    assert newest("vllm") == vllm.releases()[-1].version


@pytest.mark.parametrize("encoding", ["ascii", "cp949", "utf-8"])
def test_the_console_report_needs_only_ascii(gpudoctor: Command, encoding: str, tmp_path: Path) -> None:
    done = gpudoctor(
        "fit", "gpt-oss:120b", "--hardware", "2x Quadro RTX 8000", "--engine-version", "0.11.10",
        "--contexts", "8k,128k", "--explain", PYTHONIOENCODING=encoding, LC_ALL="C",
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.isascii()
    for expected in ("FITS", "37 of 37 layers", "the arithmetic", "launch", "131072"):
        assert expected in done.stdout
