"""Third-party checks come through the same door, and a broken package is visible."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

GOOD = '''"""Acme wants two GPUs.

## Why it matters
Acme's model needs two.

## How to fix
Buy one more.

## References
- https://acme.example/gpus
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, step
from gpudoctor.facts.pci import Pci


@check()
def min_gpus(pci: Pci) -> Iterator[Finding]:
    """Count."""
    yield failed("host", "{n} GPU is too few", n=len(pci.nvidia_gpus), fix=step("Buy one more."))
'''


def package(folder: Path, files: dict[str, str], value: str = "acme_checks") -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    info = folder / "acme_checks-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-checks\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[gpudoctor.checks]\nacme = {value}\n", encoding="utf-8")
    return folder


def snapshot(folder: Path) -> Path:
    path = folder / "s.json"
    gpu = {"address": "0000:1a:00.0", "vendor": "10de", "device": "1e30", "class_code": "0300"}
    document = {"schema": "gpudoctor.snapshot/1", "pci": {"status": "recorded", "devices": [gpu]}}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def results(gpudoctor: Command, folder: Path, where: Path) -> dict[str, str]:
    done = gpudoctor("check", "--json", "--snapshot", snapshot(folder), PYTHONPATH=str(where))
    return {r["id"]: r["status"] for r in json.loads(done.stdout)["results"]}


def test_a_third_partys_check_runs(gpudoctor: Command, tmp_path: Path) -> None:
    files = {"acme_checks/__init__.py": "", "acme_checks/acme/__init__.py": "", "acme_checks/acme/min_gpus.py": GOOD}
    where = package(tmp_path / "site", files)
    assert results(gpudoctor, tmp_path, where)["acme.min-gpus"] == "fail"
    assert "Buy one more" in gpudoctor("explain", "acme.min-gpus", PYTHONPATH=str(where)).stdout


@pytest.mark.parametrize(
    ("files", "seen_as"),
    [
        ({"acme_checks/__init__.py": "import no_such_module"}, "plugin.not-loaded"),
        ({}, "plugin.not-loaded"),
        ({"acme_checks/__init__.py": ""}, "plugin.not-loaded"),
        ({"acme_checks/__init__.py": "", "acme_checks/acme/__init__.py": "", "acme_checks/acme/broken.py": "1 / 0"},
         "acme.broken"),
        ({"acme_checks/__init__.py": "", "acme_checks/acme/__init__.py": "", "acme_checks/acme/empty.py": '"""No."""'},
         "acme.empty"),
        ({"acme_checks/__init__.py": "", "acme_checks/acme/__init__.py": "",
          "acme_checks/acme/min_gpus.py": GOOD.replace("pci: Pci", "bus: Pci")}, "acme.min-gpus"),
        ({"acme_checks/__init__.py": "raise SystemExit(0)"}, "plugin.not-loaded"),
    ],
)
def test_a_broken_package_is_a_visible_unknown(
    gpudoctor: Command, tmp_path: Path, files: dict[str, str], seen_as: str
) -> None:
    seen = results(gpudoctor, tmp_path, package(tmp_path / "site", files))
    assert seen[seen_as] == "unknown"
    assert "pci.no-gpu" in seen


def test_two_checks_with_one_id_are_unknown_and_a_stolen_gatekeeper_decides(
    gpudoctor: Command, tmp_path: Path
) -> None:
    stolen = GOOD.replace("min_gpus", "no_gpu")
    files = {"acme_checks/__init__.py": "", "acme_checks/pci/__init__.py": "", "acme_checks/pci/no_gpu.py": stolen}
    where = package(tmp_path / "site", files)
    done = gpudoctor("check", "--json", "--only", "gpu.row-remap-pending", "--snapshot", snapshot(tmp_path),
                     PYTHONPATH=str(where))
    assert done.returncode == 3
