"""The units: read by systemd's own verifier, and run by a real systemd."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from rig_systemd import SystemdMachine, systemd_machine

FIXTURES = Path(__file__).parents[2] / "fixtures"
COMMAND = Path(sys.executable).with_name("gpudoctor")
#: What the drop-ins are laid over; systemd is to refuse none of it.
ENGINE = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n"
ENGINE += "StandardOutput=truncate:/run/engine.log\nStandardError=append:/run/engine.log\n"
UNITS = "/etc/systemd/system"
Command = Callable[..., subprocess.CompletedProcess[str]]


def written(gpudoctor: Command, folder: Path, program: Path = COMMAND) -> list[Path]:
    for name in ("systemd", "prometheus"):
        done = gpudoctor("integrate", name, "-o", folder, "--program", program)
        assert done.returncode == 0, done.stderr
    for engine in ("ollama", "vllm"):
        (folder / f"{engine}.service").write_text(ENGINE)
    return sorted(
        path for path in folder.rglob("*") if path.suffix in (".service", ".timer", ".conf") and path.is_file()
    )


@pytest.mark.tier("systemd")
@pytest.mark.parametrize(
    "unit",
    ["gpudoctor-check.service", "gpudoctor-check.timer", "gpudoctor-textfile.service", "gpudoctor-textfile.timer",
     "ollama.service", "vllm.service"],
)  # fmt: skip
def test_systemd_has_nothing_to_say_about_a_unit(gpudoctor: Command, tmp_path: Path, unit: str) -> None:
    written(gpudoctor, tmp_path)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    # Other units of this system may have faults of their own.
    ours = [line for line in done.stderr.splitlines() if "gpudoctor" in line or unit in line]
    assert ours == []


@pytest.mark.tier("systemd")
def test_the_verifier_would_notice(gpudoctor: Command, tmp_path: Path) -> None:
    written(gpudoctor, tmp_path)
    unit = tmp_path / "gpudoctor-check.service"
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    assert "ProtectHouse" in subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr


def test_every_unit_says_what_a_reload_does_and_how_to_look_first(gpudoctor: Command, tmp_path: Path) -> None:
    units = [path for path in written(gpudoctor, tmp_path) if "gpudoctor" in path.name]
    assert len(units) == 6
    for unit in units:
        text = unit.read_text()
        assert "'systemctl daemon-reload' takes the GPUs" in text
        assert "gpudoctor check --only docker.device-loss-exposed" in text


@pytest.mark.parametrize("name", ["systemd", "prometheus"])
def test_what_is_printed_says_it_before_the_first_unit(gpudoctor: Command, name: str) -> None:
    first = gpudoctor("integrate", name, "--print").stdout.partition("# ==>")[0]
    assert "systemctl daemon-reload" in first
    assert "gpudoctor check --only docker.device-loss-exposed" in first


def test_the_command_that_looks_first_is_one(gpudoctor: Command) -> None:
    assert gpudoctor("explain", "docker.device-loss-exposed").returncode == 0


def test_install_script_reloads_nothing(checkout: Path) -> None:
    commands = [
        line for line in (checkout / "install.sh").read_text().splitlines() if not line.lstrip().startswith("#")
    ]
    assert [line for line in commands if re.search(r"daemon-re(load|exec)|systemctl", line)] == []


@pytest.fixture(scope="module")
def machine() -> Generator[SystemdMachine, None, None]:
    with systemd_machine() as running:
        yield running


@pytest.fixture
def unit_folder(machine: SystemdMachine, tmp_path: Path, gpudoctor: Command) -> Callable[[Path], Path]:
    def install(program: Path) -> Path:
        written(gpudoctor, tmp_path, program)
        units = [path for path in tmp_path.glob("gpudoctor-*") if path.is_file()]
        for unit in units:
            own = tmp_path / f"{unit.name}.d"
            own.mkdir()
            # Else systemd would start a whole system beneath it, which /tmp is not to suffer: it is everybody's.
            (own / "rig.conf").write_text("[Unit]\nDefaultDependencies=no\n")
        done = machine.inside("cp", "-r", f"{tmp_path}/.", UNITS)
        assert done.returncode == 0, done.stderr
        machine.systemctl("daemon-reload")
        for unit in units:
            needs = machine.systemctl("show", "-p", "Requires", "-p", "Wants", unit.name)
            assert "sysinit" not in needs, needs
        return tmp_path

    return install


def judged(report: str) -> dict[tuple[str, str], str]:
    return {(r["id"], r["subject"]): r["status"] for r in json.loads(report)["results"]}


@pytest.mark.tier("systemd")
def test_the_hardened_service_sees_what_root_sees(machine: SystemdMachine, unit_folder: Callable[[Path], Path]) -> None:
    unit_folder(COMMAND)
    machine.systemctl("start", "gpudoctor-check.service")
    report = machine.inside("cat", "/var/lib/gpudoctor/report.json").stdout
    by_hand = machine.inside(str(COMMAND), "check", "--json").stdout
    blind = {key for key, status in judged(report).items() if status == "unknown"}
    assert blind <= {key for key, status in judged(by_hand).items() if status == "unknown"}
    assert judged(report).keys() == judged(by_hand).keys()


@pytest.mark.tier("systemd")
def test_the_textfile_is_where_node_exporter_reads(
    machine: SystemdMachine, unit_folder: Callable[[Path], Path]
) -> None:
    unit_folder(COMMAND)
    machine.inside("mkdir", "-p", "/var/lib/prometheus/node-exporter")
    machine.systemctl("start", "gpudoctor-textfile.service")
    listed = machine.inside("ls", "-l", "/var/lib/prometheus/node-exporter").stdout
    assert re.search(r"-rw-r--r--.* gpudoctor\.prom\n", listed), listed


@pytest.fixture
def recorded(machine: SystemdMachine) -> Callable[[str], Path]:
    """Return a gpudoctor that judges a recorded machine, where any user can run it."""

    def of(name: str) -> Path:
        folder = machine.folder / f"program-{name}"
        folder.mkdir(exist_ok=True)
        shutil.copy(FIXTURES / name / "snapshot.json", folder / "snapshot.json")
        program = folder / "gpudoctor"
        program.write_text(
            "#!/bin/sh\n"
            f'[ "$1" = check ] || exit 99\nwords=$(echo "$*" | sed "s/--wait 30s --timeout 20//")\n'
            f"exec {COMMAND} $words --no-config --snapshot {folder}/snapshot.json\n"
        )
        program.chmod(0o755)
        for path in (machine.folder, folder):
            path.chmod(0o755)
        return program

    return of


@pytest.mark.tier("systemd")
@pytest.mark.parametrize("engine", ["ollama", "vllm"])
def test_an_engine_starts_on_a_machine_that_is_ready(
    machine: SystemdMachine, unit_folder: Callable[[Path], Path], recorded: Callable[[str], Path], engine: str
) -> None:
    unit_folder(recorded("h100x8-healthy"))
    done = machine.inside("systemctl", "start", f"{engine}.service")
    assert done.returncode == 0, machine.inside("cat", "/run/engine.log").stdout
    machine.systemctl("stop", f"{engine}.service")


@pytest.mark.tier("systemd")
def test_an_engine_does_not_start_on_a_sick_machine(
    machine: SystemdMachine, unit_folder: Callable[[Path], Path], recorded: Callable[[str], Path]
) -> None:
    unit_folder(recorded("h100x8-gpu-off-the-bus"))
    assert machine.inside("systemctl", "start", "ollama.service").returncode != 0
    assert "gpu.xid" in machine.inside("cat", "/run/engine.log").stdout
    machine.systemctl("reset-failed", "ollama.service")


@pytest.mark.tier("systemd")
def test_the_timer_can_be_started(machine: SystemdMachine, unit_folder: Callable[[Path], Path]) -> None:
    unit_folder(COMMAND)
    machine.systemctl("start", "gpudoctor-check.timer")
    assert "gpudoctor-check.service" in machine.systemctl("list-timers", "--all")
    machine.systemctl("stop", "gpudoctor-check.timer")
