"""What an edit reads again is one service; what it then knows of the text is what reading all of it says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.compose import edit_reread
from gpudoctor.compose.edit_reread import reread
from gpudoctor.compose.edit_tree import Spot, read_spots

BEFORE = """\
# the stack
services:
  llm:  # 모델
    image: vllm/vllm-openai:v0.10.1
    environment: {A: "1"}

  # the small one
  web:
    image: open-webui
  db:
    image: postgres
    ports: ["5432:5432"]
volumes:
  data: {}
"""
EDITS = {
    "a line more": ("    environment", "    ipc: host\n    environment"),
    "a line less": ('    environment: {A: "1"}\n', ""),
    "within a line": ("v0.10.1", "v0.11.0-long"),
    "a line more at a service's end": ("    image: open-webui\n", "    image: open-webui\n    init: true\n"),
    "in the last service": ('["5432:5432"]', '["127.0.0.1:5432:5432"]'),
    "behind the services": ("data: {}", "data: {external: true}"),
    "before the services": ("# the stack\n", ""),
    "a service's name": ("  web:", "  front:"),
    "a service less": ("  web:\n    image: open-webui\n", ""),
    "an anchor comes": ("  llm:", "  llm: &llm"),
}


def everything(spot: Spot) -> Any:
    own = (spot.kind, spot.start, spot.content, spot.end, spot.text, spot.style, spot.anchor, spot.flow)
    return own, [[everything(each) for each in pair] for pair in spot.pairs], [everything(each) for each in spot.items]


@pytest.mark.parametrize("edit", EDITS)
def test_the_places_are_those_of_the_whole_text(edit: str) -> None:
    after = BEFORE.replace(*EDITS[edit])
    assert after != BEFORE
    assert everything(reread(read_spots(BEFORE), BEFORE, after)) == everything(read_spots(after))


def test_of_many_services_one_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "services:\n" + "".join(f"  s{n}:\n    image: ollama/ollama\n" for n in range(100))
    root, read = read_spots(text), []

    def counted(part: str) -> Spot:
        read.append(len(part))
        return read_spots(part)

    monkeypatch.setattr(edit_reread, "read_spots", counted)
    reread(root, text, text.replace("  s50:\n", "  s50:\n    ipc: host\n"))
    assert sum(read) < len(text) / 20


def test_forty_services_are_mended_in_one_run(tmp_path: Path, gpudoctor: Callable[..., Any]) -> None:
    service = "    image: vllm/vllm-openai:v0.10.1\n    command: --model a/b --tensor-parallel-size 2\n    gpus: all\n"
    file = tmp_path / "compose.yml"
    file.write_text("services:\n" + "".join(f"  s{n}:\n{service}" for n in range(40)))
    gpudoctor("compose", "fix", str(file), "--hardware", "2x RTX 4090", "--apply")
    assert file.read_text().count("ipc: host") + file.read_text().count("shm_size") == 40
