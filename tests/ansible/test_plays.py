"""Real plays over real sshd hosts: a rack that is built, looked at, and partly sick, slow or away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_cli import HOST_PYTHON, Ansible, Play
from rack import Rack
from standin import machine

pytestmark = pytest.mark.tier("ansible")

BUILT = "gpu01,gpu02,gpu03"
GPUDOCTOR = str(Path(sys.executable).with_name("gpudoctor"))
BUILD = """
- hosts: gpus
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: gpudoctor.gpudoctor.preflight, tasks_from: before}
    - ansible.builtin.debug: {msg: "the roles of the driver and of Docker run on {{ inventory_hostname }}"}
    - ansible.builtin.include_role: {name: gpudoctor.gpudoctor.preflight, tasks_from: after}
"""
Cli = Callable[..., subprocess.CompletedProcess[str]]


def index_of(wheels: Path, place: Path) -> str:
    """Make a package index of a folder of wheels and return its address."""
    for wheel in wheels.glob("*.whl"):
        folder = place / wheel.name.partition("-")[0].lower().replace("_", "-")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "index.html").open("a") as page:
            page.write(f'<a href="{wheel.as_uri()}">{wheel.name}</a>\n')
    return place.as_uri()


class Site:
    """The rack, the play that builds it, and where the reports come to."""

    def __init__(self, rack: Rack, ansible: Ansible, inventory: Path) -> None:
        self.rack = rack
        self.ansible = ansible
        self.inventory = inventory
        self.reports = ansible.place / "reports"
        self.build_book = ansible.place / "build.yml"
        self.build_book.write_text(BUILD)

    def play(self, *arguments: str) -> Play:
        return self.ansible.play(self.rack.controller, self.rack.key, self.inventory, *arguments)

    def build(self, *arguments: str) -> Play:
        return self.play(str(self.build_book), *arguments)

    def look(self, *arguments: str) -> Play:
        """Run the playbook of the collection."""
        return self.play("gpudoctor.gpudoctor.preflight", "-e", "preflight_hosts=gpus",
                         "-e", "preflight_source=none", *arguments)  # fmt: skip

    def written(self) -> dict[str, dict[str, bytes]]:
        return {name: host.written() for name, host in self.rack.hosts.items()}


@pytest.fixture(scope="module")
def site(rack: Rack, ansible: Ansible, bundle: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Each host gets gpudoctor from another place."""
    index = index_of(wheels, tmp_path_factory.mktemp("index"))
    return Site(rack, ansible, rack.inventory(
        gpu01=f"preflight_source=bundle preflight_bundle={bundle}",
        gpu02=f"preflight_source=wheels preflight_wheels={wheels} preflight_interpreter={HOST_PYTHON}",
        gpu03=f"preflight_source=index preflight_index_url={index} preflight_interpreter={HOST_PYTHON}",
        gpu04=f"preflight_source=none preflight_executable={GPUDOCTOR}",
    ))  # fmt: skip


@pytest.fixture(scope="module")
def before(site: Site) -> dict[str, dict[str, bytes]]:
    return site.written()


@pytest.fixture(scope="module")
def rehearsed(site: Site, before: object) -> Play:
    return site.build("--check", "--limit", "gpu01,gpu04")


@pytest.fixture(scope="module")
def after_rehearsal(site: Site, rehearsed: Play) -> dict[str, dict[str, bytes]]:
    return site.written()


@pytest.fixture(scope="module")
def built(site: Site, after_rehearsal: object) -> Play:
    return site.build("--limit", BUILT)


@pytest.fixture(scope="module")
def after_building(site: Site, built: Play) -> dict[str, dict[str, bytes]]:
    return site.written()


@pytest.fixture(scope="module")
def again(site: Site, after_building: object) -> Play:
    return site.build("--limit", BUILT)


def test_check_mode_changes_nothing(
    rehearsed: Play, before: dict[str, dict[str, bytes]], after_rehearsal: dict[str, dict[str, bytes]]
) -> None:
    assert rehearsed.code == 0, rehearsed.text
    assert after_rehearsal == before


def test_check_mode_says_what_would_be_installed(rehearsed: Play) -> None:
    assert rehearsed.text.count("would install gpudoctor from bundle") == 1


def test_check_mode_judges_where_gpudoctor_is(rehearsed: Play) -> None:
    assert "gpu04 is ready" in rehearsed.text
    assert "gpu01 is ready" not in rehearsed.text


def test_a_rack_that_is_well_is_built(built: Play) -> None:
    assert built.code == 0, built.text
    for host in BUILT.split(","):
        assert built.recap[host]["failed"] == 0
        # At both stages.
        assert built.text.count(f'"msg": "{host} is ready') == 2
        assert f"Docker run on {host}" in built.text


def test_each_report_is_of_its_host_and_its_gpus(site: Site, built: Play, gpudoctor: Cli) -> None:
    merged = gpudoctor("report", "merge", site.reports, "--json")
    assert merged.returncode == 0, merged.stdout + merged.stderr
    assert {node["host"] for node in json.loads(merged.stdout)["nodes"]} == set(BUILT.split(","))


def test_a_second_run_changes_nothing(again: Play, site: Site, after_building: dict[str, dict[str, bytes]]) -> None:
    assert again.code == 0, again.text
    assert {host: counts["changed"] for host, counts in again.recap.items()} == dict.fromkeys(BUILT.split(","), 0)
    assert site.written() == after_building


def test_only_gpudoctor_and_its_fact_are_written(built: Play, after_building: dict[str, dict[str, bytes]]) -> None:
    ours = ("/opt/gpudoctor/", "/usr/local/bin/gpudoctor", "/etc/ansible/facts.d/gpudoctor.fact")
    for host, files in after_building.items():
        assert [name for name in files if not name.startswith(ours)] == [], host


def test_local_facts_show_the_verdict(site: Site, again: Play) -> None:
    shown = site.ansible.run(
        "ip", "netns", "exec", site.rack.controller, "ansible", "gpu01", "-i", str(site.inventory), "-m",
        "ansible.builtin.setup", "-a", "filter=ansible_local", ANSIBLE_PRIVATE_KEY_FILE=str(site.rack.key),
    ).stdout  # fmt: skip
    fact = json.loads(shown.partition("=>")[2])["ansible_facts"]["ansible_local"]["gpudoctor"]
    report = json.loads((site.reports / "gpu01.json").read_text())
    # The very facts that the role's last look was judged by.
    assert (fact["verdict"], fact["seen"]) == (report["verdict"], report["run"]["started"])


@pytest.fixture(scope="module")
def trouble(site: Site, again: Play) -> Iterator[Play]:
    """One host is well, one sick, one slow, one away."""
    hosts = site.rack.hosts
    (hosts["gpu02"].place / "machine.txt").write_text(machine("8x-h100-hgx", "gpu.5.rows.failed = 1"))
    (hosts["gpu03"].place / "machine.txt").write_text(
        machine("4x-quadro-rtx-8000", "gpu.*.slow.nvmlDeviceGetTemperature = 700")
    )
    hosts["gpu04"].unplug()
    # As it was yesterday.
    shutil.copy(site.reports / "gpu01.json", site.reports / "gpu04.json")
    yield site.look()
    hosts["gpu04"].plug()


def test_the_sick_one_is_out_with_its_reason(trouble: Play) -> None:
    assert trouble.recap["gpu02"]["failed"] == 1
    assert "gpu02 is not ready: gpu.row-remap-failed gpu:5: " in trouble.text


def test_the_one_that_is_away_is_unreachable(trouble: Play) -> None:
    assert trouble.recap["gpu04"]["unreachable"] == 1
    assert trouble.code != 0


def test_the_well_and_the_slow_one_go_on(trouble: Play) -> None:
    assert "gpu01 is ready" in trouble.text
    assert "gpu03 is ready" in trouble.text
    assert trouble.recap["gpu01"]["failed"] == trouble.recap["gpu03"]["failed"] == 0


def test_no_host_speaks_through_an_earlier_report(trouble: Play, site: Site) -> None:
    assert sorted(path.name for path in site.reports.iterdir()) == ["gpu01.json", "gpu02.json", "gpu03.json"]


def test_the_rack_is_merged_worst_first(trouble: Play, site: Site, gpudoctor: Cli) -> None:
    merged = gpudoctor("report", "merge", site.reports, "--json")
    assert merged.returncode == 1
    assert json.loads(merged.stdout)["nodes"][0]["host"] == "gpu02"


def test_hosts_that_hang_end_in_time_and_are_not_ready(trouble: Play, site: Site) -> None:
    programs = {"gpu01": "#!/bin/sh\nexec sleep 300\n", "gpu03": f'#!/bin/sh\nexec {GPUDOCTOR} "$@"\n'}
    for host, text in programs.items():
        program = site.rack.hosts[host].place / "hanging"
        program.write_text(text)
        program.chmod(0o755)
    (site.rack.hosts["gpu03"].place / "machine.txt").write_text(
        machine("4x-quadro-rtx-8000", "hang.nvmlInitWithFlags = 1")
    )
    play = site.look(
        "--limit", "gpu01,gpu03,localhost", "-e", "preflight_timeout=3", "-e", "preflight_deadline=15",
        "-e", f"preflight_executable={site.rack.place}/{{{{ inventory_hostname }}}}/hanging",
    )  # fmt: skip
    assert play.recap["gpu01"]["failed"] == play.recap["gpu03"]["failed"] == 1
    assert '"msg": "gpu01 is ready' not in play.text
    assert '"msg": "gpu03 is ready' not in play.text
    assert not (site.reports / "gpu01.json").exists()
