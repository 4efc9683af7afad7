"""A look into a running container, against what files alone would say."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from gpudoctor.facts.docker import Containers
from gpudoctor.facts.live import Live, LiveContainer, LiveNode, Seen
from gpudoctor.facts.redact import redact
from gpudoctor.facts.snapshot import Snapshot, read_snapshot, section_types
from gpudoctor.testing import judge_check

DENIED = Seen(inside="shell", nodes=(LiveNode(name="/dev/nvidia0", error="EPERM"),), smi_exit=255,
              smi_line="Failed to initialize NVML: Unknown Error")  # fmt: skip
LISTED = Seen(inside="python", nodes=(LiveNode(name="/dev/nvidia0"),), nvml_code=0, nvml_count=4)


@pytest.fixture
def machine(checkout: Path) -> Snapshot:
    """A reload of systemd has most likely taken the GPUs of main-brain."""
    return read_snapshot(checkout / "fixtures/rtx8000x4-container-likely-lost-its-gpus/snapshot.json")


def looked_at(machine: Snapshot, seen: Seen) -> Snapshot:
    assert isinstance(machine.containers, Containers)
    brain = machine.containers.named("main-brain")
    assert brain is not None
    look = LiveContainer(id=brain.id, name=brain.name, seen=seen)
    return replace(
        machine, live=Live(image="registry.customer-x.example/llm:1", image_from=brain.name, containers=(look,))
    )


@pytest.mark.parametrize(("seen", "status", "words"), [(DENIED, "fail", "does not let it"), (LISTED, "pass", "holds")])
def test_a_look_decides_what_files_only_suggest(machine: Snapshot, seen: Seen, status: str, words: str) -> None:
    facts = looked_at(machine, seen)
    sections = {name: getattr(facts, name) for name in section_types()}
    judged = judge_check("container.gpu-lost", **sections)
    (found,) = [result.finding for result in judged if result.finding.subject == "container:main-brain"]
    assert (found.status, words in found.message.replace("no longer lets", "does not let")) == (status, True), found


def test_names_are_taken_out_of_a_record(machine: Snapshot) -> None:
    facts = redact(looked_at(machine, LISTED))
    assert isinstance(facts.live, Live)
    assert "customer-x" not in facts.live.image
    assert facts.live.image_from == facts.live.containers[0].name != "main-brain"


@pytest.mark.parametrize("name", ["", "../../info", "\uc774\ubbf8\uc9c0", "a b", "x\x1b[31m", "-v"])
def test_what_is_no_name_of_an_image_is_refused(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    done = gpudoctor("check", "--live", f"--probe-image={name}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr
