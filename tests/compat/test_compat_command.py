"""``gpudoctor compat`` and ``gpudoctor matrices`` as scripts use them."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
FIXTURES = Path(__file__).parents[2] / "fixtures"
OSS = ("--model", "openai/gpt-oss-120b")


def asked(gpudoctor: Command, *arguments: object) -> dict[str, Any]:
    done = gpudoctor("compat", *map(str, arguments), "--json")
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["schema"] == "gpudoctor.report/1"
    assert done.returncode == report["run"]["exit_code"]
    assert done.stderr == ""
    return report


def found(report: dict[str, Any], *statuses: str) -> set[str]:
    return {r["id"] for r in report["results"] if r["status"] in statuses}


def lines(report: dict[str, Any]) -> list[str]:
    answer = next(r for r in report["results"] if r["id"] == "compat.answer")
    return [step["command"] for step in answer["fix"] if step["command"]]


def test_gpt_oss_with_vllm_on_turing_is_refused_and_ollama_named(gpudoctor: Command) -> None:
    report = asked(gpudoctor, "vllm==0.10.2", "--hardware", "4x Quadro RTX 8000", "--driver", "535.247.01", *OSS)
    assert report["run"]["exit_code"] == 1
    assert found(report, "fail") >= {"engine.quant-unsupported", "engine.dtype-unsupported",
                                     "engine.attention-unsupported"}
    assert lines(report)[0] == "curl -fsSL https://ollama.com/install.sh | OLLAMA_VERSION=0.30.10 sh"


def test_gpt_oss_on_an_old_vllm_names_the_first_that_knows_it(gpudoctor: Command) -> None:
    report = asked(gpudoctor, "vllm==0.6.6", "--hardware", "5x H100 80GB HBM3", "--driver", "580.95.05", *OSS,
                   "--fail-on", "never")
    assert report["run"]["exit_code"] == 0
    model = next(r for r in report["results"] if r["id"] == "engine.model-unknown")
    assert (model["status"], model["params"]["since"]) == ("fail", "0.10.1")
    assert "pip install vllm==0.33.0" in lines(report)


def test_without_a_version_the_newest_that_runs_is_named(gpudoctor: Command) -> None:
    report = asked(gpudoctor, "vllm", "--hardware", "4x Quadro RTX 8000", "--driver", "535.247.01")
    assert report["run"]["exit_code"] == 0
    assert lines(report)[0] == "pip install vllm==0.19.1"


def test_torch_from_the_index_with_code_for_the_gpu(gpudoctor: Command) -> None:
    report = asked(gpudoctor, "torch==2.14.0", "--hardware", "Tesla V100-SXM2-32GB", "--driver", "580.95.05")
    assert found(report, "fail") == {"torch.arch-missing"}
    assert lines(report)[0].endswith("torch==2.14.1 --index-url https://download.pytorch.org/whl/cu126")


def test_recorded_machine_and_another_driver(gpudoctor: Command) -> None:
    machine = FIXTURES / "rtx8000x4-driver-535-ended" / "snapshot.json"
    assert asked(gpudoctor, "ollama==0.32.15", "--snapshot", machine)["run"]["exit_code"] == 1
    report = asked(gpudoctor, "ollama==0.32.15", "--snapshot", machine, "--driver", "580.95.05")
    assert report["run"]["exit_code"] == 0
    assert found(report, "fail", "warn") == set()


def test_what_is_installed_is_not_judged(gpudoctor: Command) -> None:
    machine = FIXTURES / "rtx4090-torch-for-the-cpu" / "snapshot.json"
    assert found(asked(gpudoctor, "vllm==0.33.0", "--snapshot", machine), "fail", "warn") == set()


@pytest.mark.parametrize("requirement", ["vllm==99.1", "vllm/vllm-openai:latest", "llama.cpp", "torch==9.0"])
def test_what_the_tables_do_not_know_is_no_pass(gpudoctor: Command, requirement: str) -> None:
    report = asked(gpudoctor, requirement, "--hardware", "L4", "--driver", "580.95.05")
    assert report["run"]["exit_code"] == 3
    assert report["verdict"] == "unknown"
    assert "compat.answer" in found(report, "unknown")


def test_named_hardware_without_driver_tells_the_floor(gpudoctor: Command) -> None:
    report = asked(gpudoctor, "vllm==0.33.0", "--hardware", "2x RTX 4090")
    answer = next(r for r in report["results"] if r["id"] == "compat.answer")
    assert report["run"]["exit_code"] == 0
    assert "580.65.06 or newer" in answer["message"]


def test_a_gpu_younger_than_the_driver_is_said(gpudoctor: Command) -> None:
    report = asked(gpudoctor, "torch==2.8.0", "--hardware", "RTX 5090", "--driver", "535.247.01")
    assert "driver.gpu-unsupported" in found(report, "warn")


@pytest.mark.parametrize("arguments", [
    ["vllm==0.33.0", "--hardware", "RTX 9999"], ["vllm==0.33.0", "--hardware", "RTX 6000"],
    ["foo==1", "--hardware", "L4"],
    ["vllm==0.33.0", "--hardware", "L4", "--driver", "new"], ["vllm ==", "--hardware", "L4"],
    ["vllm==0.33.0", "--snapshot", "/nowhere.json"], ["vllm", "--hardware", "9999x L4"],
    ["vllm", "--hardware", "L4", "--snapshot", "x"], ["vllm", "--hardware", "L4", "--arch", "z80"],
])
def test_bad_input_is_one_line_and_one_document(gpudoctor: Command, arguments: list[str]) -> None:
    done = gpudoctor("compat", *arguments, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["schema"] == "gpudoctor.error/1"
    assert len(done.stderr.splitlines()) == 1


def test_screen_has_the_line_to_copy(gpudoctor: Command) -> None:
    done = gpudoctor("compat", "vllm==0.33.0", "--hardware", "RTX 4090", "--driver", "580.95.05")
    assert done.returncode == 0
    assert "pip install vllm==0.33.0" in done.stdout


def test_tables_with_rows_age_and_sources(gpudoctor: Command) -> None:
    listed = json.loads(gpudoctor("matrices", "--json").stdout)["tables"]
    assert {"vllm", "pytorch", "cuda_driver"} <= {each["name"] for each in listed}
    assert all(each["rows"] and each["sources"] and each["origin"] == "shipped" for each in listed)
    one = json.loads(gpudoctor("matrices", "vllm", "--json").stdout)
    assert one["content"]["releases"][-1]["version"] == "0.33.0"
    assert "read on" in gpudoctor("matrices", "tgi").stdout
    assert gpudoctor("matrices", "vlm").returncode == 2


def bundle(gpudoctor: Command, folder: Path, *, date: str = "2099-01-01", version: str = "0.99.0") -> Path:
    made = folder / "tables.json"
    assert gpudoctor("matrices", "--bundle", made).returncode == 0
    document = json.loads(made.read_text(encoding="utf-8"))
    document["tables"] = {"vllm": document["tables"]["vllm"]}
    document["tables"]["vllm"]["retrieved"] = date
    rows = document["tables"]["vllm"]["releases"]
    rows.append({**rows[-1], "version": version})
    signed(made, json.dumps(document).encode())
    return made


def signed(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    file.with_name(f"{file.name}.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  {file.name}\n", "ascii")


def test_a_newer_copy_is_taken_and_used(gpudoctor: Command, tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path / "data")}
    file = bundle(gpudoctor, tmp_path)
    question = ("compat", "vllm==0.99.0", "--hardware", "L4", "--driver", "580.95.05", "-qq")
    assert gpudoctor(*question, **home).returncode == 3
    assert gpudoctor("matrices", "--from", file, **home).returncode == 0
    assert gpudoctor(*question, **home).returncode == 0
    listed = json.loads(gpudoctor("matrices", "--json", **home).stdout)["tables"]
    assert next(t for t in listed if t["name"] == "vllm")["origin"].endswith("vllm.json")
    answered = gpudoctor("compat", "vllm", "--hardware", "L4", "--driver", "580.95.05", "--json", **home)
    report = json.loads(answered.stdout)
    assert report["tool"]["matrices"] == next(t for t in listed if t["name"] == "vllm")["retrieved"]
    # A copy that was changed afterwards is not believed.
    copy = tmp_path / "data" / "gpudoctor" / "matrices" / "vllm.json"
    copy.write_bytes(copy.read_bytes().replace(b"0.99.0", b"0.98.0"))
    assert gpudoctor(*question, **home).returncode == 3


def test_an_older_copy_is_left_alone(gpudoctor: Command, tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path / "data")}
    done = gpudoctor("matrices", "--from", bundle(gpudoctor, tmp_path, date="2020-01-01"), **home)
    assert (done.returncode, "none is newer" in done.stdout) == (0, True)


def test_a_bundle_is_refused_whole(gpudoctor: Command, tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path / "data")}
    file = bundle(gpudoctor, tmp_path)
    good = file.read_bytes()
    beside = file.with_name("tables.json.sha256")

    def refused(hint: str) -> None:
        done = gpudoctor("matrices", "--from", file, "--json", **home)
        assert done.returncode == 2
        assert hint in json.loads(done.stdout)["error"]["message"]
        assert not (tmp_path / "data").exists()

    file.write_bytes(good[:-10])
    refused("its checksum is another")
    beside.write_text("no checksum\n", "ascii")
    refused("holds no SHA-256 checksum")
    beside.unlink()
    refused("is not beside it")
    signed(file, b"[1, 2")
    refused("no bundle of tables")
    signed(file, b'{"schema": "gpudoctor.matrices-bundle/1", "tables": {"nonsense": {}}}')
    refused("does not read")
    broken = json.loads(good)
    broken["tables"]["vllm"]["releases"][0]["cuda"] = 12
    signed(file, json.dumps(broken).encode())
    refused("table vllm")
    file.unlink()
    refused("cannot be read")
