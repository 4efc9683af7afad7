"""Documents of tools inside a paste become the facts that the probes fill, whatever stands around them."""

import io
import json
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.evidence import blocks
from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit, DaemonFile, ToolkitConfig
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Ecc, Gpus, Mig, RowRemapping
from gpudoctor.facts.host import Host, Memory
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.signatures import Signatures
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.facts.storage import Storage

S = TypeVar("S")


def facts_of(*texts: str | bytes) -> Snapshot:
    paste = Paste()
    for number, text in enumerate(texts):
        paste.feed(io.BytesIO(text.encode() if isinstance(text, str) else text), f"paste{number}.txt")
    return paste.snapshot()


def of(kind: type[S], section: object) -> S:
    assert isinstance(section, kind), section
    return section


def problems(facts: Snapshot) -> list[str]:
    return [piece.problem for piece in of(Signatures, facts.signatures).pieces if piece.problem]


def kinds(facts: Snapshot) -> set[str]:
    return {piece.kind for piece in of(Signatures, facts.signatures).pieces}


XML_GPU = """\t<gpu id="{address}">
\t\t<product_name>NVIDIA A100-SXM4-80GB</product_name>
\t\t<persistence_mode>Enabled</persistence_mode>
\t\t<mig_mode>\n\t\t\t<current_mig>Disabled</current_mig>\n\t\t\t<pending_mig>Disabled</pending_mig>\n\t\t</mig_mode>
\t\t<uuid>GPU-{number}</uuid>
\t\t<pci>\n\t\t\t<pci_device_id>20B210DE</pci_device_id>\n\t\t</pci>
\t\t<fb_memory_usage>\n\t\t\t<total>81920 MiB</total>\n\t\t\t<free>81000 MiB</free>\n\t\t</fb_memory_usage>
\t\t<compute_mode>Default</compute_mode>
\t\t<ecc_mode>\n\t\t\t<current_ecc>Enabled</current_ecc>\n\t\t\t<pending_ecc>Enabled</pending_ecc>\n\t\t</ecc_mode>
\t\t<remapped_rows>
\t\t\t<remapped_row_corr>0</remapped_row_corr>
\t\t\t<remapped_row_unc>1</remapped_row_unc>
\t\t\t<remapped_row_pending>{pending}</remapped_row_pending>
\t\t\t<remapped_row_failure>No</remapped_row_failure>
\t\t</remapped_rows>
\t\t<gpu_power_readings>\n\t\t\t<power_draw>62.50 W</power_draw>\n\t\t</gpu_power_readings>
\t\t<processes>
\t\t\t<process_info>\n\t\t\t\t<pid>4242</pid>\n\t\t\t\t<type>C</type>
\t\t\t\t<process_name>/usr/bin/python3 --api-key sk-verysecret</process_name>
\t\t\t\t<used_memory>512 MiB</used_memory>\n\t\t\t</process_info>
\t\t</processes>
\t</gpu>
"""


def xml(count: int, pending: int = -1) -> str:
    gpus = "".join(
        XML_GPU.format(address=f"00000000:{16 + n:02X}:00.0", number=n, pending="Yes" if n == pending else "No")
        for n in range(count)
    )
    return (
        '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n<nvidia_smi_log>\n'
        "\t<driver_version>550.90.07</driver_version>\n\t<cuda_version>12.4</cuda_version>\n"
        f"\t<attached_gpus>{count}</attached_gpus>\n{gpus}</nvidia_smi_log>\n"
    )


def test_xml_of_sixteen_gpus() -> None:
    gpus = of(Gpus, facts_of(xml(16, pending=5)).gpus)
    assert (gpus.driver_version, gpus.cuda_version, gpus.count, len(gpus.gpus)) == ("550.90.07", 12040, 16, 16)
    sick = gpus.gpus[5]
    assert of(RowRemapping, sick.row_remapping).pending
    assert (sick.pci_address, sick.pci_device, sick.power_watts) == ("0000:15:00.0", "20b2", 62.5)
    assert of(tuple, sick.processes)[0].name == "python3"


def test_xml_that_breaks_off_keeps_what_was_whole() -> None:
    facts = facts_of(xml(4)[:2900])
    assert 1 < len(of(Gpus, facts.gpus).gpus) < 4
    assert "breaks off" in problems(facts)[0]


BOMB = '<?xml version="1.0"?>\n<!DOCTYPE nvidia_smi_log [\n<!ENTITY a "aaaaaaaaaa">\n<!ENTITY b "&a;&a;&a;&a;">\n]>\n'


def test_an_entity_bomb_is_refused() -> None:
    facts = facts_of(BOMB + "<nvidia_smi_log><driver_version>&b;</driver_version></nvidia_smi_log>\n")
    assert "entities" in problems(facts)[0]
    assert isinstance(facts.gpus, Unavailable)


def test_xml_that_never_ends_hides_nothing_behind_it() -> None:
    facts = facts_of(xml(1)[:300] + "\n" + INFO)
    assert of(Docker, facts.docker).version == "25.0.3"


def test_xml_of_another_depth_is_refused() -> None:
    facts = facts_of("<nvidia_smi_log>\n" + "<a>" * 5000 + "\n</nvidia_smi_log>\n")
    assert "nested deeper" in problems(facts)[0]


TABLE = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
"""
ROW = """\
|   {number:<2} NVIDIA H100 80GB HBM3          On  |   00000000:{bus:02X}:00.0 Off |                    {ecc} |
| N/A   31C    P0             72W /  700W |    1024MiB /  81559MiB |      3%   {mode} |
|                                         |                        |             {mig} |
+-----------------------------------------+------------------------+----------------------+
"""


def table(count: int, *, ecc: str = "0", mode: str = "   Default", mig: str = "Disabled") -> str:
    rows = "".join(ROW.format(number=n, bus=16 + n, ecc=ecc, mode=mode, mig=mig) for n in range(count))
    return TABLE + rows


def test_table_of_sixteen_gpus() -> None:
    gpus = of(Gpus, facts_of(table(16)).gpus)
    assert len(gpus.gpus) == gpus.count == 16
    last = gpus.gpus[15]
    assert (last.index, last.pci_address, last.memory_total_bytes) == (15, "0000:1f:00.0", 81559 << 20)
    assert (last.temperature_celsius, last.power_watts, last.power_enforced_watts) == (31, 72.0, 700.0)
    assert (last.persistence, last.compute_mode, last.utilization_percent) == (True, "default", 3)
    assert (of(Mig, last.mig).enabled, of(Mig, last.mig).pending) == (False, False)


def test_table_tells_ecc_and_modes() -> None:
    first = of(Gpus, facts_of(table(1, ecc="7", mode="E. Process", mig="Enabled*")).gpus).gpus[0]
    assert of(Ecc, first.ecc).volatile.uncorrected == 7
    assert first.compute_mode == "exclusive-process"
    assert (of(Mig, first.mig).enabled, of(Mig, first.mig).pending) == (True, False)
    assert of(Gpus, facts_of(table(1, ecc="Off")).gpus).gpus[0].ecc == Ecc(enabled=False, **SILENT_ECC)


SILENT_ECC = {
    name: getattr(of(Ecc, of(Gpus, facts_of(table(1, ecc="Off")).gpus).gpus[0].ecc), name)
    for name in ("pending", "volatile", "aggregate", "sram_threshold_exceeded")
}

OLD_TABLE = """\
| NVIDIA-SMI 418.87.01    Driver Version: 418.87.01    CUDA Version: 10.1     |
|   0  Tesla V100-SXM2...  Off  | 00000000:07:00.0 Off |                  N/A |
| N/A   31C    P0    53W / 300W |      0MiB / 32480MiB |      0%      Default |
| Processes:                                                       GPU Memory |
|  GPU       PID   Type   Process name                             Usage      |
|    0     12345      C   /opt/conda/bin/python                     1000MiB |
+-----------------------------------------------------------------------------+
"""
MIG_TABLE = (
    table(1, mig=" Enabled")
    + """
+-----------------------------------------------------------------------------------------+
| MIG devices:                                                                            |
+------------------+----------------------------------+-----------+-----------------------+
| GPU  GI  CI  MIG |                     Memory-Usage |        Vol|        Shared         |
|==================+==================================+===========+=======================|
|  0    7   0   0  |              12MiB /  9856MiB    | 14      0 |  1   0    0    0    0 |
|                  |               0MiB / 16383MiB    |           |                       |
+------------------+----------------------------------+-----------+-----------------------+
|  0    8   0   1  |              12MiB /  9856MiB    | 14      0 |  1   0    0    0    0 |
+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|    0    7    0       4321      C   VLLM::EngineCore                             9000MiB |
+-----------------------------------------------------------------------------------------+
"""
)


def test_table_of_an_old_driver_with_its_process() -> None:
    gpu = of(Gpus, facts_of(OLD_TABLE).gpus).gpus[0]
    assert (gpu.name, gpu.memory_total_bytes) == ("Tesla V100-SXM2", 32480 << 20)
    assert [(p.pid, p.name, p.used_bytes) for p in of(tuple, gpu.processes)] == [(12345, "python", 1000 << 20)]


def test_table_with_mig_instances() -> None:
    facts = facts_of(MIG_TABLE)
    gpu = of(Gpus, facts.gpus).gpus[0]
    assert of(Mig, gpu.mig).instances == 2
    assert of(tuple, gpu.processes)[0].pid == 4321
    assert "mig" in of(Signatures, facts.signatures).context


TOPOLOGY = """\
\tGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID
GPU0\t X \tNV4\tSYS\tPIX\t0-23\t0\t\tN/A
GPU1\tNV4\t X \tSYS\tSYS\t0-23\t0\t\tN/A
GPU2\tSYS\tSYS\t X \tSYS\t24-47\t1\t\tN/A
NIC0\tPIX\tSYS\tSYS\t X \t\t\t\t

Legend:
"""


def test_topology_tells_links_and_distance() -> None:
    first, second, third = of(Gpus, facts_of(TOPOLOGY).gpus).gpus
    assert [(p.index, p.nvlinks, p.common_ancestor) for p in first.peers][1] == (2, 0, 50)
    assert (first.peers[0].nvlinks, second.peers[0].nvlinks) == (4, 4)
    assert [len(of(tuple, gpu.nvlinks)) for gpu in (first, second, third)] == [4, 4, 0]
    assert (first.numa_node, third.numa_node) == (0, 1)


def test_topology_and_table_are_joined() -> None:
    gpus = of(Gpus, facts_of(table(3), TOPOLOGY).gpus).gpus
    assert [(gpu.name, gpu.numa_node) for gpu in gpus] == [("NVIDIA H100 80GB HBM3", n) for n in (0, 0, 1)]


CSV = """\
index, name, uuid, driver_version, memory.total [MiB], pci.bus_id, compute_cap, temperature.gpu
0, Tesla T4, GPU-aaaa, 535.247.01, 15360 MiB, 00000000:00:1E.0, 7.5, 40
1, Tesla T4, GPU-bbbb, 535.247.01, [N/A], 00000000:00:1F.0, 7.5, [GPU is lost]
"""


def test_csv() -> None:
    gpus = of(Gpus, facts_of(CSV).gpus)
    first, second = gpus.gpus
    assert (gpus.driver_version, first.pci_address, first.compute_capability) == ("535.247.01", "0000:00:1e.0", (7, 5))
    assert (first.memory_total_bytes, first.temperature_celsius) == (15360 << 20, 40)
    assert isinstance(second.memory_total_bytes, Unavailable)


INFO = """\
Client: Docker Engine - Community
 Version:    24.0.7
 Plugins:
  compose: Docker Compose (Docker Inc.)
    Version:  v2.21.0

Server:
 Containers: 5
  Running: 3
 Server Version: 25.0.3
 Cgroup Driver: systemd
 Cgroup Version: 2
 CDI spec directories:
  /etc/cdi
  /var/run/cdi
 Runtimes: io.containerd.runc.v2 nvidia runc
 Default Runtime: runc
 Security Options:
  apparmor
  seccomp
   Profile: builtin
 Docker Root Dir: /var/snap/docker/common/var-lib-docker
"""


@pytest.mark.parametrize("before", ["", "> ", ">> "])
def test_docker_info_as_text(before: str) -> None:
    text = "".join(f"{before}{line}\n" for line in INFO.splitlines())
    docker = of(Docker, facts_of("Hello,\n", "```\n" + text + "```\n").docker)
    assert (docker.version, docker.cgroup_driver, docker.default_runtime) == ("25.0.3", "systemd", "runc")
    assert docker.runtime("nvidia") is not None
    assert docker.cdi_spec_dirs == ("/etc/cdi", "/var/run/cdi")
    assert docker.compose_version == "2.21.0"


INSPECT = [
    {
        "Id": "ab" * 32, "Created": "2026-01-01T00:00:00Z", "Path": "vllm",
        "Args": ["serve", "--api-key", "sk-hidden12"],
        "State": {"Status": "running", "Running": True, "Pid": 77}, "Image": "sha256:1", "Name": "/main",
        "HostConfig": {"Runtime": "nvidia", "ShmSize": 67108864, "IpcMode": "private"},
        "Config": {"Image": "vllm/vllm-openai:v0.9.0", "Env": ["CUDA_VISIBLE_DEVICES=0,1", "HF_TOKEN=hf_secret12345"]},
    }
]  # fmt: skip


@pytest.mark.parametrize("indent", [None, 4])
def test_docker_inspect_without_its_secrets(indent: int | None) -> None:
    facts = facts_of("$ docker inspect main\n" + json.dumps(INSPECT, indent=indent) + "\nthanks\n")
    container = of(Containers, facts.containers).containers[0]
    assert (container.name, container.runtime, container.shm_size_bytes) == ("main", "nvidia", 64 << 20)
    assert container.environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "secret1" not in repr(facts)
    assert "hidden1" not in repr(facts)


COMPOSE = """\
My file:
~~~yaml
services:
  llm:
    image: vllm/vllm-openai:v0.9.0
    runtime: nvidia
    env_file: /etc/passwd
    environment:
      HF_TOKEN: hf_abcdefghijklmnopqrstuvwxyz
~~~
RuntimeError: it ends
"""


def test_a_compose_file_has_the_lines_of_the_paste_and_opens_no_other_file() -> None:
    facts = facts_of(COMPOSE)
    service = of(Compose, facts.compose).services[0]
    assert (service.name, service.place.file, service.place.line) == ("llm", "paste0.txt", 4)
    assert [variable.name for variable in service.variables] == ["HF_TOKEN"]
    assert "abcdefghijkl" not in repr(facts)


def test_files_of_docker_and_the_toolkit() -> None:
    toolkit = of(ContainerToolkit, facts_of(
        '{\n "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}},\n "features": {"cdi": true}\n}\n',
        "disable-require = false\n\n[nvidia-container-cli]\nno-cgroups = true\n\n"
        '[nvidia-container-runtime]\nmode = "cdi"\n',
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits:\n    deviceNodes:\n"
        "    - path: /dev/nvidia0\ncontainerEdits:\n  mounts:\n"
        "  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.535.247.01\n    containerPath: /usr/lib/libcuda.so\n",
        "NVIDIA Container Toolkit CLI version 1.13.5\ncommit: 6b8589dcb4dead72ab64f14a5912886e6165c079\n",
    ).container_toolkit)  # fmt: skip
    assert of(DaemonFile, toolkit.daemon_file).cdi is True
    assert of(ToolkitConfig, toolkit.config).no_cgroups is True
    spec = of(tuple, toolkit.cdi_specs)[0]
    assert (spec.kind, spec.devices, spec.library_versions) == ("nvidia.com/gpu", ("0",), ("535.247.01",))
    assert toolkit.version == "1.13.5"


def test_what_the_machine_says_of_itself() -> None:
    facts = facts_of(
        "Linux gpu01 6.8.0-60-generic #63-Ubuntu SMP PREEMPT_DYNAMIC Tue Apr 15 19:04:15 UTC 2025 x86_64 GNU/Linux\n"
        'PRETTY_NAME="Rocky Linux 9.4"\nNAME="Rocky Linux"\nVERSION_ID="9.4"\nID="rocky"\nID_LIKE="rhel centos"\n\n'
        "SecureBoot enabled\n"
        "               total        used        free      shared  buff/cache   available\n"
        "Mem:            62Gi        10Gi        40Gi       1.0Gi        12Gi        51Gi\n"
        "Swap:          2.0Gi          0B       2.0Gi\n"
        "Filesystem      Size  Used Avail Use% Mounted on\n/dev/nvme0n1p2  916G  860G   10G  99% /\n"
        "Module                  Size  Used by\nnouveau 2400256 1\n"
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102 [10de:2204] (rev a1)\n"
        "\tKernel driver in use: nouveau\n"
    )
    host = of(Host, facts.host)
    assert (host.kernel_release, host.os_id, host.os_version) == ("6.8.0-60-generic", "rocky", "9.4")
    assert (of(Memory, facts.memory).available_bytes, of(Memory, facts.memory).swap_free_bytes) == (51 << 30, 2 << 30)
    assert of(Storage, facts.storage).volumes[0].free_bytes == 10 << 30
    driver = of(Driver, facts.driver)
    assert (driver.secure_boot, driver.nouveau_loaded, driver.loaded_version) == ("on", True, None)
    assert of(Pci, facts.pci).nvidia_gpus[0].driver == "nouveau"


def test_lspci_without_k_does_not_say_that_no_driver_holds_the_card() -> None:
    facts = facts_of("01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102 [10de:2204] (rev a1)\n")
    assert isinstance(facts.pci, Unavailable)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_a_mixed_paste_in_any_encoding(encoding: str) -> None:
    text = f"안녕하세요\n```\n{table(2)}```\n그리고\n{INFO}\n{json.dumps(INSPECT)}\n".replace("\n", "\r\n")
    facts = facts_of(text.encode(encoding))
    assert {"nvidia-smi", "docker-info", "docker-inspect"} <= kinds(facts)
    assert len(of(Gpus, facts.gpus).gpus) == 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(INSPECT, indent=1)[:700],
        json.dumps(INSPECT).replace('"ShmSize": 67108864', '"ShmSize": "big"'),
        '{"DCGM GPU Diagnostic": {"test_categories": [1, {"tests": {"a": [{"results": 5}]}}]}}',
        '{"schema": "gpudoctor.report/9", "results": []}',
        '{"schema": "gpudoctor.report/1", "results": [{"id": 5}]}',
        'x\n{"schema": "gpudoctor.snapshot/1", "gpus": 5}',
        '{"cdiVersion": 5, "kind": [], "devices": {}}',
        "cdiVersion: 0.5.0\nkind: &a [*a, *a]\ndevices: *a\n",
        "services:\n  a: &x\n    image: [1, {2: 3}]\n    deploy: 5\n",
        "services:\n\t- broken\n",
        '{"ServerVersion": 28, "CgroupDriver": {}}',
    ],
    ids=range(11),
)
def test_damage_is_one_line_and_never_an_end(text: str) -> None:
    facts = facts_of(text + "\nFailed to initialize NVML: Unknown Error\n")
    assert [match.check for match in of(Signatures, facts.signatures).matches] == ["container.gpu-lost"]
    assert all("\n" not in problem for problem in problems(facts))


def test_a_bracket_that_never_closes_hides_nothing_behind_it() -> None:
    facts = facts_of("{\n" + '"a": 1,\n' * 10 + table(2))
    assert len(of(Gpus, facts.gpus).gpus) == 2


def test_too_much_of_one_document_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_BLOCK_CHARS", 10_000)
    facts = facts_of(xml(16))
    assert "longer than" in problems(facts)[0]


WORDS = (
    "{", "}", "[", "]", '"', ":", ",", "\n", "  ", "services:\n", "  a:\n", "image: x\n", '"runtimes"',
    "<nvidia_smi_log>", "</nvidia_smi_log>", '<gpu id="0:0">', "</gpu>", "|", "+" + "-" * 40 + "+\n",
    "| NVIDIA-SMI 1 Driver Version: 550.1 |", "GPU0\tGPU1\n", "\tGPU0\tGPU1\n", "GPU0\t X \tNV4\n",
    "Server Version: 1\n", "cdiVersion: 1\n", "kind: a\n", "Filesystem Size Used \n", "Module Size Used by\n",
    "FAIL gpu.xid gpu:1\n", "gpudoctor 1.2.3  x\n", "ID=x\nNAME=y\n", '"DCGM GPU Diagnostic"', '"ServerVersion"',
    '"CgroupDriver"', "> ", "```\n", "index, name, memory.total [MiB]\n", "0, x, 5 MiB\n", "9" * 30, "\u0661", "*a",
    "&a ", "\x00", "{{", "[nvidia-container-cli]\n",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_no_mixture_of_documents_breaks_it(parts: list[str]) -> None:
    facts_of("".join(parts))


LOST_ROW = """\
|   1  ERR!                           On  | 00000000:0F:00.0 ERR!|                 ERR! |
|ERR!  ERR! ERR!    ERR! / ERR! |   GPU is lost / 81920MiB |    ERR!      ERR! |
"""


def test_a_lost_gpu_in_a_table_keeps_its_place() -> None:
    first, second = of(Gpus, facts_of(table(1) + LOST_ROW).gpus).gpus
    assert (first.failure, second.failure, second.failure_code) == (None, "GPU is lost", 15)
    assert second.pci_address == "0000:0f:00.0"


def test_a_daemon_json_that_dockerd_refuses_is_said() -> None:
    facts = facts_of('{\n  "runtimes": {\n    "nvidia": {"path": "nvidia-container-runtime"},\n  }\n}\n')
    assert "dockerd refuses this daemon.json: line 4" in problems(facts)[0]
