"""Thousands of changed records through decoding, every check and both reports: refused in one line, or judged."""

import json
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.checking.policy import default_policy
from gpudoctor.checking.target import EngineWish, Target
from gpudoctor.cli.judging import judge_snapshot, select_checks
from gpudoctor.facts.redact import redact
from gpudoctor.facts.snapshot import Snapshot, SnapshotError, decode, encode
from gpudoctor.reports.console import Look, render
from gpudoctor.reports.json_report import encode as encode_report
from gpudoctor.reports.report import make_report

MACHINES = ("h100x8-one-hangs", "a100x4-second-hand", "mi300x2-sick", "h100-host-starved", "rtx4090-nouveau-holds-it",
            "h100x8-gpu-off-the-bus", "a100x2-pcie-trouble", "ubuntu-upgrade-behind-the-back",
            "rtx8000x4-container-lost-its-gpus", "rtx4090x4-cdi-stale", "rtx4090x2-podman-cdi-stale",
            "rtx8000x4-shared-memory-too-small")
TARGETS = (
    Target(), Target(stage="pre-install"), Target(gpus=(0, 1)), Target(expect_gpus=8, psu_watts=500, ports=(8000,)),
    Target(engines=(EngineWish("vllm", "0.33.0"),)), Target(expect_gpus=0), Target(deep=True),
)
TEXTS = ("", "x", "\x1b[31mred\x1b[0m", "\x9b2J", "\u202eabc", "[bold]x[/bold]", "[/]", "{x}", "{0}", "{", "\x00",
         "a\nb", "0000:1a:00.0", "9" * 40, "-", "999.999.999", "\"; rm -rf /", "$(reboot)", "A" * 5000,
         "\u0661\u0662", "nan")
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, -(2**31), 2**53, 2**63 - 1, 2**64 - 1, 10**30, 1e308, -1e308, 1e-308, *TEXTS, [], {}, [[]],
    {"status": "unavailable", "reason": "\x1b]0;title\x07", "kind": "crashed"},
    {"status": "unavailable", "reason": "r", "kind": "not-supported"},
)
INSERTED = (b"9" * 30, b"\xff", b"\xc3", b"1e999", b"\\ud800", b"null", b'"', b"[" * 5000)
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@cache
def recorded(folder: Path, name: str) -> bytes:
    return (folder / "fixtures" / name / "snapshot.json").read_bytes()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def changed(data: bytes, chance: random.Random) -> bytes:
    """Change the structure of a record: keys lost, numbers absurd, texts hostile, types wrong."""
    document = json.loads(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        holder, key = chance.choice(list(places(document)))
        value = holder[key]
        if isinstance(value, bool | dict | None) or chance.random() < 0.2:
            holder[key] = chance.choice(VALUES)
        elif isinstance(value, str):
            holder[key] = chance.choice(TEXTS)
        elif isinstance(value, list):
            holder[key] = value * chance.choice((0, 2))
        else:
            holder[key] = chance.choice((-value, value * 1000, 0, -1, 2**63 - 1, value + 1))
        if chance.random() < 0.15 and holder is not document:
            del holder[key]
    return json.dumps(document).encode()


def broken(data: bytes, chance: random.Random) -> bytes:
    """Change the bytes of a record."""
    text = bytearray(data)
    for _ in range(chance.choice((1, 2, 5))):
        place = chance.randrange(len(text) - 50)
        how = chance.randrange(4)
        if how == 0:
            text[place] = chance.randrange(256)
        elif how == 1:
            del text[place : place + chance.randrange(40)]
        elif how == 2:
            text[place:place] = chance.choice(INSERTED)
        else:
            del text[place + 50 :]
            break
    return bytes(text)


def accepted(document: bytes) -> Snapshot | None:
    """Decode, or be refused with one line and nothing else."""
    line = ""
    try:
        return decode(document, "changed")
    except SnapshotError as refused:
        line = str(refused)
    assert line
    assert "\n" not in line
    return None


@pytest.mark.parametrize("machine", MACHINES)
def test_changed_records_are_judged_without_a_crash(checkout: Path, machine: str) -> None:
    chance = random.Random(machine)
    catalogue, selection = select_checks([], [], [])
    data, judged = recorded(checkout, machine), 0
    while judged < 8:
        document = changed(data, chance)
        facts = accepted(document)
        if facts is None:
            continue
        judged += 1
        target = chance.choice(TARGETS)
        judgement = judge_snapshot(facts, target, default_policy(), catalogue, selection, [], "fail")
        crashed = [(r.id, r.finding.params) for r in judgement.results if "crashed:" in r.finding.message]
        assert not crashed, document.decode()
        report = make_report(judgement, started="x", duration_s=0.1, host="h", stage=target.stage)
        text = render(report, facts, Look(width=chance.choice((40, 80, 200)), verbose=chance.randrange(3)))
        assert not OBEYED.search(text)
        assert json.loads(encode_report(report))["run"]["exit_code"] in (0, 1, 3)
        assert encode(redact(facts)).isascii()


@pytest.mark.parametrize("machine", MACHINES)
def test_broken_bytes_are_refused_in_one_line(checkout: Path, machine: str) -> None:
    chance = random.Random(machine)
    data = recorded(checkout, machine)
    for _ in range(100):
        facts = accepted(broken(data, chance))
        assert facts is None or decode(encode(facts), "again") == facts
