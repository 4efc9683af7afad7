"""No engine is accused of what its settings, its neighbours or its other machines explain."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.serving import Endpoint, ServedModel, Serving, Variables
from gpudoctor.facts.snapshot import Snapshot, encode
from gpudoctor.facts.storage import Storage, Volume

FIXTURES = Path(__file__).parents[2] / "fixtures"
Judged = Callable[..., dict[str, Any]]


@pytest.fixture
def judged(serving: Callable[..., dict[str, Any]], tmp_path: Path) -> Judged:
    """Judge a recorded machine whose one endpoint is changed; results by check."""

    def run(machine: str, *arguments: str, **changes: Any) -> dict[str, Any]:
        facts = msgspec.json.decode((FIXTURES / machine / "snapshot.json").read_bytes(), type=Snapshot)
        assert isinstance(facts.serving, Serving)
        endpoint: Endpoint = msgspec.structs.replace(facts.serving.endpoints[0], **changes)
        path = tmp_path / "changed.json"
        path.write_bytes(encode(msgspec.structs.replace(facts, serving=Serving(endpoints=(endpoint,)))))
        return {r["id"]: r for r in serving("--snapshot", path, *arguments)["results"]}

    return run


GROUP = {"tensor_parallel": "4", "gpu_memory_utilization": "0.92", "context": "16384"}


@pytest.mark.parametrize(
    "settings",
    [{**GROUP, "executor": "ray"}, {**GROUP, "nodes": "2"}, {**GROUP, "tensor_parallel": "8"}],
    ids=["ray", "nodes", "more-than-here"],
)
def test_a_group_over_several_machines_is_not_short_of_members(judged: Judged, settings: dict[str, str]) -> None:
    assert judged("h100x5-serving-one-member-missing", settings=settings)["serving.gpu-idle"]["status"] == "skip"


@pytest.mark.parametrize("settings", [{}, {"config": "/etc/vllm.yaml", "tensor_parallel": "4"}])
def test_memory_is_not_judged_by_a_share_that_nobody_saw(judged: Judged, settings: dict[str, str]) -> None:
    found = judged("h100x5-serving-more-memory-than-asked", settings=settings)["serving.memory-gap"]
    assert found["status"] == "skip"


def test_a_context_that_was_set_is_a_note(judged: Judged) -> None:
    found = judged("rtx8000x4-serving-small-context-from-a-hard-disk",
                   environment=Variables(values={"OLLAMA_CONTEXT_LENGTH": "8192"}))  # fmt: skip
    assert found["serving.context-default"]["status"] == "info"


def test_a_context_that_is_no_default_came_with_the_model_or_a_request(judged: Judged) -> None:
    model = ServedModel(name="gpt-oss:120b", size_bytes=1, gpu_bytes=1, context=12288, context_maximum=131072)
    assert judged("rtx8000x4-serving-healthy", models=(model,))["serving.context-default"]["status"] == "info"


def test_an_old_ollama_that_chose_its_slots_itself_is_not_accused(judged: Judged) -> None:
    found = judged("rtx8000x4-serving-healthy", "--users", "5", version="0.5.7")["serving.queueing"]
    assert found["status"] == "skip"


def test_slots_that_suffice_are_no_queue(judged: Judged) -> None:
    found = judged("rtx8000x4-serving-healthy", "--users", "4",
                   environment=Variables(values={"OLLAMA_NUM_PARALLEL": "4"}))  # fmt: skip
    assert found["serving.queueing"]["status"] == "pass"


def test_an_engine_whose_variables_are_hidden_is_not_accused_of_its_defaults(judged: Judged) -> None:
    found = judged("rtx8000x4-serving-small-context-from-a-hard-disk", "--users", "5",
                   environment=Unavailable("hidden", "no-permission"))  # fmt: skip
    assert (found["serving.context-default"]["status"], found["serving.queueing"]["status"]) == ("info", "skip")


def test_vllm_on_no_gpu_at_all_is_named(judged: Judged) -> None:
    found = judged("h100x5-serving-one-member-missing", pids=(9,))["serving.gpu-idle"]
    assert (found["status"], found["message"]) == ("fail", "vllm has no process on any GPU")


def test_an_engine_whose_processes_are_hidden_is_not_accused(judged: Judged) -> None:
    assert judged("h100x5-serving-one-member-missing", pids=())["serving.gpu-idle"]["status"] == "skip"


def test_f12_the_load_of_a_model_in_the_hub_s_cache_on_a_file_server(serving: Any, tmp_path: Path) -> None:
    facts = msgspec.json.decode((FIXTURES / "h100x5-serving-more-memory-than-asked" / "snapshot.json").read_bytes(),
                                type=Snapshot)  # fmt: skip
    cache = Volume(purpose="huggingface-cache", path="/nfs/hub", mount_point="/nfs", file_system="nfs4",
                   device="nas:/models", device_class="network")  # fmt: skip
    path = tmp_path / "nfs.json"
    path.write_bytes(encode(msgspec.structs.replace(facts, storage=Storage(volumes=(cache,)))))
    found = {r["id"]: r for r in serving("--snapshot", path)["results"]}["serving.load-slow"]
    assert found["message"].startswith("60.")
    assert "class network take about 9 min at every start; NVMe would take about 22 s" in found["message"]


def test_importing_stays_lazy() -> None:
    code = "import sys, gpudoctor.cli.serving; print({'docker', 'rich', 'psutil', 'pynvml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_cache_much_smaller_than_fit_says_was_cut_at_the_start(judged: Judged) -> None:
    found = judged("h100x5-serving-more-memory-than-asked", settings=GROUP, kv_tokens=400_000, preemptions=0)
    assert found["serving.memory-gap"]["status"] == "pass"
    assert (found["serving.kv-short"]["status"], "held memory when it started" in found["serving.kv-short"]["message"],
            ) == ("warn", True)  # fmt: skip


def test_a_cache_as_large_as_fit_says_is_no_gap(judged: Judged) -> None:
    found = judged("h100x5-serving-more-memory-than-asked", settings=GROUP, kv_tokens=3_400_000, preemptions=0)
    assert found["serving.kv-short"]["status"] == "pass"


def test_a_cache_is_not_compared_with_a_share_that_nobody_saw(judged: Judged) -> None:
    found = judged("h100x5-serving-more-memory-than-asked", settings={}, kv_tokens=400_000, preemptions=0)
    assert found["serving.kv-short"]["status"] == "pass"


def test_where_nvml_tells_nothing_ollamas_own_word_is_compared(judged: Judged) -> None:
    model = ServedModel(name="gpt-oss:20b", size_bytes=40 << 30, gpu_bytes=40 << 30, context=8192)
    found = judged("rtx8000x4-serving-healthy", models=(model,), pids=(), container_id=None)["serving.memory-gap"]
    assert (found["status"], found["evidence"][0]["source"].endswith("/api/ps")) == ("warn", True)


def test_layers_on_the_cpu_are_no_gap_of_the_gpus_memory(judged: Judged) -> None:
    model = ServedModel(name="gpt-oss:20b", size_bytes=14 << 30, gpu_bytes=7 << 30, context=8192)
    found = judged("rtx8000x4-serving-healthy", models=(model,), pids=(), container_id=None)["serving.memory-gap"]
    assert found["status"] == "skip"
