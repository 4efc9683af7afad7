"""``gpudoctor check --live`` on real engines, whose toolkit is doubled and whose device cgroups are the kernel's."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rig_images
from recording_proxy import recording
from rig import Engine, engine
from rig_doubles import Toolkit
from standin import machine, stand_in

from gpudoctor.facts.live import Live, LiveContainer
from gpudoctor.probes.take import take_snapshot

pytestmark = pytest.mark.tier("docker")

ID = "docker.gpu-path-broken"
HOST = "4x-quadro-rtx-8000"
#: The machine of the tests has no GPU of its own: only what the containers see is judged.
WITHOUT_GPU = ("--json", "--no-config", "--expect-gpus", "0", "--only", ID)
NOT_ENOUGH = "Failed to initialize NVML: Unknown Error"


class Tried:
    """What one run of ``check --live`` said."""

    def __init__(self, done: subprocess.CompletedProcess[str], seconds: float) -> None:
        self.code = done.returncode
        self.seconds = seconds
        assert done.returncode in (0, 1, 3), done.stderr
        self.report = json.loads(done.stdout)
        self.results = [result for result in self.report["results"] if result["id"] == ID]

    def about(self, path: str) -> dict[str, Any]:
        (found,) = [result for result in self.results if result["message"].startswith(path)]
        return dict(found)

    @property
    def only(self) -> dict[str, Any]:
        (found,) = self.results
        return dict(found)


Try = Callable[..., Tried]


@pytest.fixture
def live(gpudoctor: Callable[..., subprocess.CompletedProcess[str]]) -> Try:
    def run(engine: Engine | Path, *options: str, image: str | None = rig_images.GLIBC, **variables: str) -> Tried:
        url = engine.url if isinstance(engine, Engine) else f"unix://{engine}"
        chosen = ["--probe-image", image] if image else []
        began = time.monotonic()
        done = gpudoctor("check", "--live", *WITHOUT_GPU, *chosen, *options, DOCKER_HOST=url, **variables)
        return Tried(done, time.monotonic() - began)

    return run


@pytest.fixture
def host(tmp_path: Path) -> dict[str, str]:
    """Variables with which gpudoctor itself sees the host's four GPUs."""
    return stand_in(tmp_path, machine(HOST))


def containers(engine: Engine) -> list[str]:
    return engine.cli("ps", "-a", "--format", "{{.Names}}").stdout.split()


def statuses(tried: Tried) -> dict[str, str]:
    return {path: tried.about(path)["status"] for path in ("--gpus", "runtime: nvidia", "CDI")}


def test_no_toolkit(bare_engine: Engine, live: Try) -> None:
    tried = live(bare_engine)
    assert (tried.code, tried.only["status"]) == (1, "fail")
    assert 'could not select device driver ""' in json.dumps(tried.only["evidence"]).replace("\\", "")


def test_hook_only(session_toolkit: Toolkit, live: Try) -> None:
    with engine(path=[session_toolkit.bin]) as hooked:
        rig_images.load(hooked.client(), [rig_images.PYTHON])
        tried = live(hooked, image=rig_images.PYTHON)
        assert statuses(tried) == {"--gpus": "pass", "runtime: nvidia": "skip", "CDI": "skip"}
        assert containers(hooked) == []


def test_the_story(equipped_engine: Engine, toolkit: Toolkit, live: Try) -> None:
    toolkit.switch("skip-device-cgroup")
    equipped_engine.cli("run", "-d", "--name", "main-brain", "--network", "none", "--runtime", "nvidia",
                        "-e", "NVIDIA_VISIBLE_DEVICES=0,1", rig_images.PYTHON, "sleep", "1000")  # fmt: skip
    try:
        tried = live(equipped_engine, image=None)
    finally:
        equipped_engine.cli("rm", "-f", "main-brain")
    assert statuses(tried) == {"--gpus": "pass", "runtime: nvidia": "fail", "CDI": "skip"}
    broken = tried.about("runtime: nvidia")
    assert NOT_ENOUGH in broken["message"]
    assert "device rules" in broken["message"]
    assert "--gpus hands over 4" in broken["message"]
    assert broken["fix"][0]["command"] == "docker run --gpus all IMAGE"


def test_an_image_without_python_proves_cuda(equipped_engine: Engine, live: Try) -> None:
    found = live(equipped_engine).about("--gpus")
    assert found["status"] == "pass"
    assert "CUDA and memory that was written and read" in found["message"]


def test_an_image_without_a_shell_proves_cuda(equipped_engine: Engine, live: Try) -> None:
    assert live(equipped_engine, image=rig_images.NO_SHELL).about("--gpus")["status"] == "pass"


def test_an_image_of_another_user_proves_cuda(equipped_engine: Engine, live: Try) -> None:
    content = rig_images.archive(rig_images.NO_SHELL)
    equipped_engine.client().api.import_image_from_data(
        content, repository="rig/user", tag="1", changes=["USER 1000:1000", "WORKDIR /not/there"])
    assert live(equipped_engine, image="rig/user:1").about("--gpus")["status"] == "pass"


@pytest.mark.parametrize(("image", "status", "words"), [
    (rig_images.PYTHON, "pass", "CUDA and memory that was written and read"),
    (rig_images.GLIBC, "info", "that CUDA works there is not proved: the image has no Python"),
    (rig_images.EMPTY, "unknown", "the image has no shell, and nvidia-smi does not run in it"),
])  # fmt: skip
def test_an_engine_that_takes_no_files_is_tried_with_what_the_image_has(
    equipped_engine: Engine, live: Try, tmp_path: Path, image: str, status: str, words: str
) -> None:
    with recording(equipped_engine.socket, tmp_path / "proxy.sock", refused=b"PUT ") as record:
        found = live(tmp_path / "proxy.sock", image=image).about("--gpus")
    assert (found["status"], words in json.dumps(found)) == (status, True), found
    assert record.created[0]["Entrypoint"][0].startswith("/.gpudoctor")
    assert containers(equipped_engine) == []


def test_an_image_without_a_c_library_proves_nothing(equipped_engine: Engine, live: Try) -> None:
    found = live(equipped_engine, image=rig_images.BUSYBOX).about("--gpus")
    assert found["status"] == "info"
    assert "not proved: the image has no glibc, which NVIDIA's libraries need" in found["message"]


def test_an_image_without_anything_proves_that_device_files_arrive(equipped_engine: Engine, live: Try) -> None:
    found = live(equipped_engine, image=rig_images.EMPTY).about("--gpus")
    assert found["status"] == "info"
    assert {"what": "device files in it", "value": "5, 0 opened, others ENXIO", "source": "container"} in (
        found["evidence"])


def test_cdi(cdi_engine: Engine, live: Try, host: dict[str, str]) -> None:
    tried = live(cdi_engine, image=rig_images.PYTHON, **host)
    assert statuses(tried) == {"--gpus": "pass", "runtime: nvidia": "pass", "CDI": "pass"}
    assert tried.code == 0


def test_stale_cdi(cdi_engine: Engine, cdi_folder: Path, toolkit: Toolkit, live: Try) -> None:
    spec = cdi_folder / "nvidia.json"
    try:
        toolkit.write_cdi(spec, driver="535.183.01")
        cdi_engine.restart()
        tried = live(cdi_engine, image=rig_images.PYTHON)
    finally:
        toolkit.write_cdi(spec)
        cdi_engine.restart()
    found = tried.about("CDI")
    assert found["status"] == "warn"
    assert "libnvidia-ml.so.535.183.01, which is not there" in found["message"]
    assert any("nvidia-ctk cdi generate" in (step["command"] or "") for step in found["fix"])


def test_chosen_gpus(cdi_engine: Engine, live: Try, host: dict[str, str]) -> None:
    tried = live(cdi_engine, "--gpus", "0,2", image=rig_images.PYTHON, **host)
    assert [tried.about(path)["message"].split(";")[0] for path in ("--gpus", "runtime: nvidia", "CDI")] == [
        "--gpus: 2 GPUs arrive", "runtime: nvidia: 2 GPUs arrive", "CDI: 2 GPUs arrive",
    ]  # fmt: skip


def test_fewer_gpus_than_the_host_has(cdi_engine: Engine, live: Try, tmp_path: Path) -> None:
    more = stand_in(tmp_path, machine(HOST, "count = 5"))
    found = live(cdi_engine, **more).about("--gpus")
    assert found["status"] == "fail"
    assert "4 of 5" in found["message"]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", "modprobe nvidia"),
        ("something nobody has seen before", "nvidia-container-cli"),
    ],
)  # fmt: skip
def test_a_failing_hook_is_quoted_with_its_way_out(
    equipped_engine: Engine, toolkit: Toolkit, live: Try, text: str, command: str
) -> None:
    toolkit.switch("hook-fails", text)
    found = live(equipped_engine).about("--gpus")
    assert found["status"] == "fail"
    assert text in found["message"]
    assert command in found["fix"][0]["command"]
    assert containers(equipped_engine) == []


def test_no_image_to_try_with(bare_engine: Engine, live: Try) -> None:
    tried = live(bare_engine, image=None)
    assert (tried.code, tried.only["status"]) == (3, "unknown")
    assert "--probe-image" in tried.only["message"]


def test_an_image_that_is_not_here_is_not_pulled(bare_engine: Engine, live: Try) -> None:
    tried = live(bare_engine, image="nvidia/cuda:12.4.1-base-ubuntu22.04")
    assert (tried.code, tried.only["status"]) == (3, "unknown")
    assert "nothing is pulled" in tried.only["message"]


#: All that is ever asked of an engine.
ASKED = re.compile(
    r"GET /(_ping|version|info|events|containers/json|containers/[0-9a-f]{64}/(json|logs))|"
    r"GET /(images/[^?]+/json|exec/\w+/json)|"
    r"PUT /containers/[0-9a-f]{64}/archive|"
    r"POST /containers/(create|[0-9a-f]{64}/(start|wait|exec))|POST /exec/\w+/start|DELETE /containers/[0-9a-f]{64}"
)


def test_nothing_else_is_asked_of_the_engine(equipped_engine: Engine, live: Try, tmp_path: Path) -> None:
    equipped_engine.cli("run", "-d", "--name", "served", "--network", "none", "--gpus", "all", rig_images.PYTHON,
                        "sleep", "1000")  # fmt: skip
    before = equipped_engine.cli("inspect", "-f", "{{json .State}} {{json .HostConfig}}", "served").stdout
    try:
        with recording(equipped_engine.socket, tmp_path / "proxy.sock") as record:
            tried = live(tmp_path / "proxy.sock", image=None)
        after = equipped_engine.cli("inspect", "-f", "{{json .State}} {{json .HostConfig}}", "served").stdout
    finally:
        equipped_engine.cli("rm", "-f", "served")
    assert tried.about("--gpus")["status"] == "pass"
    asked = {f"{method} {path.partition('?')[0]}" for method, path in record.requests}
    assert [each for each in asked if not ASKED.fullmatch(each)] == []
    assert after == before
    made = record.created
    assert len(made) == 3
    for each in made:
        limits = each["HostConfig"]
        assert (limits["NetworkMode"], limits["ReadonlyRootfs"], limits["CapDrop"]) == ("none", True, ["ALL"])
        assert limits["SecurityOpt"] == ["no-new-privileges"]
        assert limits["Memory"] > 0
        assert limits["PidsLimit"] > 0
        assert [mount["Type"] for mount in limits["Mounts"]] == ["volume"]
        assert limits.get("Binds") is None
    removed = [path for method, path in record.requests if method == "DELETE"]
    assert len(removed) == 3
    assert equipped_engine.cli("volume", "ls", "-q").stdout == ""


def labelled(engine: Engine, name: str, run: str) -> None:
    engine.cli("run", "-d", "--name", name, "--label", f"gpudoctor.live={run}", "--network", "none", rig_images.GLIBC,
               "sleep", "1000")  # fmt: skip


def test_leftovers_of_ended_runs_are_removed_and_nothing_else(equipped_engine: Engine, live: Try) -> None:
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    mine = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    labelled(equipped_engine, "of-a-killed-run", f"999999999.1.{namespace}")
    labelled(equipped_engine, "of-a-run-that-goes-on", f"{os.getpid()}.{mine}.{namespace}")
    labelled(equipped_engine, "of-another-namespace", "1.1.1")
    equipped_engine.cli("create", "--name", "a-users", "--label", "gpudoctor=live", rig_images.GLIBC, "id")
    try:
        live(equipped_engine)
        assert sorted(containers(equipped_engine)) == ["a-users", "of-a-run-that-goes-on", "of-another-namespace"]
    finally:
        equipped_engine.cli("rm", "-f", *containers(equipped_engine))


@pytest.fixture
def hanging(toolkit: Toolkit) -> Iterator[Toolkit]:
    """NVML never comes back in containers."""
    place = toolkit.files / "machine.txt"
    place.write_text(toolkit.text + "\nhang.nvmlInitWithFlags = 1\n")
    yield toolkit
    place.write_text(toolkit.text)


def soon(true: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def test_killed_in_the_middle_it_leaves_nothing(equipped_engine: Engine, hanging: Toolkit, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("gpudoctor")), "check", "--live", "--only", ID, "--no-config",
               "--probe-image", rig_images.PYTHON]  # fmt: skip
    environment = {**os.environ, "DOCKER_HOST": equipped_engine.url, "HOME": str(tmp_path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as running:
        assert soon(lambda: bool(containers(equipped_engine)))
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        running.send_signal(signal.SIGKILL)
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    assert soon(lambda: containers(equipped_engine) == [])
    assert soon(lambda: equipped_engine.cli("volume", "ls", "-q").stdout == "")


def test_a_container_that_hangs_costs_its_path_alone(
    equipped_engine: Engine, hanging: Toolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", equipped_engine.url)
    found = take_snapshot(live=True, sections=["live"], options={"probe_image": rig_images.PYTHON, "patience": 2}).live
    assert isinstance(found, Live), found
    failures = [path.failure for path in found.paths]
    assert failures == ["it did not come to its end within 2 s"] * 2 + [None]
    assert found.paths[0].seen.refused("ENXIO")
    assert containers(equipped_engine) == []


def test_an_engine_of_another_machine_is_not_tried(
    gpudoctor: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    tried = Tried(gpudoctor("check", "--live", *WITHOUT_GPU, DOCKER_HOST="tcp://192.0.2.1:2375"), 0)
    assert tried.only["status"] == "unknown"


def test_a_hanging_engine_is_unknown_in_time(tmp_path: Path, live: Try) -> None:
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "deaf.sock"))
        deaf.listen(100)
        tried = live(tmp_path / "deaf.sock")
    assert (tried.code, tried.only["status"]) == (3, "unknown")
    assert "hangs" in tried.only["message"]
    assert tried.seconds < 40


def test_no_permission(bare_engine: Engine, gpudoctor: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    # Root without its capabilities is held to the file's mode as anybody is.
    os.chown(bare_engine.socket, 1000, 1000)
    bare_engine.socket.chmod(0o600)
    command = [str(Path(sys.executable).with_name("gpudoctor")), "check", "--live", *WITHOUT_GPU]
    try:
        done = subprocess.run(
            ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *command],
            env={**os.environ, "DOCKER_HOST": bare_engine.url}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        os.chown(bare_engine.socket, 0, 0)
    (found,) = [result for result in json.loads(done.stdout)["results"] if result["id"] == ID]
    assert (done.returncode, found["status"]) == (3, "unknown")
    assert "may not open" in found["message"]


def looked_into(engine: Engine, monkeypatch: pytest.MonkeyPatch, image: str, *command: str) -> LiveContainer:
    """Return the look into a running container of this image."""
    engine.cli("run", "-d", "--name", "served", "--network", "none", "--gpus", "all", image, *command)
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    try:
        found = take_snapshot(live=True, sections=["live"]).live
    finally:
        engine.cli("rm", "-f", "served")
    assert isinstance(found, Live), found
    (look,) = found.containers
    return look


@pytest.mark.parametrize("release", ["equipped_engine", "cdi_engine"])
def test_a_running_container_without_a_shell_is_asked_by_nvidia_smi(
    release: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = looked_into(request.getfixturevalue(release), monkeypatch, rig_images.NO_SHELL, "/wait")
    assert (look.failure, look.seen.inside, look.seen.listed) == (None, "nvidia-smi", 4)


@pytest.mark.parametrize("release", ["equipped_engine", "cdi_engine"])
def test_a_running_container_with_nothing_in_it_says_so(
    release: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = looked_into(request.getfixturevalue(release), monkeypatch, rig_images.EMPTY, "/wait")
    assert look.failure == "it has no shell, and nvidia-smi does not run in it"
