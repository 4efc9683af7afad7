"""What systemd says of containers' scopes: its words as recorded, and a real systemd with real containers."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes import container_scopes
from gpudoctor.probes.command import CommandMissing
from gpudoctor.probes.container_host import cgroup_path, device_rights, driver_mounts, scope_of
from gpudoctor.probes.container_scopes import parse_device_allow, reloads

SHOWN = """DevicePolicy=strict
DeviceAllow=block-* m
DeviceAllow=char-* m
DeviceAllow=/dev/char/1:3 rwm
DeviceAllow=/dev/char/195:0 rw
LoadState=loaded

LoadState=not-found
DevicePolicy=auto

DevicePolicy=auto
LoadState=loaded

DevicePolicy=strict
LoadState=loaded
"""
SINCE = "2026-11-20T10:00:00Z"
NOON = 1795176000


def test_what_a_scope_lets_its_container_open() -> None:
    listed, unknown, unrestricted, nothing = parse_device_allow(SHOWN)
    # "char-* m" lets nodes be made, not opened.
    assert listed == ("/dev/char/1:3", "/dev/char/195:0")
    assert isinstance(unknown, Unavailable)
    assert unrestricted == ("*",)
    assert nothing == ()


def journal(*entries: tuple[int, str]) -> str:
    return "".join(json.dumps({"MESSAGE": m, "__REALTIME_TIMESTAMP": str(t * 10**6)}) + "\n" for t, m in entries)


class FakeJournal:
    """journalctl's answers: to the search, and to the question where the journal begins."""

    def __init__(self, found: str, begins: str, errors: str = "") -> None:
        self.found, self.begins, self.errors = found, begins, errors

    def __call__(self, name: str, *arguments: str, limit: int = 0) -> tuple[int, str, str]:
        return (0, self.found, self.errors) if "--grep" in arguments else (0, self.begins, self.errors)


@pytest.mark.parametrize(
    "message",
    ["Reloading.", "Reloading...", "Reloading\u2026", "Reloading requested from client PID 7 ('systemctl')...",
     "Reload requested from client PID 7 ('apt')...", "Reexecuting.", "Reexecution requested from client PID 9"],
)
def test_every_release_says_a_reload_in_its_own_words(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    monkeypatch.setattr(container_scopes, "run", FakeJournal(journal((NOON, message)), ""))
    assert reloads(SINCE) == ("2026-11-20T12:00:00Z",)


def test_the_end_of_a_reload_is_not_another(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = journal((NOON + 5, "Reloading finished in 134 ms."), (NOON, "Reloading..."))
    monkeypatch.setattr(container_scopes, "run", FakeJournal(entries, ""))
    assert reloads(SINCE) == ("2026-11-20T12:00:00Z",)


@pytest.mark.parametrize(
    ("begins", "errors", "kind"),
    [
        (journal((NOON - 86400, "systemd 252 running")), "", None),
        (journal((NOON, "systemd 252 running")), "", "not-supported"),
        ("", "No journal files were found.", "not-supported"),
        ("", "Hint: You are currently not seeing messages from other users and the system.", "no-permission"),
        ("junk\n", "", "not-supported"),
    ],
)
def test_no_reload_is_said_only_where_the_journal_reaches_back(
    monkeypatch: pytest.MonkeyPatch, begins: str, errors: str, kind: str | None
) -> None:
    monkeypatch.setattr(container_scopes, "run", FakeJournal("", begins, errors))
    found = reloads(SINCE)
    assert (found.kind if isinstance(found, Unavailable) else found) == (() if kind is None else kind)


def test_without_journalctl(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *arguments: str, limit: int = 0) -> tuple[int, str, str]:
        raise CommandMissing(name)

    monkeypatch.setattr(container_scopes, "run", missing)
    assert isinstance(reloads(SINCE), Unavailable)


@pytest.mark.parametrize(
    ("text", "path", "scope"),
    [
        ("0::/system.slice/docker-abc.scope", "/system.slice/docker-abc.scope", "docker-abc.scope"),
        ("9:memory:/x\n5:devices:/docker/abc\n0::/", "/docker/abc", None),
        ("0::/machine.slice/libpod-abc.scope/container", "/machine.slice/libpod-abc.scope/container",
         "libpod-abc.scope"),
    ],
)
def test_control_groups(text: str, path: str, scope: str | None) -> None:
    assert (cgroup_path(text), scope_of(path)) == (path, scope)


@pytest.mark.parametrize(
    ("text", "says"),
    [("c *:* m\nb *:* m\nc 1:3 rwm", "denied"), ("c 195:* rw", "allowed"), ("a *:* rwm", "allowed"),
     ("c 195:0 rw\nc 195:255 rw", "allowed"), ("c 195:0 m", "denied"), ("", "denied"), ("b *:* rwm", "denied")],
)
def test_device_rights_of_control_groups_v1(text: str, says: str) -> None:
    assert device_rights(text) == says


def test_the_drivers_mounts_are_told_from_an_images_own() -> None:
    line = "36 35 0:1 / {} rw - overlay overlay rw\n"
    paths = ["/usr/lib/libcuda.so.535.247.01", "/usr/bin/nvidia-smi", "/dev/nvidia0", "/proc/driver/nvidia",
             "/data/nvidia", "/usr/lib/libnvidia-ml.so.1", "/opt/libcudart.so.12"]
    assert driver_mounts("".join(line.format(path) for path in paths)) == (
        "/usr/lib/libcuda.so.535.247.01", "/usr/bin/nvidia-smi", "/usr/lib/libnvidia-ml.so.1")


@pytest.fixture(scope="module")
def machine(session_toolkit: Any) -> Iterator[Any]:
    import rig_images
    import rig_systemd

    with rig_systemd.systemd_machine(path=[session_toolkit.bin], config=session_toolkit.registration) as running:
        rig_images.load(running.client(), (rig_images.GLIBC,))
        yield running


SCRIPT = """
import msgspec, sys
from gpudoctor.probes.take import take_snapshot
from gpudoctor.facts.snapshot import encode
sys.stdout.write(encode(take_snapshot(sections=("docker",))).decode())
"""


@pytest.mark.tier("systemd")
def test_a_real_systemd_lists_the_nodes_that_docker_was_told_of_and_not_the_hooks(machine: Any) -> None:
    import docker
    import rig_images

    request = [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]
    client = machine.client()
    client.containers.create(
        rig_images.GLIBC, ["sleep", "600"], name="hook", network_mode="none", device_requests=request
    ).start()
    done = machine.inside(sys.executable, "-c", SCRIPT, DOCKER_HOST=machine.url)
    snapshot = json.loads(done.stdout)
    allowed = {each["name"]: each["device_allow"] for each in snapshot["containers"]["containers"]}
    assert snapshot["docker"]["cgroup_driver"] == "systemd"
    assert snapshot["container_toolkit"]["systemd_version"] == str(machine.systemd_version)
    assert "/dev/char/1:3" in allowed["hook"]
    assert not [entry for entry in allowed["hook"] if "195:" in entry or "*" in entry]
    assert snapshot["containers"]["containers"][0]["cgroup"].startswith("/system.slice/docker-")
    # No journal runs in there: nothing is said of reloads.
    assert snapshot["containers"]["reloads"]["status"] == "unavailable"
