"""The memory stories F1 to F12, each on its own machine, through the command line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.reports.fit_schema import Fit

Command = Callable[..., subprocess.CompletedProcess[str]]
FIXTURES = Path(__file__).parents[2] / "fixtures"
GIB = 2**30


@pytest.fixture
def fit(gpudoctor: Command) -> Callable[..., dict[str, Any]]:
    def run(*arguments: str | Path) -> dict[str, Any]:
        done = gpudoctor("fit", *arguments, "--json")
        assert done.stderr == ""
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == report["exit_code"]
        msgspec.convert(report, Fit)
        return report

    return run


def ids(report: dict[str, Any]) -> list[str]:
    return [finding["id"] for finding in report["findings"]]


def server(name: str) -> Path:
    return FIXTURES / name / "snapshot.json"


def test_f1_two_old_cards_hold_gpt_oss(fit: Callable[..., dict[str, Any]]) -> None:
    machine = server("rtx8000x4-driver-535-ended")
    for asked, context in ((), 8192), (("--context", "131072"), 131072):
        report = fit("gpt-oss:120b", "--gpus", "0,1", "--snapshot", machine, "--engine-version", "0.11.10", *asked)
        assert report["verdict"] == "fits"
        assert report["settings"]["context"] == context
        assert report["layers"] == {"total": 37, "on_gpu": 37}
        assert [gpu["index"] for gpu in report["gpus"]] == [0, 1]
        assert report["gpus"][0]["layers"][0] == 0
        assert report["gpus"][1]["layers"] == [report["gpus"][0]["layers"][1] + 1, 36]
        assert report["limits"]["max_context"] == 131072


def test_f1_newest_ollama_refuses_the_driver_with_both_ways_out(fit: Callable[..., dict[str, Any]]) -> None:
    report = fit("gpt-oss:120b", "--gpus", "0,1", "--snapshot", server("rtx8000x4-driver-535-ended"))
    assert report["verdict"] == "cannot-run"
    assert report["exit_code"] == 1
    refused = next(finding for finding in report["findings"] if finding["id"] == "engine.driver-too-old")
    assert "535.247.01" in refused["message"]
    assert len(refused["fix"]) == 2
    assert "0.30.10" in refused["fix"][0]["text"]
    assert "550" in refused["fix"][1]["text"]


def test_f2_seventy_billion_on_one_card_says_how_many_layers(fit: Callable[..., dict[str, Any]]) -> None:
    report = fit("llama3.1:70b", "--quant", "Q4_K_M", "--hardware", "1x RTX 4090", "--engine-version", "0.32.15")
    assert report["verdict"] == "partial"
    assert report["exit_code"] == 1
    assert report["layers"]["total"] == 81
    assert 30 <= report["layers"]["on_gpu"] <= 50
    assert report["speed"]["decode_tokens_per_s"] < 6
    assert any("hardware" in option["change"] or "model" in option["change"] for option in report["advice"])


def test_f3_default_context_names_the_variable(fit: Callable[..., dict[str, Any]]) -> None:
    report = fit("llama3.1:8b", "--hardware", "RTX 4090", "--engine-version", "0.11.10")
    assert report["settings"]["context"] == 4096
    note = next(finding for finding in report["findings"] if finding["id"] == "serving.context-default")
    most = report["limits"]["max_context"]
    assert note["fix"][0]["command"] == f"OLLAMA_CONTEXT_LENGTH={most}"
    assert most > 65536


def test_f4_one_table_over_contexts(fit: Callable[..., dict[str, Any]]) -> None:
    report = fit("llama3.3:70b", "--hardware", "2x RTX 3090", "--contexts", "4k,16k,64k,131072")
    rows = report["contexts"]
    assert [row["context"] for row in rows] == [4096, 16384, 65536, 131072]
    cache = [row["kv_cache_bytes"] for row in rows]
    assert cache == sorted(cache)
    assert rows[0]["verdict"] == "fits"
    assert rows[-1]["verdict"] != "fits"
    assert rows[0]["decode_tokens_per_s"] > rows[2]["decode_tokens_per_s"]


def test_f5_tensor_parallel_group_is_linked_and_the_other_is_not(fit: Callable[..., dict[str, Any]]) -> None:
    machine = server("h100x5-one-not-linked")
    share = ("--gpu-memory-utilization", "0.92", "--max-model-len", "16384", "--tensor-parallel", "4")
    vllm = ("--engine", "vllm", "--engine-version", "0.10.1.1", "--snapshot", machine, "--driver", "580.95.05")
    linked = fit("openai/gpt-oss-120b", *vllm, *share, "--gpus", "0,1,2,3")
    assert linked["verdict"] == "fits"
    assert linked["kv_cache"]["max_concurrency"] > 100
    assert [f["status"] for f in linked["findings"] if f["id"] == "gpu.no-nvlink"] == ["pass"]
    apart = fit("openai/gpt-oss-120b", *vllm, *share, "--gpus", "1,2,3,4")
    assert [f["status"] for f in apart["findings"] if f["id"] == "gpu.no-nvlink"] == ["info"]
    alone = fit("Qwen/Qwen3-30B-A3B", "--quant", "AWQ", *vllm, "--gpus", "4", "--max-model-len", "32768")
    assert alone["verdict"] == "fits"
    uneven = fit("microsoft/phi-4", *vllm, "--gpus", "0,1,2,3", "--tensor-parallel", "4")
    assert uneven["verdict"] == "cannot-run"
    assert "engine.parallel-indivisible" in ids(uneven)


def test_f6_share_that_leaves_too_little_outside(fit: Callable[..., dict[str, Any]]) -> None:
    model = "meta-llama/Llama-3.1-8B-Instruct"
    arguments = (model, "--engine", "vllm", "--engine-version", "0.11.0", "--context", "8192")
    tight = fit(*arguments, "--hardware", "RTX 4090", "--gpu-memory-utilization", "0.98")
    assert any(f["id"] == "model.too-big" and f["status"] == "warn" for f in tight["findings"])
    loose = fit(*arguments, "--hardware", "H100 80GB", "--gpu-memory-utilization", "0.9")
    assert not any(f["status"] == "warn" for f in loose["findings"])


@pytest.mark.parametrize(
    ("model", "hardware", "verdict"),
    [
        ("gpt-oss:120b", "1x RTX PRO 6000", "fits"),
        ("gpt-oss:120b", "Radeon Pro W6800", "partial"),
        ("qwen3:235b", "2x RTX PRO 6000", "fits"),
        ("qwen3:235b", "1x RTX PRO 6000", "partial"),
        ("gemma3:27b", "RTX A6000", "fits"),
        ("gemma3:27b", "Tesla T4", "partial"),
    ],
)
def test_f8_hardware_the_user_does_not_have(
    fit: Callable[..., dict[str, Any]], model: str, hardware: str, verdict: str
) -> None:
    report = fit(model, "--hardware", hardware, "--context", "32768" if "qwen3" in model else "131072")
    assert report["verdict"] == verdict


def test_f9_experts_in_dram(fit: Callable[..., dict[str, Any]]) -> None:
    arguments = ("deepseek-r1:671b", "--engine", "ktransformers", "--hardware", "1x RTX 4090", "--host-memory")
    report = fit(*arguments, "1TiB")
    assert report["verdict"] == "partial"
    assert report["exit_code"] == 0
    assert 340 * GIB < report["host"]["required_bytes"] < 400 * GIB
    assert report["gpus"][0]["required_bytes"] < 16 * GIB
    short = fit(*arguments, "256GiB")
    assert short["verdict"] == "does-not-fit"


def test_f10_twenty_of_eighty_layers(fit: Callable[..., dict[str, Any]]) -> None:
    arguments = ("llama3.3:70b", "--engine", "llama.cpp", "--hardware", "RTX 4090", "--host-memory", "64GiB")
    report = fit(*arguments, "--gpu-layers", "20", "--context", "8192")
    assert report["verdict"] == "partial"
    assert report["exit_code"] == 0
    assert report["layers"]["on_gpu"] == 20
    weights = report["gpus"][0]["breakdown"]["weights"]
    assert 8 * GIB < weights < 12 * GIB
    assert report["host"]["required_bytes"] > 28 * GIB
    assert 0 < report["speed"]["decode_tokens_per_s"] < 6


def test_f11_host_memory_too_small_for_the_layers_left_behind(fit: Callable[..., dict[str, Any]]) -> None:
    report = fit("llama3.3:70b", "--hardware", "RTX 4090", "--host-memory", "8GiB")
    assert report["verdict"] == "does-not-fit"
    assert "host.ram-short" in ids(report)


def test_f12_the_disk_has_no_room(fit: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    machine = json.loads(server("h100x5-one-not-linked").read_text(encoding="utf-8"))
    for volume in machine["storage"]["volumes"]:
        volume.update(free_bytes=10 * GIB, device_class="hdd")
    path = tmp_path / "full.json"
    path.write_text(json.dumps(machine), encoding="utf-8")
    report = fit("llama3.3:70b", "--snapshot", path, "--gpus", "0", "--engine-version", "0.11.10")
    assert {"host.disk-short", "host.disk-slow"} <= set(ids(report))


def test_other_processes_count_and_the_verdict_without_them(
    fit: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    machine = json.loads(server("h100x5-one-not-linked").read_text(encoding="utf-8"))
    gpu = machine["gpus"]["gpus"][0]
    gpu["memory_free_bytes"] = 20 * GIB
    gpu["processes"] = [{"pid": 4711, "kind": "compute", "used_bytes": 59 * GIB, "name": "python"}]
    path = tmp_path / "busy.json"
    path.write_text(json.dumps(machine), encoding="utf-8")
    report = fit("llama3.3:70b", "--snapshot", path, "--gpus", "0", "--engine-version", "0.11.10", "--context", "4096")
    assert report["verdict"] == "partial"
    assert report["if_stopped"]["verdict"] == "fits"
    assert report["if_stopped"]["processes"][0]["pid"] == 4711
    assert "gpu.memory-in-use" in ids(report)


def test_the_engine_that_is_installed_answers(fit: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    machine = json.loads(server("h100x5-one-not-linked").read_text(encoding="utf-8"))
    machine["engines"] = {
        "status": "recorded",
        "engines": [{"engine": "ollama", "path": "/usr/local/bin/ollama", "version": "0.11.10", "pids": [812]}],
    }
    path = tmp_path / "ollama.json"
    path.write_text(json.dumps(machine), encoding="utf-8")
    report = fit("llama3.1:8b", "--snapshot", path, "--gpus", "0")
    assert report["engine"] == {"name": "ollama", "version": "0.11.10"}
    assert "engine version 0.11.10, the one installed" in report["assumed"]


def test_the_most_requests_leave_no_gpu_over_its_memory(gpudoctor: Command) -> None:
    done = gpudoctor("fit", "gpt-oss:120b", "--hardware", "2x Quadro RTX 8000", "--engine", "ollama",
                     "--engine-version", "0.11.10", "--max-parallel", "--json")  # fmt: skip
    report = json.loads(done.stdout)
    assert report["settings"]["parallel"] > 1
    assert report["margin_bytes"] >= 0
