"""What runs in a container, and what a service will run, are judged alike: by their image, command line and GPUs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.docker import Container, Containers, DeviceRequest, ImageFacts
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import EngineBinary, Engines
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, PythonPackage
from gpudoctor.judging.workloads import as_service, public_name
from gpudoctor.testing import judge_check

Command = Callable[..., subprocess.CompletedProcess[str]]
OSS = "openai/gpt-oss-20b"
TURING, AMPERE = ("Quadro RTX 8000", (7, 5)), ("NVIDIA A100-SXM4-80GB", (8, 0))
#: GPUs 0 and 1 are old, 2 and 3 are not.
MIXED = Gpus(driver_version="580.95.05", count=4, gpus=tuple(
    Gpu(index=n, name=card[0], compute_capability=card[1]) for n, card in enumerate((TURING, TURING, AMPERE, AMPERE))))
HERE: dict[str, Any] = {"host": Host(hostname="gpu01"), "gpus": MIXED, "driver": Driver(loaded_version="580.95.05")}
GPU = ("gpu",)


def container(command: str, image: str = "vllm/vllm-openai:v0.10.2", ids: tuple[str, ...] = ("0",),
              **changes: Any) -> Container:
    request = DeviceRequest(driver="nvidia", device_ids=ids, capabilities=GPU) if ids else None
    given = {"requests": (request,) if request else (), **changes}
    return Container(id="c" * 64, name="brain", image=image, command=tuple(command.split()), **given)


def judged(check: str, each: Container, **sections: Any) -> tuple[str, str]:
    """Return the status of what is said of the container, and the words' template."""
    facts: dict[str, Any] = {**HERE, "containers": Containers(containers=(each,)), **sections}
    (found,) = [r for r in judge_check(check, **facts) if r.subject == "container:brain"]
    return found.status, found.finding.message


@pytest.mark.parametrize(("check", "command", "ids", "expected"), [
    ("engine.dtype-unsupported", f"--model {OSS}", ("0",), "fail"),
    ("engine.dtype-unsupported", f"--model {OSS}", ("2",), "pass"),
    ("engine.dtype-unsupported", f"--model {OSS}", ("2", "1"), "fail"),
    ("engine.dtype-unsupported", "--model Qwen/Qwen3-8B --dtype bfloat16", ("0",), "fail"),
    ("engine.dtype-unsupported", "--model Qwen/Qwen3-8B --dtype=bfloat16", ("3",), "pass"),
    ("engine.dtype-unsupported", f"--model {OSS} --dtype half", ("3",), "fail"),
    ("engine.dtype-unsupported", "--model /models/mine", ("0",), "skip"),
    ("engine.quant-unsupported", f"--model {OSS}", ("0",), "fail"),
    ("engine.quant-unsupported", f"--model {OSS}", ("3",), "pass"),
    ("engine.quant-unsupported", "--model /models/mine --quantization fp8", ("0",), "fail"),
    ("engine.quant-unsupported", "--model /models/mine --quantization=fp8", ("2",), "pass"),
    ("engine.attention-unsupported", f"--model {OSS}", ("0",), "fail"),
    ("engine.attention-unsupported", f"--model {OSS}", ("2",), "pass"),
    ("engine.attention-unsupported", "--model Qwen/Qwen3-8B --attention-backend FLASH_ATTN", ("0",), "warn"),
    ("engine.attention-unsupported", "--model Qwen/Qwen3-8B --attention-backend FLASH_ATTN", ("2",), "pass"),
    ("engine.parallel-indivisible", f"--model {OSS} --tensor-parallel-size 3", ("0", "1", "2"), "fail"),
    ("engine.parallel-indivisible", f"--model {OSS} --tensor-parallel-size 2", ("0", "1"), "pass"),
    ("engine.mig-uuid", "--model Qwen/Qwen3-8B", ("MIG-1",), "pass"),
    ("engine.mig-uuid", "--model Qwen/Qwen3-8B", ("MIG-1", "MIG-2"), "warn"),
    ("engine.mig-uuid", "--model Qwen/Qwen3-8B -tp 2", ("0:0", "0:1"), "fail"),
    ("engine.mig-uuid", "--model Qwen/Qwen3-8B", ("0",), "skip"),
    ("engine.gpu-unsupported", "--model Qwen/Qwen3-8B", ("0",), "pass"),
    ("stack.ptx-too-new", "--model Qwen/Qwen3-8B", ("0",), "pass"),
])
def test_a_running_container_is_judged_on_its_own_gpus(
    check: str, command: str, ids: tuple[str, ...], expected: str
) -> None:
    assert judged(check, container(command, ids=ids))[0] == expected


def test_a_variable_may_name_the_back_end_and_the_slice() -> None:
    forced = container("--model Qwen/Qwen3-8B", environment={"VLLM_ATTENTION_BACKEND": "FLASH_ATTN"})
    assert judged("engine.attention-unsupported", forced)[0] == "warn"
    slice_ = container("--model Qwen/Qwen3-8B", environment={"CUDA_VISIBLE_DEVICES": "MIG-1"})
    assert judged("engine.mig-uuid", slice_)[0] == "fail"
    hidden = container(f"--model {OSS}", ids=("0", "2"), environment={"CUDA_VISIBLE_DEVICES": "1"})
    assert judged("engine.dtype-unsupported", hidden)[0] == "pass"


@pytest.mark.parametrize("image", ["vllm/vllm-openai:latest", "vllm/vllm-openai", "registry.local/our/vllm:7"])
@pytest.mark.parametrize("check", ["engine.dtype-unsupported", "engine.gpu-unsupported", "stack.ptx-too-new",
                                   "stack.cuda-too-new", "engine.driver-too-old"])
def test_no_release_is_guessed(check: str, image: str) -> None:
    status, words = judged(check, container(f"--model {OSS}", image))
    assert (status, "its tag names none" in words) == ("skip", True)


def test_a_copy_in_another_registry_and_a_bare_id_are_known_by_their_tags() -> None:
    assert public_name("harbor.local:5000/proxy/vllm/vllm-openai:v0.10.2") == "vllm/vllm-openai:v0.10.2"
    assert public_name("harbor.local/our/vllm-openai:v0.10.2") is None
    copy = container(f"--model {OSS}", "harbor.local/hub/vllm/vllm-openai:v0.10.2")
    assert judged("engine.dtype-unsupported", copy)[0] == "fail"
    bare = container(f"--model {OSS}", "sha256:" + "a" * 64, image_facts=ImageFacts(tags=("vllm/vllm-openai:v0.10.2",)))
    assert judged("engine.dtype-unsupported", bare)[0] == "fail"


def test_ptx_of_a_newer_cuda_is_seen_in_what_runs() -> None:
    new = Gpus(driver_version="560.35.03", count=1, gpus=(Gpu(index=0, name="GPU", compute_capability=(12, 0)),))
    each = container("--model x", "vllm/vllm-openai:v0.9.0")
    sections = {"gpus": new, "driver": Driver(loaded_version="560.35.03")}
    assert judged("stack.ptx-too-new", each, **sections)[0] == "warn"
    assert judged("stack.ptx-too-new", container("--model x", "vllm/vllm-openai:v0.9.2"), **sections)[0] == "pass"


def test_which_gpus_it_has_is_asked_only_where_they_differ() -> None:
    named = container(f"--model {OSS}", ids=(), devices=("/dev/nvidia0",))
    status, words = judged("engine.dtype-unsupported", named)
    assert (status, "cannot be judged" in words) == ("skip", True)
    alike = msgspec.structs.replace(MIXED, count=2, gpus=MIXED.gpus[:2])
    assert judged("engine.dtype-unsupported", named, gpus=alike)[0] == "fail"


def test_what_lies_in_a_container_tells_its_release_better_than_the_tag() -> None:
    each = container(f"--model {OSS}", "registry.local/our/vllm:7")
    own = PythonEnvironment(path="/usr", kind="system", container="c" * 12, found=("process",), pids=(9,),
                            packages=(PythonPackage(name="vllm", version="0.10.2"),))
    envs = PythonEnvs(environments=(own,))
    assert judged("engine.dtype-unsupported", each, python_envs=envs)[0] == "fail"
    ollama = container("serve", "registry.local/ollama:7", environment={})
    found = Engines(engines=(EngineBinary(engine="ollama", path="/usr/bin/ollama", version="0.32.15",
                                          container="c" * 12),))
    old = msgspec.structs.replace(MIXED, driver_version="535.247.01")
    said = judged("engine.driver-too-old", ollama, engines=found, gpus=old, driver=Driver(loaded_version="535.247.01"))
    assert said[0] == "fail"


def test_an_ollama_container_names_no_model_and_with_model_it_is_asked() -> None:
    from gpudoctor.checking.target import Target

    each = container("serve", "ollama/ollama:0.10.1")
    status, words = judged("engine.model-unknown", each)
    assert (status, "cannot be judged" in words) == ("skip", True)
    assert judged("engine.model-unknown", each, target=Target(model="gpt-oss:20b"))[0] == "fail"


def test_a_stopped_container_and_one_without_gpus_are_no_targets() -> None:
    for each in (container(f"--model {OSS}", state="exited", exit_code=1), container(f"--model {OSS}", ids=())):
        found = judge_check("engine.dtype-unsupported", **HERE, containers=Containers(containers=(each,)))
        assert [r.subject for r in found if r.status == "fail"] == []


def test_a_container_in_the_form_of_a_service() -> None:
    each = container("serve", "ollama/ollama", ids=(), runtime="nvidia",
                     environment={"NVIDIA_VISIBLE_DEVICES": "0,2"}, devices=("/dev/kfd",))
    forms = [(request.form, request.device_ids) for request in as_service(each).requests]
    assert forms == [("runtime", ("0", "2")), ("device", ("/dev/kfd",))]


COMPOSED = """
services:
  brain:
    image: vllm/vllm-openai:v0.10.2
    gpus: [{{device_ids: ['{gpu}']}}]
    command: --model openai/gpt-oss-20b
"""


@pytest.mark.parametrize(("gpu", "expected"), [("0", ["fail"]), ("1", ["pass"])])
def test_a_service_is_judged_on_its_own_gpus_by_lint(
    gpudoctor: Command, tmp_path: Path, gpu: str, expected: list[str]
) -> None:
    (tmp_path / "compose.yml").write_text(COMPOSED.format(gpu=gpu), encoding="utf-8")
    done = gpudoctor("compose", "lint", "compose.yml", "--hardware", "Quadro RTX 8000 + A100 80GB", "--json",
                     cwd=tmp_path)  # fmt: skip
    results = json.loads(done.stdout)["results"]
    assert [r["status"] for r in results if r["id"] == "engine.dtype-unsupported"] == expected
    found = next(r for r in results if r["id"] == "engine.dtype-unsupported")
    assert (found["subject"], found["location"]["line"]) == ("service:brain", 3)
    assert {r["subject"] for r in results if not r["id"].startswith("compose.")} == {"service:brain"}
