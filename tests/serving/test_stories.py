"""Stories after the launch, each through the command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .engines import GIB, OLLAMA, Server, completions

Command = Callable[..., subprocess.CompletedProcess[str]]
Serving = Callable[..., dict[str, Any]]
Engine = Callable[..., Server]
FIXTURES = Path(__file__).parents[2] / "fixtures"


def replayed(serving: Serving, machine: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """Every result of a recorded machine at work that is a problem or a note, by id."""
    report = serving("--snapshot", FIXTURES / machine / "snapshot.json", *arguments)
    return {r["id"]: r for r in report["results"] if r["status"] not in ("pass", "skip")}


def passes(serving: Serving, machine: str, check: str) -> dict[str, Any]:
    """One check's pass on a recorded machine."""
    report = serving("--snapshot", FIXTURES / machine / "snapshot.json")
    (found,) = [r for r in report["results"] if r["id"] == check]
    assert found["status"] == "pass"
    result: dict[str, Any] = found
    return result


def evidence(result: dict[str, Any]) -> dict[str, Any]:
    return {each["what"]: each["value"] for each in result["evidence"]}


# L1: it answers, but very slowly.


def test_l1_a_model_on_the_cpu_is_the_cause_of_its_speed(serving: Serving) -> None:
    found = replayed(serving, "rtx8000x4-serving-on-the-cpu")
    assert found["serving.offload-partial"]["status"] == "fail"
    assert found["serving.slow"]["caused_by"] == "serving.offload-partial"


def test_l1_the_remedy_looks_at_the_driver_and_the_engine(serving: Serving) -> None:
    fix = replayed(serving, "rtx8000x4-serving-on-the-cpu")["serving.offload-partial"]["fix"]
    assert "gpudoctor check --for ollama" in [step["command"] for step in fix]


def test_l1_the_split_is_shown_when_all_is_well(serving: Serving) -> None:
    seen = evidence(passes(serving, "rtx8000x4-serving-healthy", "serving.offload-partial"))
    assert seen["layers that fit places on these GPUs"] in ("18+19 of 37", "19+18 of 37")


def test_l1_a_part_on_the_cpu_is_told_in_layers(serving: Serving, engine: Engine) -> None:
    model = {**OLLAMA["/api/ps"]["models"][0], "size": 64 * GIB, "size_vram": 32 * GIB}
    report = serving(engine({**OLLAMA, "/api/ps": {"models": [model]}}).url)
    (found,) = [r for r in report["results"] if r["id"] == "serving.offload-partial"]
    assert (found["status"], "50% of gpt-oss:120b" in found["message"], "18 of 37 layers" in found["message"]) == (
        "warn", True, True)  # fmt: skip


def test_a_healthy_engine_is_accused_of_nothing(serving: Serving) -> None:
    assert replayed(serving, "rtx8000x4-serving-healthy") == {}


# M2's list: a vllm process on each of GPUs 0 to 3.


def test_a_missing_member_of_the_group_is_named(serving: Serving) -> None:
    found = replayed(serving, "h100x5-serving-one-member-missing")["serving.gpu-idle"]
    assert found["status"] == "fail"
    assert found["message"] == "vllm was started for 4 GPUs and has processes on 3: 0, 1, 2"


def test_memory_that_the_settings_do_not_explain_is_told_with_both_figures(serving: Serving) -> None:
    found = replayed(serving, "h100x5-serving-more-memory-than-asked")["serving.memory-gap"]
    seen = evidence(found)
    assert found["status"] == "warn"
    assert seen["held bytes"] == 4 * 73 * GIB > seen["fit says bytes"] > 0


# L2: what the cache says while it runs.


def test_l2_requests_that_were_put_back_are_counted(serving: Serving) -> None:
    found = replayed(serving, "h100x5-serving-one-member-missing")["serving.kv-short"]
    assert "117 requests" in found["message"]


# L3: five users and ten-second answers on Ollama.


def test_l3_five_users_and_one_slot(serving: Serving) -> None:
    found = replayed(serving, "rtx8000x4-serving-healthy", "--users", "5")["serving.queueing"]
    assert found["message"] == "ollama serves 1 at once, 5 ask: up to 4 wait for the answers of others"


def test_l3_what_more_slots_cost_is_computed(serving: Serving) -> None:
    seen = evidence(replayed(serving, "rtx8000x4-serving-healthy", "--users", "5")["serving.queueing"])
    one, five = (seen[f"gpt-oss:120b with {n} slots on GPUs bytes"] for n in (1, 5))
    assert five > one > 60 * GIB


def test_l3_the_ways_out_name_the_variables_and_the_better_engine(serving: Serving) -> None:
    fix = replayed(serving, "rtx8000x4-serving-healthy", "--users", "5")["serving.queueing"]["fix"]
    text = " ".join(f"{s['text']} {s['command']}" for s in fix)
    assert [w for w in ("OLLAMA_NUM_PARALLEL=5", "OLLAMA_MAX_LOADED_MODELS", "vLLM") if w not in text] == []


def test_l3_a_queue_is_measured(serving: Serving, engine: Engine) -> None:
    server = engine({**OLLAMA, "/api/generate": completions(token_seconds=0.03, slots=1, tokens=20)})
    report = serving(server.url, "--live", "--concurrency", "1,5")
    (found,) = [r for r in report["results"] if r["id"] == "serving.queueing"]
    assert (found["status"], "they queue" in found["message"]) == ("warn", True)


def test_l3_an_engine_that_batches_has_no_queue(serving: Serving, engine: Engine) -> None:
    server = engine({**OLLAMA, "/api/generate": completions(token_seconds=0.03, tokens=20)})
    report = serving(server.url, "--live", "--concurrency", "1,5")
    assert [r["status"] for r in report["results"] if r["id"] == "serving.queueing"] == ["pass"]


# L4: measured, against what this hardware should reach.


def test_l4_the_speed_is_put_beside_what_the_hardware_should_reach(serving: Serving) -> None:
    seen = evidence(passes(serving, "rtx8000x4-serving-healthy", "serving.slow"))
    assert 50 < seen["expected tokens per second"] < 80
    assert seen["tokens per second of one request"] == 64.7


def test_l4_a_sixteenth_of_it_is_a_finding(serving: Serving) -> None:
    assert "(6% of it)" in replayed(serving, "rtx8000x4-serving-on-the-cpu")["serving.slow"]["message"]


# F3: Ollama's default context.


def test_f3_the_default_context_what_fits_and_the_variable(serving: Serving) -> None:
    found = replayed(serving, "rtx8000x4-serving-small-context-from-a-hard-disk")["serving.context-default"]
    assert "default context of 8192 tokens; up to 131072 fit here" in found["message"]
    assert found["fix"][0]["command"] == "OLLAMA_CONTEXT_LENGTH=131072 ollama serve"


# L5, F12: minutes to load at every restart.


def test_l5_the_measured_speed_and_what_nvme_would_give(serving: Serving) -> None:
    found = replayed(serving, "rtx8000x4-serving-small-context-from-a-hard-disk")["serving.load-slow"]
    assert found["message"] == (
        "its disk gives 209.0 MiB a second: 60.9 GiB take 5 min at every start; NVMe would take 22 s"
    )


def test_l5_a_real_file_is_read_past_the_cache(gpudoctor: Command, engine: Engine, tmp_path: Path) -> None:
    store, facts = tmp_path / "models" / "blobs", tmp_path / "facts.json"
    store.mkdir(parents=True)
    with (store / "sha256-0").open("wb") as file:
        for _ in range(80):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    gpudoctor("serving", engine(OLLAMA).url, "--measure-load", "--read-gib", "0.06", "--save", facts, "-qq",
              OLLAMA_MODELS=str(store.parent))  # fmt: skip
    (read,) = json.loads(facts.read_text())["serving"]["reads"]
    assert read["path"] == str(store / "sha256-0")
    if read.get("failure"):
        pytest.skip(f"this file system cannot be measured: {read['failure']}")
    assert 0.06 * GIB <= read["read_bytes"] <= 0.06 * GIB + (8 << 20)


# The machine, the screen and the record.


def test_the_table_names_endpoint_model_place_context_and_speed(gpudoctor: Command) -> None:
    done = gpudoctor("serving", "--snapshot", FIXTURES / "rtx8000x4-serving-healthy" / "snapshot.json")
    row = done.stdout.splitlines()[1]
    expected = ("http://127.0.0.1:11434", "ollama 0.11.10", "gpt-oss:120b", "GPU 0,1, 66.0 GiB", "131072", "64.7")
    assert [cell for cell in expected if cell not in row] == []


def test_nothing_found_is_no_green_report(gpudoctor: Command, tmp_path: Path) -> None:
    snapshot = json.loads((FIXTURES / "rtx8000x4-serving-healthy" / "snapshot.json").read_text())
    snapshot["serving"] = {"status": "recorded"}
    (tmp_path / "empty.json").write_text(json.dumps(snapshot))
    done = gpudoctor("serving", "--snapshot", tmp_path / "empty.json", "--skip", "serving.unreachable")
    assert (done.returncode, "no engine was found" in done.stdout) == (3, True)


def test_a_driver_that_hangs_is_no_pass(serving: Serving, tmp_path: Path) -> None:
    snapshot = json.loads((FIXTURES / "h100x5-serving-one-member-missing" / "snapshot.json").read_text())
    snapshot["gpus"] = {"status": "unavailable", "reason": "did not answer within 10 s", "kind": "timeout"}
    (tmp_path / "hung.json").write_text(json.dumps(snapshot))
    report = serving("--snapshot", tmp_path / "hung.json")
    assert [r["status"] for r in report["results"] if r["id"] == "serving.gpu-idle"] == ["unknown"]


def test_another_machine_s_engine_is_not_judged_by_these_gpus(gpudoctor: Command, tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    gpudoctor("serving", "http://no-such-host.invalid:8000", "--save", facts, "-qq")
    saved = json.loads(facts.read_text())
    assert (saved["gpus"]["kind"], saved["serving"]["endpoints"][0]["local"]) == ("not-applicable", False)
