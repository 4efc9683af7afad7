"""What ``gpudoctor compose fix`` changes, shows and leaves: the real command on real files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from gpudoctor.cli import run

Command = Callable[..., "subprocess.CompletedProcess[str]"]
FIXTURES = Path(__file__).parents[2] / "fixtures"
CASES = sorted(path for path in (FIXTURES / "compose_fix").glob("*.yml") if not path.stem.endswith(".fixed"))
#: Whatever is linted is mended as well.
LINTED = sorted(path for path in (FIXTURES / "compose").rglob("*") if path.suffix in (".yml", ".yaml"))
CARDS = ("--hardware", "4x Quadro RTX 8000")

SHARED = """\
x-gpu: &gpu
  runtime: nvidia
services:
  llm:
    <<: *gpu
    image: vllm/vllm-openai:v0.11.0
    environment: [CUDA_VISIBLE_DEVICES=0]
  other:
    <<: *gpu
    image: registry.example/own:1
    environment: [NVIDIA_VISIBLE_DEVICES=1]
"""
OPEN = """\
services:
  llm:
    image: ollama/ollama:0.11.10
    environment: {OLLAMA_CONTEXT_LENGTH: 8192}
    ports: ["11434:11434"]
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}
"""


@pytest.fixture
def mended(gpudoctor: Command, tmp_path: Path) -> Callable[..., tuple[subprocess.CompletedProcess[str], str]]:
    """Write a text, run the command on it, return its answer and what the file then holds."""

    def mend(text: str, *options: str) -> tuple[subprocess.CompletedProcess[str], str]:
        file = tmp_path / "compose.yml"
        file.write_bytes(text.encode())
        done = gpudoctor("compose", "fix", "compose.yml", *CARDS, *options, cwd=tmp_path)
        return done, file.read_bytes().decode()

    return mend


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_apply_writes_the_mended_file_and_keeps_the_old_one(
    gpudoctor: Command, tmp_path: Path, case: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / case.name
    shutil.copy(case, file)
    done = gpudoctor("compose", "fix", file.name, *CARDS, "--apply", cwd=tmp_path)
    expected = case.with_suffix(".fixed.yml")
    if request.config.getoption("--update-golden"):
        expected.write_bytes(file.read_bytes())
    assert (done.returncode, file.read_bytes()) == (0, expected.read_bytes()), done.stdout + done.stderr
    assert (tmp_path / f"{case.name}.gpudoctor-backup-1").read_bytes() == case.read_bytes()


@pytest.mark.parametrize("case", [*CASES, *LINTED], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_second_run_has_nothing_to_mend(
    tmp_path: Path, case: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(case, tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r"\$\{(\w+):?\?", case.read_text(encoding="utf-8")):
        # Compose asks for it, too.
        monkeypatch.setenv(name, "set")
    # In this process: one start for each of so many files takes a minute.
    assert run(["compose", "fix", case.name, *CARDS, "--no-config", "--apply"]) == 0
    capsys.readouterr()
    run(["compose", "fix", case.name, *CARDS, "--no-config", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert (answer["exit_code"], answer["diff"], answer["fixed"]) == (0, "", [])


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_without_apply_it_shows_a_diff_and_writes_nothing(gpudoctor: Command, case: Path) -> None:
    before = {path.name: path.read_bytes() for path in case.parent.iterdir()}
    done = gpudoctor("compose", "fix", case, *CARDS)
    assert (done.returncode, done.stdout[:4]) == (1, "--- ")
    assert {path.name: path.read_bytes() for path in case.parent.iterdir()} == before


def test_the_diff_is_one_that_patch_takes(gpudoctor: Command, tmp_path: Path) -> None:
    case = FIXTURES / "compose_fix" / "story.yml"
    shutil.copy(case, tmp_path / "story.yml")
    diff = json.loads(gpudoctor("compose", "fix", "story.yml", *CARDS, "--json", cwd=tmp_path).stdout)["diff"]
    subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "story.yml").read_bytes() == case.with_suffix(".fixed.yml").read_bytes()


def test_it_says_what_the_edit_does_not_do(gpudoctor: Command) -> None:
    said = " ".join(gpudoctor("compose", "fix", FIXTURES / "compose_fix" / "story.yml", *CARDS).stdout.split())
    for words in ("up -d --force-recreate llm", "model is loaded again", "daemon-reload", "1.18", "cgroupfs"):
        assert words in said


def test_its_json_fits_its_schema(gpudoctor: Command) -> None:
    schema = json.loads(gpudoctor("schema", "compose-fix").stdout)
    done = gpudoctor("compose", "fix", FIXTURES / "compose_fix" / "story.yml", *CARDS, "--json")
    jsonschema.Draft202012Validator(schema).validate(json.loads(done.stdout))


def test_an_anchor_that_another_service_uses_is_left_with_the_reason(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]],
) -> None:
    done, text = mended(SHARED, "--apply", "--only", "compose.gpu-scope")
    assert (done.returncode, text) == (2, SHARED)
    assert "services.other.runtime would change as well, through the anchor &gpu:" in " ".join(
        done.stdout.split()
    )


def test_a_base_that_another_service_extends_is_left_with_the_reason(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]],
) -> None:
    text = SHARED.replace("    <<: *gpu\n    image: reg", "    extends: llm\n    image: reg")
    done, after = mended(text, "--only", "compose.gpu-scope", "--service", "llm", "--apply")
    assert (done.returncode, after) == (2, text)
    assert "service other extends llm" in " ".join(done.stdout.split())


def test_who_extends_a_mended_service_follows_it_or_stays(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]],
) -> None:
    base = "services:\n  llm:\n    extends: {service: base}\n    container_name: x\n  base:\n"
    base += "    image: vllm/vllm-openai:v0.11.0\n    runtime: nvidia\n    environment: ['CUDA_VISIBLE_DEVICES=GPUS']\n"
    only = ("--only", "compose.gpu-scope", "--json", "--apply")
    done, text = mended(base.replace("GPUS", "1"), *only)
    assert [each["subject"] for each in json.loads(done.stdout)["fixed"]] == ["service:base", "service:llm"]
    assert text.startswith("services:\n  llm:\n    extends: {service: base}\n    container_name: x\n  base:\n")
    done, text = mended(base.replace("GPUS", "${GPUS:-1}"), *only)
    assert (done.returncode, text) == (2, base.replace("GPUS", "${GPUS:-1}"))
    assert len([each for each in json.loads(done.stdout)["left"] if each["refused"]]) == 2


def test_an_open_port_is_bound_only_when_asked(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]],
) -> None:
    done, text = mended(OPEN, "--apply")
    assert (text, "--only compose.port-open" in done.stdout) == (OPEN, True)
    done, text = mended(OPEN, "--apply", "--only", "compose.port-open")
    assert text == OPEN.replace('"11434:', '"127.0.0.1:11434:')


def test_the_context_is_what_fits(mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]]) -> None:
    text = OPEN.replace("{OLLAMA_CONTEXT_LENGTH: 8192}", "[A=b]")
    only = ("--apply", "--only", "compose.context-default")
    done, after = mended(text, *only)
    assert (done.returncode, after, "name it with --model" in done.stdout) == (2, text, True)
    done, after = mended(text, *only, "--model", "gpt-oss:120b")
    assert (done.returncode, after, "does not fit" in done.stderr) == (2, text, True)
    done, after = mended(text, *only, "--model", "gpt-oss:20b")
    assert after == text.replace("[A=b]", "[A=b, OLLAMA_CONTEXT_LENGTH=32768]")


def test_gpus_are_renamed_only_where_there_is_one_way(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]],
) -> None:
    text = OPEN.replace("count: 1", "device_ids: ['1', '2', '3', '4']")
    done, after = mended(text, "--apply")
    assert after == text.replace("'1', '2', '3', '4'", "'0', '1', '2', '3'")
    text = OPEN.replace("count: 1", "device_ids: ['4']")
    done, after = mended(text, "--apply", "--only", "compose.unknown-gpu")
    assert (done.returncode, after, "is yours to say" in done.stdout) == (2, text, True)


def test_only_the_named_service_changes(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]],
) -> None:
    both = (FIXTURES / "compose_fix" / "anchor-of-both.yml").read_text()
    both = both.replace("    <<: *gpu\n", "    runtime: nvidia\n")
    _, text = mended(both, "--apply", "--service", "second")
    assert text.partition("  second:")[0] == both.partition("  second:")[0]
    assert "device_ids" in text.partition("  second:")[2]


def test_different_cards_are_not_chosen_by_cudas_numbers(gpudoctor: Command) -> None:
    case = FIXTURES / "compose_fix" / "one-line.yml"
    done = gpudoctor("compose", "fix", case, "--hardware", "2x Quadro RTX 8000 + 2x RTX 3090",
                     "--only", "compose.gpu-scope")  # fmt: skip
    assert (done.returncode, "CUDA counts the fastest first" in " ".join(done.stdout.split())) == (2, True)


def test_what_another_file_says_is_left_to_that_file(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "gpu.yml").write_text((FIXTURES / "compose_fix" / "one-line.yml").read_text())
    (tmp_path / "compose.yml").write_text("include: [gpu.yml]\nservices: {web: {image: nginx}}\n")
    done = gpudoctor("compose", "fix", "compose.yml", *CARDS, cwd=tmp_path)
    assert (done.returncode, "it is written in gpu.yml: mend that file" in done.stdout) == (0, True)


def test_secrets_of_the_file_are_not_shown(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]],
) -> None:
    text = (FIXTURES / "compose_fix" / "story.yml").read_text().replace("HF_HOME=/models", "HF_TOKEN=hunter2hunter2")
    text = text.replace('["--model", "/models/gpt-oss-120b"', '["--api-key", "sesame-open", "--model", "x"')
    done, _ = mended(text)
    assert "HF_TOKEN=***" in done.stdout
    assert "hunter2" not in done.stdout
    assert "sesame" not in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--only", "compose.secret-inline"), "this command does not mend compose.secret-inline"),
        (("--only", "compose.gpu-scop"), "did you mean compose.gpu-scope"),
        (("--service", "lm"), "no service is called 'lm'"),
        (("--color", "red"), "none of auto, always, never"),
    ],
)
def test_a_wrong_option_is_one_line(
    mended: Callable[..., tuple[subprocess.CompletedProcess[str], str]], options: tuple[str, ...], said: str
) -> None:
    done, text = mended(OPEN, *options)
    assert (done.returncode, done.stderr.count("\n"), said in done.stderr, text) == (2, 1, True, OPEN)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"services:\n  a:\n\timage: x\n", "compose.yml:3"),
        (b"services: {a: {image: x}}\nservices: {}\n", "stands here again"),
        (b"a: &a [*a]\nservices: {}\n", "compose.yml"),
        (b"\xff\xfe\n", "no UTF-8"),
        (b"services: {a: {image: x}}\n---\nservices: {b: {image: x}}\n", "one YAML"),
        (b"services:\r  a: {image: x}\r", "line break"),
        (b"x" * (2 << 20), "larger than"),
        (b"", "no services"),
    ],
)
def test_a_file_that_cannot_be_edited_is_one_line_and_stays(
    gpudoctor: Command, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "compose.yml").write_bytes(content)
    done = gpudoctor("compose", "fix", "compose.yml", *CARDS, "--apply", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert (tmp_path / "compose.yml").read_bytes() == content
