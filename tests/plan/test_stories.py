"""The stories' houses, through the command line."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.reports.plan_schema import PlanDocument

Run = Callable[..., subprocess.CompletedProcess[str]]
PLANS = Path(__file__).parents[2] / "fixtures" / "plan"


@pytest.fixture
def plan(gpudoctor: Run) -> Callable[..., dict[str, Any]]:
    def run(*arguments: str | Path, code: int) -> dict[str, Any]:
        done = gpudoctor("plan", *arguments, "--json")
        assert done.returncode == code, done.stdout[:2000] + done.stderr
        msgspec.json.decode(done.stdout, type=PlanDocument)
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["exit_code"] == code
        return document

    return run


def places(document: dict[str, Any]) -> dict[str, list[int] | None]:
    return {each["name"]: each["device_ids"] for each in document["services"]}


def messages(document: dict[str, Any], status: str) -> list[str]:
    return [each["message"] for each in document["findings"] if each["status"] == status]


def test_the_four_gpu_layout_of_the_stories_fits(plan: Callable[..., dict[str, Any]]) -> None:
    document = plan(PLANS / "rtx8000x4.toml", code=0)
    assert document["verdict"] == "fits"
    assert places(document) == {"main-brain": [0, 1], "fast-brain": [3], "whisper": [2], "comfyui": [2]}
    assert [gpu["services"] for gpu in document["gpus"]] == [["main-brain"], ["main-brain"], ["whisper", "comfyui"],
                                                             ["fast-brain"]]  # fmt: skip


def test_without_places_written_it_finds_one_itself(plan: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    text = (PLANS / "rtx8000x4.toml").read_text()
    (tmp_path / "free.toml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("gpus")))
    document = plan(tmp_path / "free.toml", code=0)
    assert len(places(document)["main-brain"] or ()) == 2
    assert document["search"]["exact"] is True


def test_every_budget_adds_up(plan: Callable[..., dict[str, Any]]) -> None:
    for name, code in (("rtx8000x4.toml", 0), ("a100-and-4090.toml", 0)):
        for gpu in plan(PLANS / name, code=code)["gpus"]:
            parts = ("driver_bytes", "other_bytes", "reserve_bytes", "required_bytes", "left_bytes")
            assert sum(gpu[part] for part in parts) == gpu["total_bytes"]
            assert gpu["left_bytes"] >= 0


def test_the_mixed_house_is_placed_by_what_each_card_holds(plan: Callable[..., dict[str, Any]]) -> None:
    document = plan(PLANS / "a100-and-4090.toml", code=0)
    assert places(document)["chat"] == [0]
    assert places(document)["code"] in ([1], [2])


def test_a_default_share_beside_another_service_is_a_conflict_with_a_figure_that_works(
    plan: Callable[..., dict[str, Any]],
) -> None:
    document = plan(PLANS / "rtx5080x3.yml", "--hardware", "3x RTX 5080", code=1)
    assert document["verdict"] == "conflict"
    chat = document["services"][0]
    assert chat["gpu_memory_utilization"] < 0.9
    assert [each["location"]["line"] for each in document["findings"] if each["status"] == "fail"] == [3]
    assert "page" not in places(document)


def test_what_the_conflict_says_to_write_is_no_conflict(plan: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    first = plan(PLANS / "rtx5080x3.yml", "--hardware", "3x RTX 5080", code=1)
    share = first["services"][0]["gpu_memory_utilization"]
    text = (PLANS / "rtx5080x3.yml").read_text()
    mended = text.replace('"--max-num-seqs"', f'"--gpu-memory-utilization", "{share}", "--max-num-seqs"')
    (tmp_path / "compose.yml").write_text(mended)
    assert plan(tmp_path / "compose.yml", "--hardware", "3x RTX 5080", code=0)["verdict"] == "fits"


def test_who_starts_last_starves_and_the_order_is_that_of_depends_on(plan: Callable[..., dict[str, Any]]) -> None:
    document = plan(PLANS / "starved.yml", "--hardware", "2x L40S", code=1)
    (conflict,) = [each for each in document["findings"] if each["status"] == "fail"]
    assert conflict["subject"] == "service:guard"
    assert "stops" in conflict["message"]
    assert all(str(each["device_ids"]) in ("[0]", "[1]") for each in document["services"] if each["name"] != "custom")


def test_one_of_unknown_size_is_named_with_the_way_out(plan: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    document = plan(PLANS / "starved.yml", "--hardware", "2x L40S", code=1)
    assert [each["subject"] for each in document["findings"] if each["status"] == "unknown"] == ["service:custom"]
    more = tmp_path / "more.toml"
    more.write_text('[[service]]\nname = "custom"\nmemory = "3GiB"\n')
    document = plan(PLANS / "starved.yml", more, "--hardware", "2x L40S", code=1)
    assert not messages(document, "unknown")


def test_unknown_alone_is_exit_code_3(plan: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("services:\n  own:\n    image: own/thing:1\n    gpus: all\n")
    assert plan(tmp_path / "c.yml", "--hardware", "L4", code=3)["verdict"] == "unknown"


def test_a_vllm_whose_model_nobody_knows_still_takes_its_share(
    plan: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    service = 'gpus: [{driver: nvidia, device_ids: ["0"], capabilities: [gpu]}]'
    (tmp_path / "c.yml").write_text(
        "services:\n  a:\n    image: vllm/vllm-openai:v0.11.0\n    command: [--model, own/secret-7b]\n    " + service
        + "\n  b:\n    image: fedirz/faster-whisper-server\n    environment: {WHISPER__MODEL: large-v3}\n    "
        + service)
    document = plan(tmp_path / "c.yml", "--hardware", "2x L4", code=1)
    assert document["services"][0]["needs"][0]["required_bytes"] > 0.85 * document["gpus"][0]["total_bytes"]
    assert places(document)["b"] == [1]


def test_models_of_one_ollama_take_turns(plan: Callable[..., dict[str, Any]]) -> None:
    document = plan(PLANS / "ollama-two-models.toml", code=0)
    (turn,) = messages(document, "warn")
    assert "do not stay in memory together" in turn
    assert document["gpus"][0]["left_bytes"] >= 0


def test_one_that_fits_nowhere_is_named_with_what_would_fit(
    plan: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(
        '[[service]]\nname = "huge"\nmodel = "llama3.3:70b"\ncontext = 8192\n'
        '[[service]]\nname = "small"\nmemory = "4GiB"\n')
    document = plan(tmp_path / "p.toml", "--hardware", "RTX 4090", code=1)
    assert places(document) == {"huge": None, "small": [0]}
    (finding,) = [each for each in document["findings"] if each["status"] == "fail"]
    assert finding["subject"] == "service:huge"
    assert finding["fix"]


def test_pins_in_the_way_are_said(plan: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    row = '[[service]]\nname = "{0}"\nmemory = "20GiB"\ngpus = [0]\n'
    (tmp_path / "p.toml").write_text(row.format("a") + row.format("b"))
    document = plan(tmp_path / "p.toml", "--hardware", "2x RTX 4090", code=1)
    steps = [step["text"] for each in document["findings"] for step in each["fix"]]
    assert any("without the GPUs written for them" in text for text in steps)


def test_a_driver_too_old_for_the_engine_is_the_reason(plan: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[[service]]\nname = "a"\nengine = "ollama"\nmodel = "gpt-oss:20b"\n')
    document = plan(tmp_path / "p.toml", "--hardware", "4x Quadro RTX 8000", "--driver", "535.247.01", code=1)
    assert [each["id"] for each in document["findings"] if each["status"] == "fail"] == ["engine.driver-too-old"]


def test_tensor_parallel_stays_within_nvlink_on_a_recorded_machine(
    plan: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(
        '[[service]]\nname = "a"\nengine = "vllm"\nmodel = "openai/gpt-oss-120b"\ntensor_parallel = 4\n'
        "context = 16384\n")
    machine = PLANS.parent / "h100x5-one-not-linked" / "snapshot.json"
    document = plan(tmp_path / "p.toml", "--snapshot", machine, code=0)
    assert places(document) == {"a": [0, 1, 2, 3]}
    assert any("joined by NVLink" in text for text in messages(document, "pass"))


def test_what_runs_now_is_planned_without_a_file(plan: Callable[..., dict[str, Any]]) -> None:
    machine = PLANS.parent / "h100x5-serving-more-memory-than-asked" / "snapshot.json"
    document = plan("--snapshot", machine, code=0)
    assert {each["source"] for each in document["services"]} == {"measured now"}
    assert list(places(document).values()) == [[0, 1, 2, 3]], "the ranks of one engine stay together"


def test_processes_outside_of_the_plan_keep_their_memory(
    plan: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text('[[service]]\nname = "a"\nmemory = "40GiB"\n')
    machine = PLANS.parent / "h100x5-serving-more-memory-than-asked" / "snapshot.json"
    document = plan(tmp_path / "p.toml", "--snapshot", machine, code=0)
    assert places(document) == {"a": [4]}
    assert document["gpus"][0]["other_bytes"] > 70 * 2**30


def test_explain_says_why(gpudoctor: Run) -> None:
    text = gpudoctor("plan", PLANS / "rtx8000x4.toml", "--explain").stdout
    assert "GPU 0, 1 is written for it, and stays" in text
    assert "no other is better" in text


def test_reserve_is_kept_free(plan: Callable[..., dict[str, Any]]) -> None:
    document = plan(PLANS / "rtx8000x4.toml", "--reserve", "2GiB", code=0)
    assert all(gpu["other_bytes"] == 2 * 2**30 for gpu in document["gpus"])


def changed(tmp_path: Path, name: str, **gpu: Any) -> Path:
    """Return a recorded machine whose first GPU says something else."""
    facts = json.loads((PLANS.parent / name / "snapshot.json").read_text())
    facts["gpus"]["gpus"][0].update(gpu)
    (tmp_path / "machine.json").write_text(json.dumps(facts))
    return tmp_path / "machine.json"


def test_a_gpu_that_does_not_answer_is_left_out_and_named(plan: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    machine = changed(tmp_path, "rtx8000x4-serving-healthy", failure="it did not answer within 5 s")
    (tmp_path / "p.toml").write_text('[[service]]\nname = "a"\nmemory = "40GiB"\n')
    document = plan(tmp_path / "p.toml", "--snapshot", machine, code=0)
    assert [gpu["index"] for gpu in document["gpus"]] == [1, 2, 3]
    assert any("GPU 0 is left out" in text for text in document["machine"]["assumed"])


def test_processes_that_cannot_be_listed_are_unknown_and_not_nothing(
    plan: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hidden = {"status": "unavailable", "reason": "no permission", "kind": "error"}
    machine = changed(tmp_path, "rtx8000x4-serving-healthy", processes=hidden)
    document = plan("--snapshot", machine, code=3)
    assert "processes of GPU 0" in [each["name"] for each in document["services"] if each["verdict"] == "unknown"]


def test_depends_on_in_a_circle_is_one_line(gpudoctor: Run, tmp_path: Path) -> None:
    service = "    image: vllm/vllm-openai:v0.11.0\n    command: [--model, Qwen/Qwen3-8B]\n    gpus: all\n"
    (tmp_path / "c.yml").write_text(
        f"services:\n  a:\n{service}    depends_on: [b]\n  b:\n{service}    depends_on: [a]\n")
    done = gpudoctor("plan", tmp_path / "c.yml", "--hardware", "2x L4")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "circle" in done.stderr


def test_containers_that_run_are_planned_by_their_commands(plan: Callable[..., dict[str, Any]]) -> None:
    machine = PLANS.parent / "dgx-h100x16-twelve-containers" / "snapshot.json"
    document = plan("--snapshot", machine, code=3)
    assert len(document["services"]) == 12
    assert [each["device_ids"] for each in document["services"]] == [[n] for n in range(12)]
    assert "takes 0.92 of GPU 0 whatever its model" in messages(document, "unknown")[0]


def test_room_beside_an_unknown_service_is_not_given_away(plan: Callable[..., dict[str, Any]]) -> None:
    document = plan(PLANS / "starved.yml", "--hardware", "A100 80GB PCIe + L40S", code=1)
    assert document["gpus"][0]["unknown"] == ["custom"]
    assert document["gpus"][0]["left_bytes"] > 20 * 2**30
