"""What ``compose fix`` wrote means to the real ``docker compose config`` what it meant before, but for the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from compose_plugin import Refused, config, plugin

from gpudoctor.cli import run

FIXTURES = Path(__file__).parents[2] / "fixtures"
CASES = sorted(
    path
    for folder in ("compose_fix", "compose")
    for path in (FIXTURES / folder).rglob("*")
    if path.suffix in (".yml", ".yaml") and not path.stem.endswith(".fixed")
)
#: Check -> what its remedy may change in a service.
MEANT: dict[str, tuple[str, ...]] = {
    "compose.gpu-scope": ("runtime", "gpus", "devices", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    "compose.no-gpu-request": ("devices", "group_add", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    "compose.unknown-gpu": ("devices",),
    "compose.parallel-mismatch": ("command",),
    "compose.shm-too-small": ("shm_size",),
    "compose.ignored-variable": ("OLLAMA_",),
    "compose.port-open": ("host_ip",),
    "compose.obsolete-version": (),
}
pytestmark = pytest.mark.tier("compose")


@pytest.fixture(scope="module")
def program() -> Path:
    found = plugin()
    assert found is not None
    return found


def without(value: Any, names: tuple[str, ...]) -> Any:
    """Leave out keys that begin so, and what then holds nothing."""
    if isinstance(value, dict):
        kept = {key: without(each, names) for key, each in value.items() if not (names and key.startswith(names))}
        return {key: each for key, each in kept.items() if each not in ({}, None)}
    return [without(each, names) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("asked", [(), ("--only", "compose.port-open")], ids=["safe", "asked"])
@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_only_what_was_meant_changed(
    program: Path, case: Path, asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "compose.yml"
    file.write_bytes(case.read_bytes())
    monkeypatch.chdir(tmp_path)
    variables = {"HOME": str(tmp_path), "SGLANG_KEY": "set"}
    monkeypatch.setenv("SGLANG_KEY", "set")
    try:
        before = config(program, [file], cwd=tmp_path, environment=variables)
    except Refused:
        before = None
    machine = ("--hardware", "4x Quadro RTX 8000", "--no-config")
    run(["compose", "fix", "compose.yml", *machine, "--apply", "--json", *asked])
    answer = json.loads(capsys.readouterr().out)
    if before is None:
        refused = {"compose.invalid-request", "compose.unknown-key"}
        fixed, left = ({each["id"] for each in answer[key]} & refused for key in ("fixed", "left"))
        if fixed and not left:
            # What Compose refused, it now takes.
            assert config(program, [file], cwd=tmp_path, environment=variables)["services"]
        return
    after = config(program, [file], cwd=tmp_path, environment=variables)
    ids: dict[str, tuple[str, ...]] = {}
    for each in answer["fixed"]:
        name = each["subject"].partition(":")[2]
        ids[name] = (*ids.get(name, ()), *MEANT[each["id"]])
    rest = [{k: v for k, v in each.items() if k != "services" and not k.startswith("x-")} for each in (before, after)]
    assert rest[0] == rest[1]
    for name, service in before["services"].items():
        if name in ids:
            assert without(after["services"][name], ids[name]) == without(service, ids[name])
        else:
            assert after["services"][name] == service


def test_the_storys_reservation_is_what_compose_reads(program: Path, tmp_path: Path) -> None:
    file = FIXTURES / "compose_fix" / "story.fixed.yml"
    service = config(program, [file], cwd=tmp_path, environment={"HOME": str(tmp_path)})["services"]["llm"]
    assert service["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}
    ]
    assert ("runtime" in service, service["environment"]) == (False, {"HF_HOME": "/models"})
