"""The container engine through its socket: a real one, and sockets that misbehave."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, Containers, Docker, ImageFacts
from gpudoctor.facts.redact import redact
from gpudoctor.facts.snapshot import Snapshot, encode
from gpudoctor.probes import PROBES
from gpudoctor.probes.take import take_snapshot

SECTIONS = ("docker", "containers")
REQUEST = b"GET "


@pytest.fixture(autouse=True)
def _no_engine_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


Ask = Callable[..., Snapshot]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Take the sections of containers from the engine at an address."""

    def ask(address: str, patience: float = 1.0, timeout: float = 30) -> Snapshot:
        monkeypatch.setenv("DOCKER_HOST", address)
        specs = [msgspec.structs.replace(s, patience=patience) for s in PROBES if s.name == "docker"]
        monkeypatch.setattr("gpudoctor.probes.take.PROBES", specs)
        return take_snapshot(sections=SECTIONS, timeout=timeout)

    return ask


def recorded(snapshot: Snapshot) -> tuple[Docker, Containers]:
    assert isinstance(snapshot.docker, Docker), snapshot.docker
    assert isinstance(snapshot.containers, Containers), snapshot.containers
    return snapshot.docker, snapshot.containers


Reply = Callable[[socket.socket, str], None]


@contextlib.contextmanager
def fake_engine(folder: Path, reply: Reply) -> Generator[str, None, None]:
    """A socket that answers each request by ``reply``; yields its address."""
    path = folder / "fake.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(16)
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            buffer = b""
            while data := connection.recv(1 << 16):
                buffer += data
                while b"\r\n\r\n" in buffer:
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    reply(connection, head.split(b" ")[1].decode())

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"unix://{path}"
    finally:
        for each in (server, *connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def http(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


VERSION = {"Version": "28.5.2", "ApiVersion": "1.51", "Components": [{"Name": "runc", "Version": "1.3.0"}]}
INFO = {"OperatingSystem": "x", "CgroupDriver": "cgroupfs", "Runtimes": {}, "DockerRootDir": "/var/lib/docker"}


def inspected(identity: str, **more: Any) -> dict[str, Any]:
    return {"Id": identity, "Image": "sha256:0", "Config": {"Image": "vllm/vllm-openai"}, "HostConfig": {},
            "State": {"Status": "running", "Pid": 0}, **more}


def docker_like(containers: Sequence[dict[str, Any]], special: dict[str, Reply] | None = None) -> Reply:
    """Answer as Docker would for these containers (their inspect answers)."""
    listed = [{"Id": c["Id"], "Names": [f"/box{n}"], "State": "running"} for n, c in enumerate(containers)]
    answers: dict[str, Any] = {"/version": VERSION, "/info": INFO, "/containers/json": listed,
                               **{f"/containers/{c['Id']}/json": c for c in containers}}

    def reply(connection: socket.socket, path: str) -> None:
        path = path.partition("?")[0]
        if special and path in special:
            special[path](connection, path)
        elif path in answers:
            connection.sendall(http(json.dumps(answers[path]).encode()))
        else:
            connection.sendall(http(b'{"message": "no such thing"}', status="404 Not Found"))

    return reply


def silent(connection: socket.socket, path: str) -> None:
    """Accept and never answer."""


def reset(connection: socket.socket, path: str) -> None:
    connection.close()


def drip(connection: socket.socket, path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")
    for _ in range(10_000):
        connection.sendall(b" ")
        time.sleep(0.02)


def sends(data: bytes) -> Reply:
    def reply(connection: socket.socket, path: str) -> None:
        connection.sendall(data)
        connection.close()

    return reply


def endless(connection: socket.socket, path: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"[" * 0x10000 + b"\r\n")


@pytest.mark.parametrize("reply", [silent, drip])
def test_an_engine_that_accepts_and_never_answers_costs_its_patience(ask: Ask, tmp_path: Path, reply: Reply) -> None:
    started = time.monotonic()
    with fake_engine(tmp_path, reply) as address:
        snapshot = ask(address)
    assert time.monotonic() - started < 10
    for section in (snapshot.docker, snapshot.containers):
        assert isinstance(section, Unavailable)
        assert section.kind == "timeout"
        assert not section.harmless
    assert "GET /version" in snapshot.docker.reason  # type: ignore[union-attr]


def test_a_check_of_an_engine_that_hangs_ends_without_a_verdict(gpudoctor: Any, tmp_path: Path) -> None:
    with fake_engine(tmp_path, silent) as address:
        done = gpudoctor("check", "--only", "docker.unreachable", "--json", DOCKER_HOST=address)
    report = json.loads(done.stdout)
    assert done.returncode == 3, done.stderr
    assert [result["status"] for result in report["results"] if result["id"] == "docker.unreachable"] == ["unknown"]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (sends(http(b"<html>Sign in</html>", "text/html")), "no JSON (text/html"),
        (sends(b"x" * (10 << 20)), "broke off"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10_000 + b"\r\n"), "broke off"),
        (endless, "larger than 32 MiB"),
        (reset, "broke off"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "broke off"),
        (sends(http(b"[]")), "no object"),
        (sends(http(b"[" * 100_000)), "no JSON"),
        (sends(http(b'{"Version": 3}')), "Version is not a text"),
        (sends(http(b"", status="302 Found\r\nLocation: http://192.0.2.1/")), "no JSON"),
        (sends(http(b'{"message": "sick"}', status="500 Internal Server Error")), "500"),
        (sends(http(b"\xff\xfe")), "no JSON"),
    ],
)
def test_an_engine_that_talks_nonsense_is_said_to(ask: Ask, tmp_path: Path, reply: Reply, says: str) -> None:
    with fake_engine(tmp_path, reply) as address:
        snapshot = ask(address, patience=5)
    assert isinstance(snapshot.docker, Unavailable)
    assert says in snapshot.docker.reason
    assert snapshot.docker.kind == "error"


def test_nobody_listens(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    found = ask(f"unix://{path}").docker
    assert isinstance(found, Unavailable)
    assert (found.kind, "nobody listens" in found.reason) == ("error", True)


def test_a_named_socket_that_is_not_there_is_a_failure(ask: Ask, tmp_path: Path) -> None:
    found = ask(f"unix://{tmp_path}/none.sock").docker
    assert isinstance(found, Unavailable)
    assert (found.kind, "DOCKER_HOST" in found.reason) == ("error", True)


@pytest.mark.parametrize(
    "address",
    ["unix://", "unix://here.sock", "unix:///" + "x" * 200, "tcp://127.0.0.1:port", "tcp://[::1", "nonsense", "fd://",
     "tcp://127.0.0.1:1", "\udcff\udcfe", "npipe:////./pipe/docker"],
)
def test_an_address_that_is_none_is_said_to_be(ask: Ask, address: str) -> None:
    found = ask(address).docker
    assert isinstance(found, Unavailable)
    assert found.kind in ("error", "not-asked")
    assert "\n" not in found.reason


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2375", "ssh://jane:geheim@gpu01.example"])
def test_an_engine_on_another_machine_is_not_asked(ask: Ask, address: str) -> None:
    started = time.monotonic()
    found = ask(address).docker
    assert isinstance(found, Unavailable)
    assert "another machine" in found.reason or "Docker is installed" in found.reason
    assert "geheim" not in found.reason
    assert time.monotonic() - started < 5


def test_a_context_names_the_engine(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    meta = tmp_path / ".docker/contexts/meta" / hashlib.sha256(b"lab").hexdigest()
    meta.mkdir(parents=True)
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "lab"}')
    with fake_engine(tmp_path, docker_like([])) as address:
        (meta / "meta.json").write_text(json.dumps({"Name": "lab", "Endpoints": {"docker": {"Host": address}}}))
        docker, _ = recorded(ask(""))
    assert docker.endpoint == address


def test_one_container_whose_answer_hangs_costs_itself(ask: Ask, tmp_path: Path) -> None:
    boxes = [inspected(f"{n:064x}") for n in range(4)]
    with fake_engine(tmp_path, docker_like(boxes, {f"/containers/{2:064x}/json": silent})) as address:
        _, found = recorded(ask(address))
    failures = {each.name: each.failure for each in found.containers}
    assert set(failures) == {"box0", "box1", "box2", "box3"}
    assert [name for name, failure in failures.items() if failure] == ["box2"]
    assert "did not answer" in str(failures["box2"])


@pytest.mark.parametrize("path", ["/info", "/events"])
def test_one_question_that_hangs_leaves_the_other_facts(ask: Ask, tmp_path: Path, path: str) -> None:
    with fake_engine(tmp_path, docker_like([inspected("a" * 64)], {path: silent})) as address:
        docker, containers = recorded(ask(address))
    assert docker.version == "28.5.2"
    assert [each.failure for each in containers.containers] == [None]
    assert isinstance(docker.cgroup_driver, Unavailable) == (path == "/info")


def test_a_list_that_hangs_leaves_the_engine(ask: Ask, tmp_path: Path) -> None:
    with fake_engine(tmp_path, docker_like([], {"/containers/json": silent})) as address:
        snapshot = ask(address)
    assert isinstance(snapshot.docker, Docker)
    assert isinstance(snapshot.containers, Unavailable)
    assert snapshot.containers.kind == "timeout"


@pytest.mark.parametrize(
    "more",
    [{"Config": []}, {"HostConfig": {"DeviceRequests": "all"}}, {"Mounts": [3]}, {"State": {"Pid": "7"}},
     {"HostConfig": {"DeviceRequests": [{"Capabilities": [[1]]}]}}, {"State": {"Pid": 1 << 80}}, {"Args": [None]},
     {"NetworkSettings": {"Ports": {"80/tcp": 3}}}],
)
def test_a_wrong_type_costs_that_container(ask: Ask, tmp_path: Path, more: dict[str, Any]) -> None:
    boxes = [inspected("a" * 64, **more), inspected("b" * 64)]
    with fake_engine(tmp_path, docker_like(boxes)) as address:
        _, found = recorded(ask(address, patience=5))
    assert {each.name: bool(each.failure) for each in found.containers} == {"box0": True, "box1": False}


def test_hostile_names_are_kept_as_data(ask: Ask, tmp_path: Path) -> None:
    def hostile(connection: socket.socket, path: str) -> None:
        names = ["/\x1b[2J\u202e[red]" + "x" * 10_000]
        connection.sendall(http(json.dumps([{"Id": "a" * 64, "Names": names, "State": "running"}]).encode()))

    with fake_engine(tmp_path, docker_like([inspected("a" * 64)], {"/containers/json": hostile})) as address:
        snapshot = ask(address, patience=5)
    _, found = recorded(snapshot)
    assert len(found.containers[0].name) == 256
    assert b"\x1b" not in encode(snapshot)


@pytest.mark.parametrize("identity", ["../../info", "", 3])
def test_an_id_that_is_none_is_asked_for_nothing(ask: Ask, tmp_path: Path, identity: object) -> None:
    def hostile(connection: socket.socket, path: str) -> None:
        connection.sendall(http(json.dumps([{"Id": identity, "Names": ["/a"], "State": "running"}]).encode()))

    with fake_engine(tmp_path, docker_like([], {"/containers/json": hostile})) as address:
        assert isinstance(ask(address, patience=5).containers, Unavailable)


def test_thousands_of_containers_are_bounded(ask: Ask, tmp_path: Path) -> None:
    def many(connection: socket.socket, path: str) -> None:
        listed = [{"Id": f"{n:064x}", "Names": [f"/n{n}"], "State": "exited"} for n in range(5000)]
        connection.sendall(http(json.dumps(listed).encode()))

    with fake_engine(tmp_path, docker_like([], {"/containers/json": many})) as address:
        _, found = recorded(ask(address, patience=10))
    assert found.not_recorded == 1000
    assert found.containers == ()


def test_secrets_stay_out(ask: Ask, tmp_path: Path) -> None:
    secrets = ["hf_aaaaaaaaaaaaaaaa", "geheim1", "geheim2", "geheim3", "geheim4", "geheim5", "geheim6", "geheim7"]
    box = inspected(
        "a" * 64, Path="sh",
        Args=["-c", "HF_TOKEN=geheim1 vllm serve x --api-key geheim2 --max-num-batched-tokens 8192", "--api-key",
              "geheim3", "geheim4", "--tokenizer", "keep", "--hf-token=geheim5", "http://u:geheim6@host/", secrets[0],
              "Authorization: Bearer geheim7"],
    )
    box["Config"]["Env"] = [f"HF_TOKEN={secrets[0]}", "VLLM_API_KEY=geheim1", "MY_PASSWORD=geheim2", "TZ=Asia/Seoul",
                            "CUDA_VISIBLE_DEVICES=0,1", "NVIDIA_API_KEY=geheim3", "LLAMA_ARG_API_KEY=geheim4"]
    with fake_engine(tmp_path, docker_like([box])) as address:
        snapshot = ask(address, patience=5)
    text = encode(snapshot).decode()
    assert [secret for secret in secrets if secret in text] == []
    one = recorded(snapshot)[1].containers[0]
    assert one.environment == {"CUDA_VISIBLE_DEVICES": "0,1", "HF_TOKEN": "set", "TZ": "Asia/Seoul"}
    assert "8192" in one.command[2]
    assert "keep" in one.command


def test_a_redacted_record_names_no_container(ask: Ask, tmp_path: Path) -> None:
    box = inspected("abc" + "d" * 61)
    box["Config"] = {"Image": "registry.corp.example/acme/brain:v1.2",
                     "Labels": {"com.docker.compose.project": "acme", "com.docker.compose.service": "main-brain"}}
    box["HostConfig"] = {"NetworkMode": "acme_default"}
    listed = [{"Id": box["Id"], "Names": ["/acme-main-brain-1"], "State": "running", "Image": "acme/brain"}]
    other = [{**listed[0], "Id": "e" * 64, "Names": ["/acme-other"]}]

    def names(connection: socket.socket, path: str) -> None:
        connection.sendall(http(json.dumps([*listed, *other]).encode()))

    hung = f"/containers/{'e' * 64}/json"
    with fake_engine(tmp_path, docker_like([box], {"/containers/json": names, hung: silent})) as address:
        text = encode(redact(ask(address))).decode()
    assert [word for word in ("acme", "main-brain", "corp.example", box["Id"]) if word in text.replace(
        str(tmp_path), "")] == []
    assert re.search(r'"image": "image-\d:v1.2"', text)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_no_permission_is_told_from_not_running(tmp_path: Path) -> None:
    from gpudoctor.probes.engine_socket import find_engine
    from gpudoctor.probes.root import Root

    with fake_engine(tmp_path, docker_like([])) as address:
        for folder in [tmp_path, *tmp_path.parents][:3]:
            folder.chmod(0o755)
        (tmp_path / "fake.sock").chmod(0o600)
        os.seteuid(65534)
        try:
            found = find_engine(Root(), {"DOCKER_HOST": address})
        finally:
            os.seteuid(0)
    assert isinstance(found, Unavailable)
    assert found.kind == "no-permission"
    assert "may not open" in found.reason


def only(containers: Containers, name: str) -> Container:
    found = containers.named(name)
    assert found is not None
    return found


@pytest.mark.tier("docker")
class TestRealEngine:
    """What a real engine says of real containers."""

    def test_the_engine(self, ask: Ask, equipped_engine: Any) -> None:
        docker, _ = recorded(ask(equipped_engine.url, patience=10))
        assert docker.version == equipped_engine.version
        assert (docker.kind, docker.cgroup_driver) == ("docker", "cgroupfs")
        assert docker.pid == equipped_engine.pid
        assert docker.daemon_path == tuple(equipped_engine.path)
        assert docker.runtime("nvidia") is not None
        assert isinstance(docker.runc_version, str)
        assert isinstance(docker.root_dir_free_bytes, int)
        assert isinstance(docker.cdi_spec_dirs, Unavailable)

    def test_the_command_records_it(self, gpudoctor: Any, equipped_engine: Any) -> None:
        with running(equipped_engine, "recorded", gpus=True):
            done = gpudoctor("snapshot", "--show", DOCKER_HOST=equipped_engine.url)
        snapshot = json.loads(done.stdout)
        assert snapshot["docker"]["version"] == equipped_engine.version
        assert [each["name"] for each in snapshot["containers"]["containers"]] == ["recorded"]
        assert snapshot["container_toolkit"]["programs"][0]["on_daemon_path"] is True

    def test_a_container_with_gpus_by_the_hook(self, ask: Ask, equipped_engine: Any) -> None:
        with running(equipped_engine, "with-gpus", gpus=True, mounts=["/etc:/host:ro"], mem_limit="64m") as made:
            one = only(recorded(ask(equipped_engine.url, patience=10))[1], "with-gpus")
        assert one.requests[0].capabilities == ("gpu",)
        assert one.requests[0].count == -1
        assert one.device_nodes == ("nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl")
        assert isinstance(one.nvidia_mounts, tuple)
        assert any("libnvidia-ml" in path for path in one.nvidia_mounts)
        assert one.device_rights == "allowed"
        assert one.id == made.id
        assert isinstance(one.image_facts, ImageFacts)
        assert (one.mounts[0].source, one.mounts[0].writable, one.mounts[0].owner_uid) == ("/etc", False, 0)
        assert one.memory_limit_bytes == 64 << 20

    def test_a_container_whose_device_cgroup_was_left_shut(
        self, ask: Ask, equipped_engine: Any, toolkit: Any
    ) -> None:
        toolkit.switch("skip-device-cgroup", "")
        with running(equipped_engine, "lost", runtime="nvidia"):
            one = only(recorded(ask(equipped_engine.url, patience=10))[1], "lost")
        assert (one.runtime, one.requests, one.device_rights) == ("nvidia", (), "denied")
        assert isinstance(one.device_nodes, tuple)
        assert "nvidiactl" in one.device_nodes

    def test_a_container_without_gpus(self, ask: Ask, equipped_engine: Any) -> None:
        with running(equipped_engine, "plain"):
            one = only(recorded(ask(equipped_engine.url, patience=10))[1], "plain")
        assert (one.device_nodes, one.nvidia_mounts, one.device_rights) == ((), (), "denied")

    def test_of_those_that_ended_only_those_that_wanted_gpus(self, ask: Ask, equipped_engine: Any) -> None:
        with running(equipped_engine, "wanted", gpus=True) as one, running(equipped_engine, "had-none") as other:
            one.kill()
            other.kill()
            _, found = recorded(ask(equipped_engine.url, patience=10))
        assert only(found, "wanted").exit_code == 137
        assert found.named("had-none") is None

    def test_an_update_is_remembered(self, ask: Ask, equipped_engine: Any) -> None:
        with running(equipped_engine, "changed") as one:
            one.update(cpu_shares=512)
            found = only(recorded(ask(equipped_engine.url, patience=10))[1], "changed")
        assert found.updated is not None
        assert str(found.started) <= found.updated

    def test_an_engine_that_is_stopped_by_a_signal_is_not_waited_for(self, ask: Ask, bare_engine: Any) -> None:
        os.kill(bare_engine.pid, 19)
        try:
            found = ask(bare_engine.url).docker
        finally:
            os.kill(bare_engine.pid, 18)
        assert isinstance(found, Unavailable)
        assert found.kind == "timeout"

    def test_the_newest_engine_says_what_it_discovered(self, ask: Ask, cdi_engine: Any) -> None:
        snapshot = ask(cdi_engine.url, patience=10)
        docker, _ = recorded(snapshot)
        assert isinstance(docker.cdi_devices, tuple)
        assert "nvidia.com/gpu=all" in docker.cdi_devices
        assert isinstance(docker.cdi_spec_dirs, tuple)

    def test_the_newest_engine_without_cdi_found_nothing(self, ask: Ask, newest_bare_engine: Any) -> None:
        docker, _ = recorded(ask(newest_bare_engine.url, patience=10))
        assert docker.cdi_devices == ()


@pytest.fixture
def podman() -> Iterator[tuple[str, Callable[..., str]]]:
    """A real podman with a socket of its own; yields its address, and a function that runs its commands."""
    import rig_images

    if shutil.which("podman") is None:
        pytest.skip("no podman here (Debian package podman)")
    # podman takes no longer name than 50 characters for its folder.
    folder = Path(tempfile.mkdtemp(prefix="podman-"))
    own = ["podman", "--root", str(folder / "data"), "--runroot", str(folder / "run"), "--runtime", "runc",
           "--cgroup-manager", "cgroupfs"]

    def run(*arguments: str) -> str:
        return subprocess.run([*own, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout

    (folder / "image.tar").write_bytes(rig_images.archive(rig_images.GLIBC))
    run("import", str(folder / "image.tar"), "rig/glibc:1")
    address = f"unix://{folder}/podman.sock"
    service = subprocess.Popen([*own, "system", "service", "-t", "0", address], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if (folder / "podman.sock").exists():
                break
            time.sleep(0.05)
        yield address, run
    finally:
        run("rm", "--all", "--force", "--time", "0")
        service.kill()
        service.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.tier("docker")
def test_podman_answers_as_docker_would(ask: Ask, podman: tuple[str, Callable[..., str]]) -> None:
    address, run = podman
    # Its default limits are above what root may set here.
    run("run", "--detach", "--name", "box", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit",
        "nproc=1000:1000", "--env", "NVIDIA_VISIBLE_DEVICES=all", "rig/glibc:1", "sleep", "100")
    docker, containers = recorded(ask(address, patience=15, timeout=60))
    assert (docker.kind, docker.endpoint) == ("podman", address)
    assert isinstance(docker.version, str)
    one = only(containers, "box")
    assert (one.failure, one.state, one.device_nodes) == (None, "running", ())
    assert one.environment == {"NVIDIA_VISIBLE_DEVICES": "all"}
    assert isinstance(one.image_facts, ImageFacts)


@contextlib.contextmanager
def running(engine: Any, name: str, *, gpus: bool = False, mounts: Sequence[str] = (), **more: Any) -> Iterator[Any]:
    """A container of the small image that sleeps; removed at the end."""
    import docker
    import rig_images

    requests = [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])] if gpus else []
    environment = {"NVIDIA_VISIBLE_DEVICES": "all"} if more.get("runtime") == "nvidia" else {}
    one = engine.client().containers.create(
        rig_images.GLIBC, ["sleep", "600"], name=name, network_mode="none", device_requests=requests,
        environment=environment, volumes=list(mounts), **more,
    )
    try:
        one.start()
        one.reload()
        yield one
    finally:
        one.remove(force=True)
