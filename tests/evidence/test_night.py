"""Mixed pastes as they come at three in the morning: the cause on top, nobody accused wrongly, nothing asked twice."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

LOAD = (
    "INFO 11-20 03:00:0{second} [loggers.py:127] Engine 000: Avg prompt throughput: 5120.0 tokens/s, Avg generation "
    "throughput: 400.1 tokens/s, Running: 64 reqs, Waiting: {waiting} reqs, GPU KV cache usage: {usage}%\n"
)
SLOW = "answers are very slow in the morning when everyone logs in\n"
XID = "[  812.111] NVRM: Xid (PCI:0000:41:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
KILLED = (
    "Nov 20 03:11:00 gpu03 kernel: Out of memory: Killed process 2222 (VLLM::EngineCor) total-vm:190000000kB, "
    "anon-rss:120000000kB\n"
)
OWN = (
    "CUDA out of memory. Tried to allocate 136.00 MiB. GPU 1 has a total capacity of 23.64 GiB of which 85.00 MiB is "
    "free. Process 271 has 23.50 GiB memory in use. Of the allocated memory 23.10 GiB is allocated by PyTorch\n"
)


@pytest.fixture
def found(gpudoctor: Command, tmp_path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """The findings that are neither pass, skip nor info."""

    def run(text: str) -> list[dict[str, Any]]:
        (tmp_path / "paste.txt").write_text(text, encoding="utf-8")
        results = json.loads(gpudoctor("diagnose", "paste.txt", "--json", cwd=tmp_path).stdout)["results"]
        return [each for each in results if each["status"] not in ("pass", "skip", "info")]

    return run


def loads(*waiting: int, usage: str = "99.4") -> str:
    return "".join(LOAD.format(second=n, waiting=each, usage=usage) for n, each in enumerate(waiting))


def test_the_engine_s_own_figures_answer_the_complaint(found: Callable[[str], list[dict[str, Any]]]) -> None:
    first = found(loads(200, 210) + SLOW)[0]
    assert first["message"] == "the KV cache is 99% full, so 200 requests wait while 64 run"


def test_a_queue_beside_an_empty_cache_is_another_matter(found: Callable[[str], list[dict[str, Any]]]) -> None:
    assert "--max-num-seqs" in json.dumps(found(loads(20, 20, usage="12.0") + SLOW)[0]["fix"])


def test_a_queue_of_a_moment_is_none(found: Callable[[str], list[dict[str, Any]]]) -> None:
    assert [each["status"] for each in found(loads(9, 0) + SLOW)] == ["unknown"]


def test_a_queue_that_nobody_complains_about_is_no_finding(found: Callable[[str], list[dict[str, Any]]]) -> None:
    assert found(loads(200, 210)) == []


def test_sglang_tells_it_in_other_words(found: Callable[[str], list[dict[str, Any]]]) -> None:
    line = "[2025-11-20 03:00:01 TP0] Decode batch, #running-req: 64, #token: 90112, token usage: 0.97, "
    assert "97% full" in found(f"{line}gen throughput (token/s): 900, #queue-req: 12\n{SLOW}")[0]["message"]


def test_what_a_lost_gpu_breaks_stands_beneath_it(found: Callable[[str], list[dict[str, Any]]]) -> None:
    told = found(XID + "torch.distributed.DistBackendError: NCCL error in: x, unhandled cuda error\n")
    chain = [(each["id"], each["caused_by"]) for each in told]
    assert chain[:2] == [("gpu.xid", None), ("serving.nccl-failed", "gpu.xid")]


def test_the_kernel_s_killing_is_no_want_of_gpu_memory(found: Callable[[str], list[dict[str, Any]]]) -> None:
    assert [each["id"] for each in found(KILLED)] == ["host.oom-kills"]


def test_one_line_is_shown_once(found: Callable[[str], list[dict[str, Any]]]) -> None:
    shown = [each["value"] for each in found(KILLED)[0]["evidence"] if "Killed process" in str(each["value"])]
    assert len(shown) == 1


def test_a_process_in_a_container_is_not_another_program(found: Callable[[str], list[dict[str, Any]]]) -> None:
    assert "Another program" not in json.dumps(found("vllm: torch.OutOfMemoryError: " + OWN)[0]["fix"])


def test_a_command_quotes_once(gpudoctor: Command, tmp_path: Path) -> None:
    gpus = "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-1111aaaa-0)\n"
    (tmp_path / "paste.txt").write_text("vllm serve Qwen/Qwen3-32B\n" + OWN + gpus, encoding="utf-8")
    said = gpudoctor("diagnose", "paste.txt", cwd=tmp_path).stdout
    assert "--hardware '1x GeForce RTX 4090' " in said


SILENT = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"
UNAME = "Linux gpu01 6.8.0-87-generic #88-Ubuntu SMP PREEMPT_DYNAMIC Sat Oct 11 09:28:41 UTC 2025 x86_64 GNU/Linux\n"


def test_a_module_built_for_another_kernel_is_told_and_nothing_asked(
    found: Callable[[str], list[dict[str, Any]]],
) -> None:
    told = found(SILENT + "nvidia/580.95.05, 6.8.0-85-generic, x86_64: installed\n" + UNAME)[0]
    assert "The module was built for 6.8.0-85-generic, and 6.8.0-87-generic runs" in told["fix"][0]["text"]
    assert "causes left" not in json.dumps(told)


def test_what_the_paste_answers_is_not_asked_again(found: Callable[[str], list[dict[str, Any]]]) -> None:
    told = json.dumps(found(SILENT + "SecureBoot disabled\n")[0]["fix"])
    assert "driver.nouveau-bound" in told
    assert "driver.blocked-by-secure-boot" not in told
