"""What lies on disk of Docker and NVIDIA's toolkit, read from recorded trees."""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.container_toolkit import CdiSpec, ContainerToolkit, DaemonFile, ToolkitConfig
from gpudoctor.probes import container_toolkit
from gpudoctor.probes.cdi_specs import read_spec
from gpudoctor.probes.compose_plugin import compose_facts
from gpudoctor.probes.container_toolkit import read_toolkit
from gpudoctor.probes.docker_files import read_daemon_file
from gpudoctor.probes.engine_socket import _would_start
from gpudoctor.probes.root import Root

Tree = Callable[[dict[str, str]], Root]

PACKAGES = """Package: libnvidia-container1
Status: install ok installed
Version: 1.17.8-1

Package: nvidia-container-toolkit
Status: install ok installed
Version: 1.17.8-1
Description: tools
 Version: a line of the description

Package: podman
Status: deinstall ok config-files
Version: 4.3.1
"""
SPEC = """---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - hostPath: /dev/dri/card1
      path: /dev/dri/card1
- name: all
  containerEdits:
    deviceNodes: []
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache]
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.535.247.01
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.535.247.01
"""


def facts(root: Root) -> ContainerToolkit:
    return read_toolkit(root, {})


def test_a_server_with_docker_and_the_toolkit(tree: Tree) -> None:
    found = facts(tree({
        "/usr/bin/dockerd": "", "/usr/bin/nvidia-ctk": "", "/usr/bin/podman": "", "/var/lib/dpkg/status": PACKAGES,
        "/var/lib/dpkg/info/nvidia-container-toolkit.list": "", "/dev/char/195:0": "->../nvidia0", "/dev/char/1:3": "",
        "/usr/lib/systemd/system/nvidia-cdi-refresh.path": "", "/run/systemd/system/": "",
        "/etc/systemd/system/multi-user.target.wants/nvidia-cdi-refresh.path": "->/usr/lib/systemd/system/x",
        "/etc/systemd/system/nvidia-cdi-refresh.service": "->/dev/null", "/sys/fs/selinux/enforce": "1",
        "/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so": "",
    }))
    assert found.installed is True
    assert (found.version, found.libnvidia_container_version) == ("1.17.8-1", "1.17.8-1")
    assert isinstance(found.installed_at, str)
    assert found.char_links == ("/dev/char/195:0",)
    assert found.refresh_units == {"nvidia-cdi-refresh.service": "masked", "nvidia-cdi-refresh.path": "enabled"}
    assert (found.selinux, found.systemd_version) == ("enforcing", "252")
    assert [(each.name, each.version) for each in found.other_engines] == [("podman", None)]


def test_a_machine_with_nothing_of_it(tree: Tree) -> None:
    found = facts(tree({"/etc/": ""}))
    assert found.installed is False
    assert (found.version, found.libnvidia_container_version, found.daemon_file, found.config) == (None,) * 4
    assert (found.programs, found.cdi_specs, found.socket, found.selinux) == ((), (), None, None)


def test_a_program_that_is_there_and_cannot_be_run(tree: Tree) -> None:
    root = tree({"/usr/bin/nvidia-container-runtime-hook": "#!/bin/sh\n"})
    program = facts(root).program("nvidia-container-runtime-hook")
    assert program is not None
    assert not program.executable
    assert isinstance(program.on_daemon_path, Unavailable)


def test_one_that_can_be_run_hides_one_that_cannot(tree: Tree) -> None:
    root = tree({"/usr/local/bin/nvidia-ctk": "", "/usr/bin/nvidia-ctk": ""})
    Path(root.prefix, "usr/bin/nvidia-ctk").chmod(0o755)
    program = facts(root).program("nvidia-ctk")
    assert program is not None
    assert (program.path, program.executable) == ("/usr/bin/nvidia-ctk", True)


def test_a_program_came_here_when_the_package_was_unpacked_not_when_it_was_built(tree: Tree) -> None:
    root = tree({"/usr/bin/nvidia-ctk": ""})
    os.utime(Path(root.prefix, "usr/bin/nvidia-ctk"), (0, 0))
    program = facts(root).program("nvidia-ctk")
    assert program is not None
    assert str(program.changed)[:4] == time.strftime("%Y", time.gmtime())


def test_the_version_from_the_nix_store(tree: Tree) -> None:
    store = f"/nix/store/{'a' * 32}-nvidia-container-toolkit-1.18.0/bin/nvidia-ctk"
    found = facts(tree({store: "", "/run/current-system/sw/bin/nvidia-ctk": f"->{store}"}))
    assert found.version == "1.18.0"


def test_the_library_version_from_its_file_name(tree: Tree) -> None:
    folder = "/usr/lib/x86_64-linux-gnu"
    root = tree({f"{folder}/libnvidia-container.so.1.16.2": "",
                 f"{folder}/libnvidia-container.so.1": "->libnvidia-container.so.1.16.2"})
    assert facts(root).libnvidia_container_version == "1.16.2"


def test_a_program_without_a_package_in_a_tree_is_never_run(tree: Tree) -> None:
    assert isinstance(facts(tree({"/usr/bin/nvidia-ctk": ""})).version, Unavailable)


def daemon(tree: Tree, text: str) -> DaemonFile:
    found = facts(tree({"/etc/docker/daemon.json": text})).daemon_file
    assert isinstance(found, DaemonFile)
    return found


def test_what_daemon_json_says(tree: Tree) -> None:
    found = daemon(tree, json.dumps({
        "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}, "default-runtime": "nvidia",
        "exec-opts": ["native.cgroupdriver=cgroupfs"], "features": {"cdi": True}, "cdi-spec-dirs": ["/opt/cdi"],
    }))
    assert found.runtimes == {"nvidia": "nvidia-container-runtime"}
    assert (found.default_runtime, found.cgroup_driver, found.cdi) == ("nvidia", "cgroupfs", True)
    assert found.cdi_spec_dirs == ("/opt/cdi",)
    assert found.failure is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n "runtimes": {},\n}', "line 3"),
        ('{\n "a": 1\n "b": 2}', "line 3"),
        ("[]", "not an object"),
        ('{"runtimes": ["nvidia"]}', "runtimes is not an object"),
        ('{"runtimes": {"nvidia": "x"}}', "runtimes.nvidia is not"),
        ('{"exec-opts": "native.cgroupdriver=systemd"}', "exec-opts is not a list"),
        ('{"features": {"cdi": "yes"}}', "features.cdi"),
        ("[" * 100_000, "nested too deeply"),
        ("{" + " " * (1 << 20) + "}", "larger than"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_a_daemon_json_that_dockerd_refuses(tree: Tree, text: str, says: str) -> None:
    assert says in str(daemon(tree, text).failure)


def test_an_empty_daemon_json_is_one_without_settings(tree: Tree) -> None:
    assert daemon(tree, "").failure is None


def test_a_daemon_json_named_on_the_daemons_command_line_wins(tree: Tree) -> None:
    root = tree({"/etc/docker/daemon.json": "{}", "/srv/d.json": '{"default-runtime": "nvidia"}'})
    found = read_daemon_file(root, ["dockerd", "--config-file=/srv/d.json"], None, {})
    assert isinstance(found, DaemonFile)
    assert found.default_runtime == "nvidia"


def test_an_engine_without_root_has_its_file_at_home(tree: Tree) -> None:
    root = tree({"/etc/docker/daemon.json": "{}", "/home/u/.config/docker/daemon.json": "{}"})
    found = read_daemon_file(root, [], "unix:///run/user/1000/docker.sock", {"HOME": "/home/u"})
    assert isinstance(found, DaemonFile)
    assert found.path == "/home/u/.config/docker/daemon.json"


def test_a_socket_or_a_pipe_in_the_place_of_a_file_holds_nothing_up(tree: Tree) -> None:
    root = tree({"/etc/docker/": "", "/etc/cdi/": "", "/etc/nvidia-container-runtime/": ""})
    for name in ("docker/daemon.json", "cdi/a.yaml", "nvidia-container-runtime/config.toml"):
        os.mkfifo(Path(root.prefix, "etc", name))
    found = facts(root)
    assert (found.daemon_file, found.config) == (None, None)
    assert isinstance(found.cdi_specs, tuple)
    assert found.cdi_specs[0].failure is not None


def config(tree: Tree, text: str) -> ToolkitConfig:
    found = facts(tree({"/etc/nvidia-container-runtime/config.toml": text})).config
    assert isinstance(found, ToolkitConfig)
    return found


def test_what_config_toml_says(tree: Tree) -> None:
    found = config(tree, """
accept-nvidia-visible-devices-envvar-when-unprivileged = false
[nvidia-container-cli]
no-cgroups = true
ldconfig = "@/sbin/ldconfig"
[nvidia-container-runtime]
mode = "cdi"
[nvidia-container-runtime-hook]
skip-mode-detection = true
""")
    assert (found.mode, found.no_cgroups, found.ldconfig, found.skip_mode_detection) == (
        "cdi", True, "@/sbin/ldconfig", True)
    assert found.accept_environment is False
    assert found.failure is None


@pytest.mark.parametrize(
    ("text", "says"),
    [("[nvidia-container-runtime]\nmode = \n", "line 2"), ("mode", "end of document"),
     ("nvidia-container-cli = 3", "object"),
     ("[nvidia-container-cli]\nno-cgroups = 'yes'", "no-cgroups"), ("a = " + "[" * 50_000, "nested too deeply")],
)
def test_a_config_toml_that_the_toolkit_refuses(tree: Tree, text: str, says: str) -> None:
    assert says in str(config(tree, text).failure)


def spec(tree: Tree, text: str, name: str = "nvidia.yaml", **files: str) -> CdiSpec:
    found = facts(tree({f"/etc/cdi/{name}": text, **files})).cdi_specs
    assert isinstance(found, tuple)
    return found[0]


def test_a_cdi_specification(tree: Tree) -> None:
    found = spec(tree, SPEC, **{"/dev/nvidia0": "", "/usr/bin/nvidia-cdi-hook": ""})
    assert (found.version, found.kind, found.devices) == ("0.5.0", "nvidia.com/gpu", ("0", "all"))
    assert found.library_versions == ("535.247.01",)
    assert found.missing == ("/usr/lib/x86_64-linux-gnu/libcuda.so.535.247.01", "/dev/dri/card1")
    assert found.failure is None


def test_one_in_json_says_the_same(tree: Tree) -> None:
    text = json.dumps({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0"}]})
    found = spec(tree, text, "nvidia.json")
    assert (found.version, found.devices, found.failure) == ("0.6.0", ("0",), None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: nvidia.com/gpu\n\tdevices: []\n", "line 2"),
        ("kind: [a, b", "line"),
        ("just words", "no mapping"),
        ("devices: []", "no kind"),
        ("a: &x [1]\nb: *x\n", "anchors and aliases"),
        ("a: " + "[" * 5000, "deeper than"),
        ("", "no mapping"),
        ("kind: nvidia.com/gpu\x01", "no YAML"),
        ("x" * (5 << 20), "larger than"),
    ],
)
def test_what_no_engine_reads_as_cdi(tree: Tree, text: str, says: str) -> None:
    assert says in str(spec(tree, text).failure)


@pytest.mark.parametrize(
    "text",
    ["kind: a/b\ndevices: 3\n", "kind: a/b\ndevices:\n- 3\n- name: {}\n- name: [1]\n",
     "kind: a/b\ncontainerEdits: []\n", "kind: a/b\ncontainerEdits:\n  mounts: {a: 1}\n  hooks: [1, {path: 2}]\n",
     "kind: a/b\n? [a, b]\n: 1\n", "kind: a/b\ndevices:\n- {name: x, containerEdits: {mounts: [{hostPath: 'a\\0b'}]}}"],
)
def test_strange_forms_cost_nothing_but_themselves(tree: Tree, text: str) -> None:
    found = spec(tree, text)
    assert (found.kind, found.failure) == ("a/b", None) or found.failure


def test_a_megabyte_of_yaml_does_not_hold_up_the_rest(tree: Tree) -> None:
    root = tree({"/etc/cdi/a.yaml": "kind: a/b\ndevices:\n" + "- {name: x}\n" * 200_000})
    assert "larger or deeper" in str(read_spec(root, "/etc/cdi/a.yaml").failure)


def test_the_daemons_own_folders_are_read_too_and_a_link_counts_once(tree: Tree) -> None:
    root = tree({"/etc/cdi/a.yaml": "kind: a/b\n", "/srv/cdi/b.yaml": "kind: c/d\n", "/run/cdi/c.json": "{}",
                 "/var/run": "->../run",
                 "/etc/docker/daemon.json": '{"cdi-spec-dirs": ["/etc/cdi/", "/run/cdi", "/srv/cdi"]}'})
    found = facts(root).cdi_specs
    assert isinstance(found, tuple)
    assert [each.path for each in found] == ["/etc/cdi/a.yaml", "/var/run/cdi/c.json", "/srv/cdi/b.yaml"]


def test_the_socket_as_ls_shows_it(tree: Tree) -> None:
    root = tree({"/var/run/": "", "/etc/passwd": f"me:x:{os.getuid()}:0::/:/bin/sh\n",
                 "/etc/group": f"docker:x:{os.getgid()}:\n"})
    path = Path(root.prefix, "var/run/docker.sock")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)
        server.bind("docker.sock")
        os.chdir("/")
        path.chmod(0o660)
        found = facts(root)
    assert found.socket == "/var/run/docker.sock"
    assert found.socket_mode == "srw-rw---- me docker"
    assert found.installed is True


def test_links_do_not_lead_out_of_the_tree(tree: Tree) -> None:
    found = facts(tree({"/etc/cdi": "->/../../../../etc", "/etc/docker/daemon.json": "->/../../etc/passwd"}))
    assert (found.daemon_file, found.cdi_specs) == (None, ())


@pytest.mark.parametrize(
    ("content", "v1"),
    [("#!/usr/bin/python3\nimport compose", True), ("\x7fELF" + "x" * 9000 + "MEI\014\013\012\013\016.", True),
     ("\x7fELF" + "x" * 9000, False), ("#!/bin/sh\nexec docker compose", False)],
)
def test_compose_of_pythons_days(tree: Tree, content: str, v1: bool) -> None:
    found = compose_facts(tree({"/usr/local/bin/docker-compose": content}), {})
    assert found["compose_v1_path"] == ("/usr/local/bin/docker-compose" if v1 else None)
    assert found["compose_version"] is None


def test_the_compose_plugins_version_from_its_package(tree: Tree) -> None:
    status = "Package: docker-compose-plugin\nStatus: install ok installed\nVersion: 2.40.3-1~ubuntu\n"
    root = tree({"/usr/libexec/docker/cli-plugins/docker-compose": "", "/var/lib/dpkg/status": status})
    assert compose_facts(root, {})["compose_version"] == "2.40.3-1~ubuntu"


def test_files_that_hung_before_are_left_alone(tree: Tree, said: Callable[..., list[dict[str, Any]]]) -> None:
    lines = said(container_toolkit, tree({}), ("the container toolkit's files",))
    assert [(line["section"], line["kind"]) for line in lines] == [("container_toolkit", "timeout")]


HELD = {"/var/run/docker.sock": "", "/run/systemd/system/": "", "/proc/1/comm": "systemd\n", "/proc/1/stat": "1 (x) S"}


def test_a_stopped_docker_is_not_started_by_looking_at_it(tree: Tree) -> None:
    assert "would start it" in str(_would_start(tree(HELD), "/var/run/docker.sock"))


@pytest.mark.parametrize(
    "running",
    [{"/proc/77/comm": "dockerd\n"}, {"/proc/9/comm": "dockerd\n", "/var/run/docker.pid": "9\n"}],
)
def test_a_docker_that_runs_is_asked(tree: Tree, running: dict[str, str]) -> None:
    assert _would_start(tree({**HELD, **running}), "/var/run/docker.sock") is None


def test_a_socket_that_systemd_does_not_hold_is_asked(tree: Tree) -> None:
    assert _would_start(tree({"/var/run/docker.sock": "", "/proc/1/comm": "tini\n"}), "/var/run/docker.sock") is None
    assert _would_start(tree(HELD), "/srv/own.sock") is None
