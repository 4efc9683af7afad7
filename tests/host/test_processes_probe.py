"""The processes and fabric probes against this machine and recorded tables."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from gpudoctor.probes import fabric_ports, processes
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes

Tree = Callable[[dict[str, str]], Root]
Said = Callable[..., list[dict[str, Any]]]
SPEC = ProbeSpec(name="processes", modules=("processes",), sections=("processes",))


@pytest.fixture(autouse=True)
def keep_procfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe points psutil elsewhere; its child ends, this process goes on."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/proc")


HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_real_listening_socket_is_found_with_its_owner(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"no {address} here")
        listener.listen()
        port = listener.getsockname()[1]
        answer = run_probes([SPEC])[0]
    found = [one for one in answer.sections["processes"]["listeners"] if one["port"] == port]
    assert len(found) == 1
    assert found[0]["address"] == address
    assert found[0]["pid"] == os.getpid()
    assert found[0]["process"]


def test_command_lines_never_become_facts(tmp_path: Path) -> None:
    """A server's name is recognised by arguments that may hold a key."""
    program = tmp_path / "llama-server"
    program.symlink_to(sys.executable)
    code = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [str(program), "-c", code, "--api-key", "sk-secret"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        answer = run_probes([SPEC])[0]
        server.communicate("")
    told = answer.sections["processes"]
    assert [one["process"] for one in told["listeners"] if one["port"] == port] == ["llama.cpp"]
    assert "llama.cpp" in told["engines"]
    assert "secret" not in str(told)


def test_the_kernels_tables_are_read() -> None:
    text = HEADER + (
        "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0\n"
        "   1: 0100007F:1F40 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0\n"
        "   2: 00000000000000000000000000000000:1F40 0:0 0A 0:0 00:0 0 0 0 779 1 0\n"
        "   3: nonsense:zz 0:0 0A 0:0 00:0 0 0 0 780 1 0\n"
    )
    expected = [("127.0.0.1", 11434, "777"), ("::", 8000, "779")]
    if sys.byteorder == "little":
        assert [tuple(found) for found in processes.parse_sockets(text)] == expected


STAT = "42 (docker-proxy) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 5 0 100 1 1" + " 0" * 29 + "\n"


def test_a_mounted_hosts_processes_are_its_own(tree: Tree, said: Said) -> None:
    """Its first process tells of its network; "self" would be the container's."""
    if sys.byteorder != "little":
        pytest.skip("the record is of a little-endian machine")
    line = "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0\n"
    root = tree(
        {
            "/proc/stat": "btime 1700000000\n",
            "/proc/1/net/tcp": HEADER + line,
            "/proc/net/tcp": HEADER,
            "/proc/42/stat": STAT,
            "/proc/42/status": "Name:\tdocker-proxy\nState:\tS (sleeping)\n",
            "/proc/42/cmdline": "/usr/bin/docker-proxy\0-host-port\0" + "8000\0",
            "/proc/42/fd/4": "->socket:[777]",
        }
    )
    (told,) = said(processes, root)
    assert told["set"]["listeners"] == [{"port": 8000, "address": "0.0.0.0", "pid": 42, "process": "docker-proxy"}]


def test_a_system_without_tcp_tables_is_no_system_without_listeners(tree: Tree, said: Said) -> None:
    assert said(processes, tree({"/proc/": ""}))[0]["unavailable"]


@pytest.mark.parametrize(
    ("name", "arguments", "engine"),
    [
        ("ollama", ("/usr/local/bin/ollama", "serve"), "ollama"),
        ("ollama", ("/usr/local/bin/ollama", "runner", "--port", "1"), "ollama"),
        ("ollama", ("ollama", "run", "gpt-oss"), None),
        ("python3", ("/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"), "vllm"),
        ("vllm", ("/venv/bin/python3", "/venv/bin/vllm", "serve", "m"), "vllm"),
        ("VLLM::EngineCor", (), "vllm"),
        ("python3", ("python3", "-m", "sglang.launch_server"), "sglang"),
        ("llama-server", ("./llama-server", "-m", "x.gguf"), "llama.cpp"),
        ("text-generation-", ("text-generation-launcher",), "tgi"),
        ("bash", ("bash", "-c", "vllm serve"), None),
        ("nginx", (), None),
    ],
)
def test_engines_are_told_from_their_clients(name: str, arguments: tuple[str, ...], engine: str | None) -> None:
    assert processes.engine_of(name, arguments) == engine


def test_exporters_go_by_their_program() -> None:
    assert processes.exporter_of("prometheus-node", ("/usr/bin/prometheus-node-exporter",)) == "node_exporter"
    assert processes.exporter_of("dcgm-exporter", ()) == "dcgm-exporter"
    assert processes.exporter_of("bash", ("bash", "dcgm-exporter")) is None


def test_only_what_hangs_at_two_looks_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look finds every program that just reads its disk."""
    monkeypatch.setattr(processes, "_SECOND_LOOK_SECONDS", 0)

    class Second:
        def __init__(self, pid: int) -> None:
            self.pid = pid

        def status(self) -> str:
            if self.pid == 3:
                raise psutil.NoSuchProcess(3)
            return psutil.STATUS_DISK_SLEEP if self.pid == 1 else psutil.STATUS_SLEEPING

    monkeypatch.setattr(psutil, "Process", Second)
    running = [processes.Running(pid, f"p{pid}", None, None, pid != 4) for pid in (1, 2, 3, 4)]
    assert processes._stuck(running) == ("p1",)


def test_fabric_ports_are_read(tree: Tree) -> None:
    base = "/sys/class/infiniband/mlx5_0/ports/1"
    root = tree(
        {
            f"{base}/state": "4: ACTIVE\n", f"{base}/phys_state": "5: LinkUp\n",
            f"{base}/rate": "400 Gb/sec (4X NDR)\n", f"{base}/link_layer": "InfiniBand\n",
        }
    )
    (port,) = fabric_ports.read_ports(root)
    assert (port.device, port.port, port.state, port.rate_gbps) == ("mlx5_0", 1, "ACTIVE", 400.0)
    assert fabric_ports.rate("2.5 Gb/sec (1X SDR)") == 2.5
    assert fabric_ports.rate("") is None
    assert fabric_ports.read_ports(Root("/nowhere")) == []
