"""What the README shows is what the command prints (``pytest --update-golden`` writes it anew)."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
README = TOP / "README.md"


def timeless(text: str) -> str:
    return re.sub(r"passed in [0-9.]+ s", "passed in 1.4 s", text)


@pytest.mark.parametrize(
    ("machine", "arguments"),
    [("h100x8-healthy", "check --for vllm==0.33.0 --expect-gpus 8"), ("rtx4090-nouveau-holds-it", "check")],
)
def test_the_examples_are_real(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]],
    request: pytest.FixtureRequest,
    machine: str,
    arguments: str,
) -> None:
    snapshot = TOP / "fixtures" / machine / "snapshot.json"
    done = gpudoctor(*arguments.split(), "--snapshot", snapshot, SOURCE_DATE_EPOCH="1795132800")
    shown = "\n".join(f"    {line}".rstrip() for line in timeless(done.stdout).splitlines())
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"(?m)^    \$ gpudoctor {re.escape(arguments)}\n((?:    .*\n|\n)*)", text)
    assert found is not None
    if request.config.getoption("--update-golden"):
        README.write_text(text.replace(found[1], f"{shown}\n\n"), encoding="utf-8")
    assert found[1].rstrip("\n") == shown


def test_every_command_is_in_the_readme() -> None:
    from gpudoctor.cli import COMMANDS

    text = README.read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`gpudoctor {name}" not in text] == []
