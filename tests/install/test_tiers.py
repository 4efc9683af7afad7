"""The tier machinery itself: what is left out is said, and fails a run that requires it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest

def test_plain():
    pass

@pytest.mark.tier("root")
def test_needs_root():
    pass

@pytest.mark.tier("gcc")
def test_gives_up():
    pytest.skip("not today")
"""


def run_tests(folder: Path, text: str = TESTS, **environment: str) -> tuple[int, str]:
    shutil.copy(CONFTEST, folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = tier(name): what it needs\n")
    (folder / "test_it.py").write_text(text)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("GPUDOCTOR_")}
    # Where conftest.py finds the fixtures of the rig, as pyproject.toml has it.
    settings["PYTHONPATH"] = os.pathsep.join(str(CONFTEST.parent / name) for name in ("standin", "rig"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_table_names_what_did_not_run_and_why(tmp_path: Path) -> None:
    code, said = run_tests(tmp_path, GPUDOCTOR_FAST="1")
    assert code == 0
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "always run: 1 passed, 0 failed, 0 skipped" in lines
    assert "root not run: left out by --fast" in lines
    assert any(line.startswith("gcc not run: ") for line in lines)
    assert "install not run: no test of it was selected" in lines
    assert "1 passed, 2 skipped" in lines[-1]


@pytest.mark.parametrize("tier", ["root", "gcc", "install"])
def test_required_tier_that_did_not_run_fails(tmp_path: Path, tier: str) -> None:
    code, said = run_tests(tmp_path, GPUDOCTOR_FAST="1", GPUDOCTOR_REQUIRE_TIERS=f"always, {tier}")
    assert code == 1
    assert f"Required tiers that did not run: {tier}" in said


def test_required_tier_that_ran(tmp_path: Path) -> None:
    assert run_tests(tmp_path, GPUDOCTOR_FAST="1", GPUDOCTOR_REQUIRE_TIERS="always")[0] == 0


def test_unknown_tiers_are_refused(tmp_path: Path) -> None:
    code, said = run_tests(tmp_path, GPUDOCTOR_REQUIRE_TIERS="rot")
    assert (code, "names 'rot'; there are: always" in said) == (pytest.ExitCode.USAGE_ERROR, True)
    code, said = run_tests(tmp_path, TESTS.replace('"root"', '"rot"'))
    assert (code, "no tier 'rot'" in said) == (pytest.ExitCode.USAGE_ERROR, True)
