"""Lists that people paste beside a log are facts, judged by the same checks as a live machine."""

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.serving import Serving
from gpudoctor.facts.snapshot import Snapshot

Command = Callable[..., subprocess.CompletedProcess[str]]

PS = (
    "NAME            ID              SIZE     PROCESSOR          CONTEXT    UNTIL\n"
    "gpt-oss:120b    a951a23b46a1    68 GB    31%/69% CPU/GPU    8192       4 minutes from now\n"
)
OLD_PS = (
    "NAME           ID              SIZE      PROCESSOR    UNTIL\n"
    "llama3:8b      365c0bd3c000    6.7 GB    100% GPU     4 minutes from now\n"
)
LISTED = (
    "NAME           ID              SIZE      MODIFIED\n"
    "llama3:8b      365c0bd3c000    4.7 GB    3 weeks ago\n"
)
CARD = "index, name, uuid, memory.total [MiB], memory.used [MiB]\n0, Quadro RTX 8000, GPU-1, 49152 MiB, 3 MiB\n"
BUSY = CARD.replace("3 MiB", "47000 MiB")
PMON = (
    "# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command\n"
    "# Idx           #    C/G      %      %      %      %      %      %    name\n"
    "    0       4711     C       35     12      -      -      -      -    ollama\n"
    "    1          -     -        -      -      -      -      -      -    -\n"
)
DMON = (
    "# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk\n"
    "# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz\n"
    "    0    255     71      -     98     60      0      0      0      0   6500   1395\n"
)
APPS = "gpu_uuid, pid, process_name, used_gpu_memory [MiB]\nGPU-1, 4711, /usr/local/bin/ollama, 46990 MiB\n"
CONTAINERS = (
    "CONTAINER ID   IMAGE                      COMMAND                CREATED      STATUS                      PORTS"
    "                        NAMES\n"
    "c7ee8cdb3d8b   vllm/vllm-openai:v0.10.1   \"vllm serve Qwen…\"     2 days ago   Up 3 hours (unhealthy)      "
    "0.0.0.0:8000->8000/tcp       vllm\n"
    "b1ee8cdb3d8c   ollama/ollama:0.12.3       \"/bin/ollama serve\"    2 days ago   Exited (1) 3 minutes ago    "
    "                             ollama\n"
)  # fmt: skip


def facts(text: str) -> Snapshot:
    paste = Paste()
    paste.feed(io.BytesIO(text.encode()), "paste")
    return paste.snapshot()


def gpus(text: str) -> Gpus:
    found = facts(text).gpus
    assert isinstance(found, Gpus)
    return found


def model(text: str, number: int = 0) -> Any:
    found = facts(text).serving
    assert isinstance(found, Serving)
    return found.endpoints[0].models[number]


@pytest.fixture
def first(gpudoctor: Command, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    def run(text: str) -> dict[str, Any]:
        (tmp_path / "paste.txt").write_text(text, encoding="utf-8")
        return json.loads(gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path).stdout)["results"][0]  # type: ignore[no-any-return]

    return run


def words(result: dict[str, Any]) -> str:
    return " ".join(f"{step['text']} {step['command']}" for step in result["fix"])


def test_part_of_a_model_on_the_cpu_is_told_with_the_model_s_name(first: Callable[[str], dict[str, Any]]) -> None:
    assert first(PS)["message"] == "69% of gpt-oss:120b lies on GPUs, the rest runs on the CPU"


def test_what_fits_is_computed_for_the_card_in_the_paste(first: Callable[[str], dict[str, Any]]) -> None:
    assert "It fits on these GPUs at no context" in words(first(PS + CARD))


def test_ollama_s_own_memory_counts_as_free(first: Callable[[str], dict[str, Any]]) -> None:
    own = PS.replace("gpt-oss:120b", "qwen3:32b   ") + BUSY + APPS
    assert "tokens of context fit" in words(first(own)) or "as they are now" in words(first(own))


def test_no_figure_is_made_up_where_the_holder_of_the_memory_is_not_told(
    first: Callable[[str], dict[str, Any]],
) -> None:
    assert words(first(PS + BUSY)).startswith("Less context, a smaller KV cache")


@pytest.mark.parametrize(
    ("row", "context", "on_gpu"),
    [
        (PS, 8192, 46_920_000_000),
        (OLD_PS, None, 6_700_000_000),
        (PS.replace("31%/69% CPU/GPU", "100% CPU       "), 8192, 0),
        (PS.replace("31%/69% CPU/GPU", "Unknown        "), 8192, None),
        (PS.split("\n")[1], 8192, 46_920_000_000),
    ],
)
def test_a_row_of_ollama_ps(row: str, context: int | None, on_gpu: int | None) -> None:
    assert (model(row).context, model(row).gpu_bytes) == (context, on_gpu)


def test_in_memory_and_on_disk_is_one_model() -> None:
    for text in (OLD_PS + "\n" + LISTED, LISTED + "\n" + OLD_PS):
        found = model(text)
        assert (found.loaded, found.file_bytes, found.size_bytes) == (True, 4_700_000_000, 6_700_000_000)


def test_what_lies_on_disk_only_is_not_loaded() -> None:
    assert model(LISTED).loaded is False


def test_lists_of_containers_tell_state_and_ports() -> None:
    found = facts(CONTAINERS).containers
    assert isinstance(found, Containers)
    told = [(each.name, each.state, each.exit_code, each.health, len(each.ports)) for each in found.containers]
    assert told == [("vllm", "running", None, "unhealthy", 1), ("ollama", "exited", 1, None, 0)]


def test_no_container_is_accused_of_what_the_list_does_not_tell(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "paste.txt").write_text(CONTAINERS.split("b1ee8")[0], encoding="utf-8")
    report = json.loads(gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path).stdout)
    assert [each["id"] for each in report["results"] if each["status"] in ("fail", "warn")] == []


def test_who_is_on_which_gpu() -> None:
    found = gpus(PMON).gpus
    assert [[(p.pid, p.name) for p in gpu.processes] for gpu in found] == [[(4711, "ollama")], []]  # type: ignore[union-attr]


def test_how_warm_and_busy_a_gpu_is() -> None:
    gpu = gpus(DMON).gpus[0]
    assert (gpu.power_watts, gpu.temperature_celsius, gpu.utilization_percent) == (255, 71, 98)


def test_processes_go_to_the_gpu_of_their_uuid() -> None:
    gpu = gpus(CARD + APPS).gpus[0]
    assert [(p.pid, p.used_bytes) for p in gpu.processes] == [(4711, 46990 << 20)]  # type: ignore[union-attr]


def test_ollama_s_memory_is_no_other_program_s(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "paste.txt").write_text(PS + BUSY + APPS, encoding="utf-8")
    report = json.loads(gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path).stdout)
    told = [each["id"] for each in report["results"] if each["status"] in ("fail", "warn")]
    assert told == ["serving.offload-partial"]
