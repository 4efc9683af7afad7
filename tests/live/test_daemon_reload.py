"""What a reload of systemd takes from containers, with real systemd and real engines: prediction equals outcome."""

import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import rig_images
from rig import PYTHON
from rig_doubles import Toolkit
from rig_packages import NoPackages
from rig_systemd import SystemdMachine, systemd_machine

import gpudoctor
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.facts.snapshot import decode
from gpudoctor.judging.device_loss import Prediction, prediction

pytestmark = pytest.mark.tier("systemd")

READ = """
import sys
sys.path[:] = {path!r}
from gpudoctor.facts.snapshot import encode
from gpudoctor.probes.take import take_snapshot
sections = ("docker", "containers", "container_toolkit")
sys.stdout.buffer.write(encode(take_snapshot(sections=sections)))
"""
DEVICES = ("--device", "/dev/nvidiactl", *(part for n in range(4) for part in ("--device", f"/dev/nvidia{n}")))


class Row:
    """One container of one engine: what is foretold of it, and what comes."""

    def __init__(self, machine: SystemdMachine, name: str, *options: str) -> None:
        self.machine = machine
        self.name = name
        done = machine.cli(
            "run", "-d", "--name", name, "--network", "none", *options, rig_images.GLIBC, "sleep", "1000"
        )
        assert done.returncode == 0, done.stderr

    def gpus(self) -> int:
        return self.machine.cli("exec", self.name, "nvidia-smi", "-L").stdout.count("Quadro RTX 8000")

    def said(self) -> str:
        return self.machine.cli("exec", self.name, "nvidia-smi", "-L").stdout.strip()

    def foretold(self) -> Prediction:
        """Judge this container on what gpudoctor's own probes read in there."""
        import sys

        place = [*sys.path, str(Path(gpudoctor.__file__).parents[1])]
        program = READ.format(path=place)
        done = self.machine.inside(PYTHON, "-c", program, DOCKER_HOST=self.machine.url)
        facts = decode(done.stdout.encode(), "in there")
        assert isinstance(facts.docker, Docker), (facts.docker, done.stderr)
        assert isinstance(facts.containers, Containers), facts.containers
        assert isinstance(facts.container_toolkit, ContainerToolkit), facts.container_toolkit
        container = facts.containers.named(self.name)
        assert container is not None
        return prediction(facts.docker, container, facts.container_toolkit)

    def reload(self) -> None:
        self.machine.systemctl("daemon-reload")

    def again(self) -> None:
        assert self.machine.cli("restart", "-t", "0", self.name).returncode == 0

    def scope(self) -> str:
        identity = self.machine.cli("inspect", "-f", "{{.Id}}", self.name).stdout.strip()
        return f"docker-{identity}.scope"


NODES = """mknod -m 666 /dev/nvidiactl c 195 255
for n in 0 1 2 3; do mknod -m 666 /dev/nvidia$n c 195 $n; done"""


@pytest.fixture(scope="module", params=["system", "trixie"])
def machine(
    request: pytest.FixtureRequest, session_toolkit: Toolkit, tmp_path_factory: pytest.TempPathFactory
) -> Generator[SystemdMachine, None, None]:
    """This system's systemd and Docker, then those of Debian 13 (257, 26.1), whose engine knows CDI."""
    config = dict(session_toolkit.registration)
    if request.param == "trixie":
        specs = tmp_path_factory.mktemp("specs")
        session_toolkit.write_cdi(specs / "nvidia.json")
        config |= {"features": {"cdi": True, "containerd-snapshotter": False}, "cdi-spec-dirs": [str(specs)]}
    try:
        with systemd_machine(request.param, path=[session_toolkit.bin], config=config) as running:
            rig_images.load(running.client())
            running.inside("sh", "-c", NODES)
            yield running
    except NoPackages as error:
        pytest.skip(f"Debian 13's packages could not be fetched: {error}")


@pytest.fixture
def links(machine: SystemdMachine) -> Iterator[None]:
    """What ``nvidia-ctk system create-dev-char-symlinks`` makes."""
    for name, minor in (("nvidiactl", 255), *((f"nvidia{n}", n) for n in range(4))):
        machine.inside("ln", "-s", f"../{name}", f"/dev/char/195:{minor}")
    yield
    machine.inside("sh", "-c", "rm /dev/char/195:*")


@pytest.fixture
def row(machine: SystemdMachine) -> Iterator[Callable[..., Row]]:
    started: list[Row] = []

    def start(*options: str) -> Row:
        started.append(Row(machine, f"row-{len(started)}", *options))
        assert started[-1].gpus() == 4, started[-1].said()
        return started[-1]

    yield start
    for each in started:
        machine.cli("rm", "-f", each.name)


HOOK = ("--gpus", "all")
RUNTIME = ("--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all")


UNKNOWN = "Failed to initialize NVML: Unknown Error"
#: Options of the container, and what takes its GPUs: a reload, an update. The first of each is systemd 252's, which
#: Debian 12 runs with a runc that forgets devices without a link; the second is 257's.
TABLE = {
    "hook": (HOOK, (True, True), (False, True)),
    "runtime": (RUNTIME, (True, True), (False, True)),
    "devices": ((*HOOK, *DEVICES), (True, True), (False, False)),
    "CDI": (("--device", "nvidia.com/gpu=all"), None, (False, False)),
}


def expected(machine: SystemdMachine, name: str) -> tuple[bool, bool]:
    _, old, new = TABLE[name]
    version = machine.systemd_version
    if version not in (252, 257):
        pytest.skip(f"systemd {version} is in no row of the table")
    found = old if version == 252 else new
    if found is None:
        pytest.skip("this engine knows no CDI")
    return found


@pytest.mark.parametrize("name", TABLE)
def test_what_is_foretold_comes(machine: SystemdMachine, row: Callable[..., Row], name: str) -> None:
    at_reload, at_update = expected(machine, name)
    one = row(*TABLE[name][0])
    foretold = one.foretold()
    one.reload()
    assert (one.said() == UNKNOWN, foretold.reload) == (at_reload, at_reload), foretold
    one.again()
    assert one.gpus() == 4
    machine.systemctl("set-property", "--runtime", one.scope(), "CPUWeight=50")
    assert (one.said() == UNKNOWN, foretold.update) == (at_update, at_update), foretold


def test_devices_with_links_are_kept(machine: SystemdMachine, row: Callable[..., Row], links: None) -> None:
    one = row(*HOOK, *DEVICES)
    foretold = one.foretold()
    one.reload()
    one.reload()
    machine.systemctl("set-property", "--runtime", one.scope(), "CPUWeight=50")
    assert (one.gpus(), foretold.reload, foretold.update, foretold.read) == (4, False, False, True), foretold


def test_another_cgroup_driver_keeps_them(machine: SystemdMachine, row: Callable[..., Row]) -> None:
    if machine.systemd_version != 252:
        pytest.skip("systemd has no hand in it, whatever its release")
    machine.restart(**{"exec-opts": ["native.cgroupdriver=cgroupfs"]})
    try:
        one = row(*HOOK)
        foretold = one.foretold()
        one.reload()
        assert (one.gpus(), foretold.reload) == (4, False), foretold
    finally:
        machine.cli("rm", "-f", "row-0")
        machine.restart(**{"exec-opts": ["native.cgroupdriver=systemd"]})


def test_cdi_on_the_newest_engine(session_toolkit: Toolkit, tmp_path: Path) -> None:
    session_toolkit.write_cdi(tmp_path / "nvidia.json")
    config = {**session_toolkit.registration, "cdi-spec-dirs": [str(tmp_path)]}
    try:
        with systemd_machine("newest", path=[session_toolkit.bin], config=config) as machine:
            rig_images.load(machine.client())
            one = Row(machine, "row-cdi", "--device", "nvidia.com/gpu=all")
            assert one.gpus() == 4, one.said()
            foretold = one.foretold()
            one.reload()
            assert (one.gpus() == 0) is foretold.reload, (one.said(), json.dumps(foretold))
    except NoPackages as error:
        pytest.skip(f"Debian's newest Docker could not be fetched: {error}")
