"""The command line as scripts use it: exit codes, one JSON document, one clear line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

RECORDED = Path(__file__).parents[2] / "fixtures" / "gh200-healthy" / "snapshot.json"
HEALTHY: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))


def write(folder: Path, document: object, name: str = "s.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def with_pci(devices: list[object]) -> dict[str, Any]:
    none = {"status": "recorded", "error_code": 12, "error": "NVML Shared Library Not Found"}
    return {**HEALTHY, "pci": {"status": "recorded", "devices": devices}, "gpus": none}


def only_pci(gpudoctor: Command, *more: str | Path) -> tuple[int, dict[str, Any]]:
    done = gpudoctor("check", "--only", "pci.no-gpu", "--json", *more)
    return done.returncode, json.loads(done.stdout)


def test_a_gpu_on_the_bus_exits_0(gpudoctor: Command, tmp_path: Path) -> None:
    code, report = only_pci(gpudoctor, "--snapshot", write(tmp_path, HEALTHY))
    found = [(r["id"], r["status"]) for r in report["results"] if r["id"] == "pci.no-gpu"]
    assert (code, found) == (0, [("pci.no-gpu", "pass")])
    assert report["run"]["exit_code"] == 0


def test_no_gpu_exits_1_unless_none_was_expected(gpudoctor: Command, tmp_path: Path) -> None:
    path = write(tmp_path, with_pci([]))
    assert only_pci(gpudoctor, "--snapshot", path)[0] == 1
    assert only_pci(gpudoctor, "--snapshot", path, "--expect-gpus", "0")[0] == 0
    assert only_pci(gpudoctor, "--snapshot", path, "--fail-on", "never")[0] == 0


def test_a_bus_that_could_not_be_read_exits_3_and_is_never_green(gpudoctor: Command, tmp_path: Path) -> None:
    path = write(tmp_path, {**HEALTHY, "pci": {"status": "unavailable", "reason": "cut", "kind": "timeout"}})
    code, report = only_pci(gpudoctor, "--snapshot", path)
    assert (code, report["verdict"]) == (3, "unknown")


BAD: list[tuple[list[str], str]] = [
    (["check", "--only", "pci.no-gpus"], "did you mean pci.no-gpu"),
    (["check", "--only", "zzz"], "gpudoctor list"),
    (["check", "--require", "nope.nope"], "no check is called"),
    (["check", "--snapshot", "{dir}/missing.json"], "No such file"),
    (["check", "--snapshot", "{dir}"], "Is a directory"),
    (["check", "--snapshot", "{dir}/cut.json"], "cut short"),
    (["check", "--snapshot", "{dir}/typed.json"], "$.gpus.gpus[0].index"),
    (["check", "--config", "{dir}/bad.toml"], "broken TOML"),
    (["check", "--config", "{dir}/none.toml"], "No such file"),
    (["check", "--for", "vllm=0.33"], "vllm==0.33.0"),
    (["check", "--gpus", "a"], "0,1 or 0-3"),
    (["check", "--gpus", "3-1"], "0,1 or 0-3"),
    (["check", "--gpus", "0-999999999"], "0,1 or 0-3"),
    (["check", "--stage", "later"], "pre-install"),
    (["check", "--fail-on", "info"], "never"),
    (["check", "--format", "xml"], "formats are"),
    (["check", "-o", "xml=f"], "formats are"),
    (["check", "--root", "{dir}/none"], "No such file"),
    (["check", "--expect-gpus", "-1"], "expect-gpus"),
    (["check", "--bogus"], "No such option"),
    (["check", "--snapshot", "{dir}/ok.json", "--deep"], "choose one"),
    (["check", "--snapshot", "{dir}/ok.json", "-o", "{dir}/no/such/folder.json"], "cannot write"),
    (["snapshot"], "-o FILE"),
    (["snapshot", "-o", "{dir}/no/such/s.json"], "cannot be written"),
    (["explain", "gpu.row-remap-pendin"], "did you mean gpu.row-remap-pending"),
    (["schema", "raport"], "there are"),
    (["chek"], "did you mean gpudoctor check?"),
    (["zzz"], "--help"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_bad_input_is_one_clear_line_and_exit_2(
    gpudoctor: Command, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "cut.json").write_text('{"schema": "gpudoctor.snapshot/1", "gpus": {', encoding="utf-8")
    write(tmp_path, {**HEALTHY, "gpus": {"status": "recorded", "gpus": [{"index": "x"}]}}, "typed.json")
    write(tmp_path, HEALTHY, "ok.json")
    (tmp_path / "bad.toml").write_text("[thresholds", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    filled = [a.replace("{dir}", str(tmp_path)) for a in arguments]
    done = gpudoctor(*filled)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_with_json_an_error_is_one_document_on_stdout(gpudoctor: Command) -> None:
    done = gpudoctor("check", "--only", "nope", "--json")
    document = json.loads(done.stdout)
    schema = json.loads(gpudoctor("schema", "error").stdout)
    jsonschema.Draft202012Validator(schema).validate(document)
    assert (done.returncode, document["exit_code"], document["error"]["where"]) == (2, 2, "command line")


def test_this_very_machine_gets_an_honest_verdict(gpudoctor: Command) -> None:
    done = gpudoctor("check", "--json")
    report = json.loads(done.stdout)
    jsonschema.Draft202012Validator(json.loads(gpudoctor("schema", "report").stdout)).validate(report)
    assert done.returncode == report["run"]["exit_code"]
    if not any(Path("/sys/bus/pci/devices").glob("*/class")):
        assert done.returncode in (1, 3)


def test_a_snapshot_of_this_machine_can_be_judged_and_fits_its_schema(gpudoctor: Command, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    assert gpudoctor("snapshot", "-o", path, "--redact").returncode == 0
    schema = json.loads(gpudoctor("schema", "snapshot").stdout)
    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text(encoding="utf-8")))
    live, recorded = gpudoctor("check", "--json"), gpudoctor("check", "--json", "--snapshot", path)
    seen = [sorted({(r["id"], r["status"]) for r in json.loads(d.stdout)["results"]}) for d in (live, recorded)]
    assert seen[0] == seen[1]


def test_secrets_never_reach_a_snapshot(gpudoctor: Command) -> None:
    secret = "hf_verySecretTokenValue"
    shown = gpudoctor("snapshot", "--show", HF_TOKEN=secret, OLLAMA_API_KEY=secret, VLLM_API_KEY=secret)
    assert shown.returncode == 0
    assert secret not in shown.stdout


def test_an_unwritable_old_snapshot_stays_whole(gpudoctor: Command, tmp_path: Path) -> None:
    old = tmp_path / "s.json"
    old.write_text("old", encoding="utf-8")
    # Python would write its byte code cut short, too, and later runs would trip over it.
    limited = subprocess.run(
        ["sh", "-c", 'ulimit -f 1; exec "$0" snapshot -o "$1"', Path(sys.executable).with_name("gpudoctor"), old],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert limited.returncode == 2
    assert "Traceback" not in limited.stderr
    assert old.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_several_reports_at_once(gpudoctor: Command, tmp_path: Path) -> None:
    source = write(tmp_path, HEALTHY)
    done = gpudoctor("check", "--snapshot", source, "-o", f"json={tmp_path}/r.json", "-o", f"console={tmp_path}/r.txt")
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["run"]["exit_code"] == done.returncode
    assert "grace" in (tmp_path / "r.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["cp949", "ascii", "utf-8", "latin-1"])
def test_output_survives_any_console(gpudoctor: Command, tmp_path: Path, encoding: str) -> None:
    strange = {**HEALTHY, "host": {**HEALTHY["host"], "hostname": "서버-✓-\x1b[31m", "os_name": "é\u202e"}}
    path = write(tmp_path, strange)
    for arguments in (["check", "-v"], ["check", "--json"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("gpudoctor"), *arguments, "--snapshot", path],
            capture_output=True, check=False, timeout=120,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "HOME": str(tmp_path)},
        )
        assert done.returncode in (0, 1, 3), done.stderr
        assert b"\x1b" not in done.stdout


def test_a_reader_that_goes_away_costs_no_traceback(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("gpudoctor")
    done = subprocess.run(["sh", "-c", f"{command} list | head -n 1; {command} schema report | head -c 10"],
                          capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["--help", "check --help", "list", "explain exit-codes", "-V"])
def test_the_start_imports_nothing_heavy(arguments: str) -> None:
    command = [sys.executable, "-X", "importtime", "-I", "-m", "gpudoctor", *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert loaded & {"docker", "rich", "psutil", "pynvml", "pydantic", "requests", "asyncio", "numpy"} == set()


def test_json_reports_need_no_screen_library(tmp_path: Path) -> None:
    path = write(tmp_path, HEALTHY)
    command = [sys.executable, "-X", "importtime", "-I", "-m", "gpudoctor", "check", "--snapshot", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "| rich" not in done.stderr
    assert "pynvml" not in done.stderr


def test_a_read_only_home_and_no_home_at_all(gpudoctor: Command, tmp_path: Path) -> None:
    path = write(tmp_path, HEALTHY)
    assert gpudoctor("check", "--snapshot", path, HOME="/proc/nowhere").returncode in (0, 1, 3)
    assert gpudoctor("check", "--snapshot", path, HOME="").returncode in (0, 1, 3)


def test_a_configuration_can_accept_and_change_thresholds(gpudoctor: Command, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[[accept]]\nid = "pci.no-gpu"\nreason = "arrives on Monday"\n', encoding="utf-8")
    path = write(tmp_path, with_pci([]))
    code, report = only_pci(gpudoctor, "--snapshot", path, "--config", config)
    mine = next(r for r in report["results"] if r["id"] == "pci.no-gpu")
    assert (code, report["summary"]["accepted"]) == (0, 1)
    assert (mine["status"], mine["accepted"]["reason"]) == ("fail", "arrives on Monday")
