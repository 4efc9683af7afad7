"""What the README shows is what the command prints."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


def timeless(text: str) -> str:
    return re.sub(r"passed in [0-9.]+ s", "passed in … s", text)


@pytest.mark.parametrize(
    ("machine", "arguments"),
    [("h100x8-healthy", ["--for", "vllm==0.33.0", "--expect-gpus", "8"]), ("rtx4090-nouveau-holds-it", [])],
)
def test_the_examples_are_real(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]], machine: str, arguments: list[str]
) -> None:
    done = gpudoctor("check", "--snapshot", TOP / "fixtures" / machine / "snapshot.json", *arguments,
                     SOURCE_DATE_EPOCH="1795132800")
    shown = "\n".join(f"    {line}".rstrip() for line in done.stdout.splitlines())
    assert timeless(shown) in timeless((TOP / "README.md").read_text(encoding="utf-8"))


def test_every_command_is_in_the_readme() -> None:
    from gpudoctor.cli import COMMANDS

    text = (TOP / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`gpudoctor {name}" not in text] == []
