"""The published JSON Schemas hold for every recorded machine, its report, and what other commands print."""

import functools
import importlib
import json
import subprocess
from collections.abc import Callable
from typing import Any

import jsonschema
import msgspec
import pytest

from gpudoctor.cli.schema import SCHEMAS
from gpudoctor.reports.formats import renderer

from .recorded import FOLDER, MACHINES, hostile, machine

Command = Callable[..., subprocess.CompletedProcess[str]]


@functools.cache
def validator(name: str) -> Any:
    module, kind = SCHEMAS[name]
    schema = msgspec.json.schema(getattr(importlib.import_module(module), kind))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", MACHINES)
def test_the_recorded_machine_is_a_snapshot_by_the_schema(name: str) -> None:
    validator("snapshot").validate(json.loads((FOLDER / name / "snapshot.json").read_text()))


@pytest.mark.parametrize("name", [*MACHINES, "hostile"])
def test_its_report_is_one_by_the_schema(name: str) -> None:
    made = hostile() if name == "hostile" else machine(name)
    validator("report").validate(json.loads(renderer("json")(*made)))


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ("fit", ("fit", "gpt-oss:120b", "--hardware", "2x Quadro RTX 8000")),
        ("fit", ("fit", "no-such-model:1b", "--hardware", "1x RTX 4090")),
        ("report", ("compat", "vllm==0.33.0", "--hardware", "4x RTX 4090")),
        ("report", ("diagnose", FOLDER / "evidence/a100-second-hand-remap-pending/nvidia-smi-q.txt")),
        ("error", ("check", "--only", "no.such-check")),
        ("error", ("report", "merge", "/nowhere")),
    ],
)
def test_what_a_command_prints_is_what_its_schema_says(
    gpudoctor: Command, schema: str, arguments: tuple[Any, ...]
) -> None:
    done = gpudoctor(*arguments, "--json")
    document = json.loads(done.stdout)
    validator("error" if done.returncode == 2 else schema).validate(document)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one(gpudoctor: Command, name: str) -> None:
    printed = json.loads(gpudoctor("schema", name).stdout)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed["$schema"].endswith("2020-12/schema")
