"""Third parties' checks that exit, print and yield nonsense: each costs itself, never the verdict or the document."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

HEAD = '''"""Acme.

## Why it matters
It does.

## How to fix
Mend it.

## References
- https://acme.example/gpus
"""

import os, signal
from gpudoctor.checking import Finding, Target, check, passed


@check()
def odd(target: Target):
    """Judge."""
'''

BODIES = {
    "exits": "raise SystemExit(0)\nyield",
    "ends the generator": "raise GeneratorExit\nyield",
    "raises what is no Exception": "raise type('Own', (BaseException,), {})\nyield",
    "an unknown status": "yield Finding(status='great', subject='host', message='m')",
    "no text": "yield Finding(status='pass', subject=3, message=None)",
    "no value": "yield Finding(status='pass', subject='host', message='m', params={'x': object()})",
    "half a character": "yield passed('host', 'm {x}', x='\\udcff')",
}
SHOWN = {
    "a stray brace": ("yield passed('host', 'm {x.y} {', x='a')", "m {x.y} {"),
    "a wrong number format": ("yield passed('host', 'm {x:d}', x=1.5)", "m 1.5"),
    "noise": ("print('noise')\nos.write(2, b'more')\nyield passed('host', 'm')", "m"),
    "a control sequence": ("yield passed('host', 'm {x}', x='\\x1b[31m')", "m \\x1b[31m"),
}


def install(folder: Path, module: str) -> str:
    package = folder / "acme_checks"
    (package / "acme").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "acme" / "__init__.py").touch()
    (package / "acme" / "odd.py").write_text(module, encoding="utf-8")
    info = folder / "acme_checks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[gpudoctor.checks]\nacme = acme_checks\n", encoding="utf-8")
    return str(folder)


def judged(gpudoctor: Command, checkout: Path, site: str) -> tuple[str, str]:
    """Run all checks on a machine that fails; return the odd one's status and message."""
    snapshot = checkout / "fixtures" / "h100x8-nvml-hangs" / "snapshot.json"
    done = gpudoctor("check", "--json", "--no-config", "--snapshot", snapshot, PYTHONPATH=site)
    report = json.loads(done.stdout)
    assert done.returncode == report["run"]["exit_code"] == 1
    (odd,) = [r for r in report["results"] if r["id"] == "acme.odd"]
    return odd["status"], odd["message"]


def body(text: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in text.splitlines())


@pytest.mark.parametrize("name", BODIES)
def test_a_check_that_misbehaves_costs_itself(
    gpudoctor: Command, checkout: Path, tmp_path: Path, name: str
) -> None:
    status, message = judged(gpudoctor, checkout, install(tmp_path, body(BODIES[name])))
    assert (status, "the check itself crashed" in message) == ("unknown", True)


@pytest.mark.parametrize("name", SHOWN)
def test_odd_words_are_shown_as_they_are(gpudoctor: Command, checkout: Path, tmp_path: Path, name: str) -> None:
    text, shown = SHOWN[name]
    assert judged(gpudoctor, checkout, install(tmp_path, body(text))) == ("pass", shown)


@pytest.mark.parametrize("module", ["raise SystemExit(0)", "raise type('Own', (BaseException,), {})", "print('noise')"])
def test_a_module_that_does_not_load_is_seen(
    gpudoctor: Command, checkout: Path, tmp_path: Path, module: str
) -> None:
    assert judged(gpudoctor, checkout, install(tmp_path, module))[0] == "unknown"


def test_a_signal_in_the_middle_of_a_check_still_ends_the_run(
    gpudoctor: Command, checkout: Path, tmp_path: Path
) -> None:
    site = install(tmp_path, body("os.kill(os.getpid(), signal.SIGTERM)\nyield passed('host', 'm')"))
    snapshot = checkout / "fixtures" / "no-gpu" / "snapshot.json"
    assert gpudoctor("check", "--snapshot", snapshot, PYTHONPATH=site).returncode == 143
