"""Plans that are wrong: one clear line with file, service and what to do, exit code 2, nothing half-written."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
HARDWARE = ("--hardware", "2x RTX 4090")


def row(text: str, name: str = "a") -> str:
    return f'[[service]]\nname = "{name}"\n{text}\n'


BAD = {
    "no-toml": ("x = [[[", "no TOML"),
    "nothing": ("", "no [[service]]"),
    "another-table": ('[llm]\nname = "a"', "'llm' is not known"),
    "no-name": ("[[service]]\nmemory = '1GiB'", "has no name"),
    "name-is-a-number": ("[[service]]\nname = 3", "has no name"),
    "service-is-a-table": ('[service]\nname = "a"', "no [[service]]"),
    "unknown-key": (row('modle = "x"'), "'modle' is not known"),
    "unknown-gpu": (row('memory = "1GiB"\ngpus = [9]'), "GPU 9 does not exist (there are 0, 1)"),
    "gpu-twice": (row('memory = "1GiB"\ngpus = [0, 0]'), "gpus must be"),
    "gpus-is-text": (row('memory = "1GiB"\ngpus = "0"'), "gpus must be"),
    "gpu-is-true": (row('memory = "1GiB"\ngpus = [true]'), "gpus must be"),
    "no-gpu": (row('memory = "1GiB"\ngpus = []'), "gpus must be"),
    "unknown-model": (row('model = "no-such-model:1b"'), "no model called 'no-such-model:1b'"),
    "unknown-engine": (row('engine = "warp"\nmodel = "gpt-oss:20b"'), "'warp' is no engine"),
    "unknown-kind": (row('kind = "quantum"'), "'quantum' is no kind of service"),
    "kind-and-engine": (row('kind = "whisper"\nengine = "vllm"'), "both given"),
    "unsized-model-of-a-kind": (row('kind = "faster-whisper"\nmodel = "medium"'), "known are large-v2"),
    "nothing-said": (row(""), "nothing says how large it is"),
    "negative-memory": (row('memory = "-3GiB"'), "is not a size"),
    "zero-memory": (row('memory = "0GiB"'), "is no memory of a GPU"),
    "memory-is-a-number": (row("memory = 3"), "memory must be a text"),
    "endless-memory": (row(f'memory = "{"9" * 30}TiB"'), "is no memory of a GPU"),
    "share-not-a-number": (row('engine = "vllm"\nmodel = "Qwen/Qwen3-8B"\nutilization = nan'), "utilization must be"),
    "share-above-one": (row('engine = "vllm"\nmodel = "Qwen/Qwen3-8B"\nutilization = 1.5'), "utilization must be"),
    "negative-context": (row('model = "gpt-oss:20b"\ncontext = -4'), "is not a number of tokens"),
    "context-is-a-list": (row('model = "gpt-oss:20b"\ncontext = [1]'), "context must be"),
    "ranks-is-true": (row('engine = "vllm"\nmodel = "Qwen/Qwen3-8B"\ntensor_parallel = true'), "whole number"),
    "two-models-for-vllm": (row('engine = "vllm"\nmodels = ["a", "b"]'), "serves one model"),
    "same-name-twice": (row('memory = "1GiB"') + row('memory = "1GiB"'), "two services called 'a'"),
    "after-nobody": (row('memory = "1GiB"\nafter = ["b"]'), "which is not there"),
    "after-itself": (row('memory = "1GiB"\nafter = ["a"]'), "circle: a -> a"),
    "circle": (
        row('memory = "1GiB"\nafter = ["b"]') + row('memory = "1GiB"\nafter = ["a"]', "b"), "circle: a -> b -> a",
    ),
    "machine-is-a-number": (row('memory = "1GiB"') + "[machine]\nhardware = 3\n", "[machine] must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_line_and_exit_code_2(gpudoctor: Run, tmp_path: Path, name: str) -> None:
    text, expected = BAD[name]
    file = tmp_path / "plan.toml"
    file.write_text(text)
    done = gpudoctor("plan", file, *HARDWARE, "-o", f"svg={tmp_path / 'out.svg'}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert str(file) in done.stderr
    assert not (tmp_path / "out.svg").exists()


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"[" * 100_000, b"a." * 50_000 + b"b = 1", b"\x00" * 100])
def test_junk(gpudoctor: Run, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "plan.toml").write_bytes(data)
    done = gpudoctor("plan", tmp_path / "plan.toml", *HARDWARE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("count", [1000, 100_000])
def test_far_too_many_services(gpudoctor: Run, tmp_path: Path, count: int) -> None:
    (tmp_path / "plan.toml").write_text("".join(row('memory = "1MiB"', f"s{n}") for n in range(count)))
    done = gpudoctor("plan", tmp_path / "plan.toml", *HARDWARE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_long_chain_of_starts_is_no_circle(gpudoctor: Run, tmp_path: Path) -> None:
    rows = [row('memory = "1MiB"\ngpus = [0]' + (f'\nafter = ["s{n - 1}"]' if n else ""), f"s{n}") for n in range(200)]
    (tmp_path / "plan.toml").write_text("".join(reversed(rows)))
    assert gpudoctor("plan", tmp_path / "plan.toml", "--hardware", "H100 80GB").returncode == 0


def test_json_says_it_as_a_document(gpudoctor: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(row('memory = "1GiB"\ngpus = [7]'))
    done = gpudoctor("plan", tmp_path / "plan.toml", *HARDWARE, "--json")
    assert json.loads(done.stdout)["schema"] == "gpudoctor.error/1"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("missing.toml", *HARDWARE), "missing.toml"),
        (("missing.yml", *HARDWARE), "missing.yml"),
        (HARDWARE, "no service is named"),
        (("--snapshot", "missing.json"), "missing.json"),
        (("missing.toml", "--hardware", "2x Nonsense"), "missing.toml"),
        (("missing.toml", "--link", "string"), "--link"),
        (("missing.toml", "-o", "pdf=x"), "unknown format 'pdf'"),
        (("--free", "3GiB"), "--free"),
    ],
)
def test_the_command_line(gpudoctor: Run, arguments: tuple[str, ...], expected: str) -> None:
    done = gpudoctor("plan", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert expected in done.stderr


def test_a_compose_service_that_names_a_gpu_the_machine_lacks(gpudoctor: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text(
        "services:\n  a:\n    image: vllm/vllm-openai:v0.11.0\n    command: [--model, Qwen/Qwen3-8B]\n    gpus:\n"
        '      - {driver: nvidia, device_ids: ["5"], capabilities: [gpu]}\n')
    done = gpudoctor("plan", tmp_path / "c.yml", *HARDWARE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "GPU 5" in done.stderr
    assert "c.yml:" in done.stderr


def test_control_sequences_do_not_reach_the_terminal(gpudoctor: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('[[service]]\nname = "a\\u001b[31m\\u202e"\nmemory = "1GiB"\n')
    done = gpudoctor("plan", tmp_path / "plan.toml", *HARDWARE, "--explain")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_a_gpu_in_slices_is_not_planned_as_a_whole(gpudoctor: Run, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(row('memory = "60GiB"'))
    machine = Path(__file__).parents[2] / "fixtures" / "a100-two-mig-slices-for-one-engine" / "snapshot.json"
    done = gpudoctor("plan", path, "--snapshot", machine)
    assert (done.returncode, "divided into MIG slices" in done.stderr) == (2, True)
