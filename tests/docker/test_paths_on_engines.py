"""What is predicted of the three paths by reading, against what real engines then do. The toolkit is doubled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import rig_images
from msgspec.structs import replace
from rig import Engine, engine
from rig_doubles import Toolkit

from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.gpu_containers import route
from gpudoctor.judging.gpu_paths import Paths, paths
from gpudoctor.probes.take import take_snapshot

pytestmark = pytest.mark.tier("docker")

ASK = {
    "--gpus": ("--gpus", "all"),
    "runtime: nvidia": ("--runtime", "nvidia", "-e", "NVIDIA_VISIBLE_DEVICES=all"),
    "CDI": ("--device", "nvidia.com/gpu=all"),
}
Read = Callable[[Engine], Snapshot]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    def run(running: Engine) -> Snapshot:
        monkeypatch.setenv("DOCKER_HOST", running.url)
        return take_snapshot(sections={"docker", "containers", "container_toolkit"}, timeout=30)

    return run


def predicted(snapshot: Snapshot, toolkit: Toolkit | None) -> Paths:
    """Judge what was read. The doubles lie in no package's place: their release is put in, for its way to inject."""
    assert isinstance(snapshot.docker, Docker), snapshot.docker
    assert isinstance(snapshot.container_toolkit, ContainerToolkit)
    kit = snapshot.container_toolkit if toolkit is None else replace(snapshot.container_toolkit, version="1.17.8")
    return paths(snapshot.docker, kit)


def outcome(running: Engine, *asking: str) -> bool:
    done = running.cli("run", "--rm", "--network", "none", *asking, rig_images.GLIBC, "nvidia-smi", "-L")
    return done.returncode == 0 and "GPU 0" in done.stdout


def compare(found: Paths, running: Engine) -> None:
    for way in found:
        assert way.works is outcome(running, *ASK[way.name]), way.words


def test_without_a_toolkit_no_path_works(bare_engine: Engine, read: Read) -> None:
    found = predicted(read(bare_engine), None)
    assert [way.works for way in found] == [False, False, False]
    compare(found, bare_engine)


def test_the_newest_engine_without_a_toolkit(newest_bare_engine: Engine, read: Read) -> None:
    compare(predicted(read(newest_bare_engine), None), newest_bare_engine)


def test_hook_and_runtime_work_and_cdi_is_too_new(equipped_engine: Engine, toolkit: Toolkit, read: Read) -> None:
    found = predicted(read(equipped_engine), toolkit)
    assert [way.works for way in found] == [True, True, False]
    compare(found, equipped_engine)


def test_all_three_paths_of_the_newest_engine(cdi_engine: Engine, toolkit: Toolkit, read: Read) -> None:
    found = predicted(read(cdi_engine), toolkit)
    assert [way.works for way in found] == [True, True, True]
    compare(found, cdi_engine)


@pytest.mark.parametrize(("way", "expected"), [("--gpus", "hook"), ("runtime: nvidia", "legacy"), ("CDI", "cdi")])
def test_the_path_of_a_running_container(
    cdi_engine: Engine, toolkit: Toolkit, read: Read, way: str, expected: str
) -> None:
    started = cdi_engine.cli("run", "-d", "--rm", "--network", "none", *ASK[way], rig_images.GLIBC, "sleep", "60")
    assert started.returncode == 0, started.stderr
    name = started.stdout.strip()
    try:
        snapshot = read(cdi_engine)
        assert isinstance(snapshot.containers, Containers)
        assert isinstance(snapshot.docker, Docker)
        assert isinstance(snapshot.container_toolkit, ContainerToolkit)
        each = snapshot.containers.named(name)
        assert each is not None
        kit = replace(snapshot.container_toolkit, version="1.17.8")
        assert route(each, snapshot.docker, kit) == expected
    finally:
        cdi_engine.cli("rm", "-f", name)


def test_a_runtime_registered_after_the_start_waits_for_a_restart(toolkit: Toolkit, read: Read) -> None:
    with engine(path=[toolkit.bin]) as running:
        rig_images.load(running.client(), (rig_images.GLIBC,))
        running.config.update(toolkit.registration)
        (running.folder / "daemon.json").write_text(json.dumps(running.config))
        found = predicted(read(running), toolkit)
        assert (found.runtime.works, found.runtime.cause) == (False, "restart")
        compare(found, running)
        running.restart()
        found = predicted(read(running), toolkit)
        assert found.runtime.works
        compare(found, running)


def test_a_stale_specification_ends_cdi_and_nothing_else(
    cdi_engine: Engine, cdi_folder: Path, toolkit: Toolkit, read: Read
) -> None:
    place = cdi_folder / "nvidia.json"
    good = place.read_text()
    try:
        toolkit.write_cdi(place, driver="470.256.02")
        found = predicted(read(cdi_engine), toolkit)
        assert [way.works for way in found] == [True, True, False]
        assert "470.256.02" in found.cdi.why
        compare(found, cdi_engine)
    finally:
        place.write_text(good)
