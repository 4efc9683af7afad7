"""The host probe against recorded trees, hostile environments, and this very machine."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Clock, Host, Limits, Locale, Memory
from gpudoctor.probes import cgroup, clock, environment, host, machine_kind
from gpudoctor.probes.root import Root
from gpudoctor.probes.runner import ProbeSpec, run_probes

Tree = Callable[[dict[str, str]], Root]
Said = Callable[..., list[dict[str, Any]]]
SPEC = ProbeSpec(name="host", modules=("host",), sections=host.SECTIONS)
MEMINFO = "MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:    600 kB\nSwapTotal: 50 kB\nSwapFree: 40 kB\n"


def live() -> dict[str, Any]:
    answer = run_probes([SPEC])[0]
    assert (answer.outcome, answer.missing) == ("ok", {})
    return answer.sections


def test_the_probe_agrees_with_this_machine() -> None:
    facts = live()
    found = msgspec.convert(facts["host"], Host)
    assert found.kernel_release == os.uname().release
    assert found.architecture == os.uname().machine
    assert found.hostname == os.uname().nodename
    assert found.cpu_count == psutil.cpu_count()
    assert found.user_id == os.geteuid()
    memory = msgspec.convert(facts["memory"], Memory)
    assert memory.total_bytes == psutil.virtual_memory().total
    assert memory.available_bytes == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    limits = msgspec.convert(facts["limits"], Limits)
    assert limits.open_files_hard != 0
    assert isinstance(msgspec.convert(facts["clock"], Clock).synchronized, bool | Unavailable)
    assert msgspec.convert(facts["locale"], Locale).variable in ("LC_ALL", "LC_CTYPE", "LANG")


def test_python_does_not_pass_its_own_locale_off_as_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under LANG=C Python sets LC_CTYPE=C.UTF-8 for its children (PEP 538)."""
    coerced = {"LANG": "C", "LC_CTYPE": "C.UTF-8"}
    assert environment.without_coercion(coerced, {"LANG": "C"}) == {"LANG": "C"}
    assert environment.without_coercion(coerced, coerced) == coerced
    assert environment.without_coercion(coerced, None) == coerced


@pytest.mark.parametrize(
    ("value", "encoding"),
    [("", "ASCII"), ("C", "ASCII"), ("C.UTF-8", "UTF-8"), ("ko_KR.CP949", "CP949"), ("ko_KR", ""),
     ("de_DE.ISO-8859-1@euro", "ISO-8859-1")],
)
def test_a_locales_name_carries_its_encoding(value: str, encoding: str) -> None:
    assert environment.encoding_of(value) == encoding


def test_another_machines_console_is_its_systems_default(tree: Tree) -> None:
    told = environment.user_locale({}, tree({"/etc/default/locale": 'LANG="ko_KR.EUC-KR"\n'}))
    assert isinstance(told, Locale)
    assert (told.value, told.encoding) == ("ko_KR.EUC-KR", "EUC-KR")


def test_a_locale_that_is_not_installed_gives_ascii() -> None:
    assert environment.installed_encoding("xx_XX.UTF-8") == "ASCII"
    assert environment.installed_encoding("C.UTF-8") == "UTF-8"


def test_no_secret_gets_into_the_environment_facts() -> None:
    told = environment.allowed(
        {
            "HF_TOKEN": "hf_secret",
            "VLLM_API_KEY": "sk-secret",
            "OLLAMA_API_TOKEN": "secret",
            "NCCL_PASSWORD": "secret",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "OLLAMA_HOST": "http://me:secret@0.0.0.0:11434",
            "LD_PRELOAD": "/home/me/secret/libfoo.so:/x/libbar.so",
            "OLLAMA_KEEP_ALIVE": "5m",
            "CUDA_VISIBLE_DEVICES": "",
            "HOME": "/home/secret",
        }
    )
    assert "secret" not in str(told)
    assert told == {
        "CUDA_VISIBLE_DEVICES": "",
        "HF_TOKEN": "set",
        "LD_PRELOAD": "libfoo.so libbar.so",
        "OLLAMA_HOST": "http://***@0.0.0.0:11434",
        "OLLAMA_KEEP_ALIVE": "5m",
    }


def test_the_kernels_command_line_keeps_only_what_checks_judge() -> None:
    line = "root=UUID=1 iommu=pt luks.key=secret modprobe.blacklist=nouveau module_blacklist=a pci=noacs"
    assert host.parse_kernel_options(line) == {
        "iommu": "pt", "modprobe.blacklist": "nouveau", "module_blacklist": "a", "pci": "noacs",
    }


def test_an_empty_tree_is_no_error(tree: Tree, said: Said) -> None:
    lines = {line["section"]: line for line in said(host, tree({}))}
    assert lines["memory"]["kind"] == "not-supported"
    assert {lines[name]["kind"] for name in ("limits", "locale")} == {"not-applicable"}
    found = msgspec.convert(lines["host"]["set"], Host)
    assert (found.os_id, found.wsl, found.container, found.display_server) == ("linux", False, None, False)
    assert isinstance(found.kernel_release, Unavailable)
    assert isinstance(found.virtual_machine, Unavailable)
    assert found.environment == {}


def test_another_machines_files_do_not_carry_this_kernels_clock(tree: Tree) -> None:
    told = clock.read_clock(tree({"/etc/localtime": "->/usr/share/zoneinfo/Asia/Seoul"}))
    assert told.time_zone == "Asia/Seoul"
    assert isinstance(told.synchronized, Unavailable)
    assert told.synchronized.harmless


def test_a_file_that_may_not_be_read_costs_one_fact(
    tree: Tree, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({"/proc/meminfo": MEMINFO, "/etc/os-release": "ID=ubuntu\n", "/proc/uptime": "5.5 1\n"})
    read = Root.read

    def guarded(self: Root, name: str, limit: int = 1 << 20) -> str | None:
        if name in ("/proc/uptime", "/etc/locale.conf"):
            raise PermissionError(13, "Permission denied", name)
        return read(self, name, limit)

    monkeypatch.setattr(Root, "read", guarded)
    lines = {line["section"]: line for line in said(host, root)}
    found = msgspec.convert(lines["host"]["set"], Host)
    assert found.os_id == "ubuntu"
    assert found.uptime_seconds == Unavailable("no permission to read /proc/uptime", "no-permission")
    assert lines["locale"]["kind"] == "no-permission"
    assert lines["memory"]["set"]["total_bytes"] == 1000 * 1024


HYPERVISOR = {"/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu hypervisor\n"}
METAL = {"/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu vme\n"}


@pytest.mark.parametrize(
    ("files", "virtual"),
    [
        (HYPERVISOR, True),
        (METAL, False),
        ({**METAL, "/sys/class/dmi/id/sys_vendor": "QEMU\n"}, True),
        ({**METAL, "/sys/class/dmi/id/sys_vendor": "Supermicro\n"}, False),
        ({"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "p4d.metal\n"}, False),
        ({"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "g5.xlarge\n"}, True),
        ({**HYPERVISOR, "/proc/xen/capabilities": "control_d\n"}, False),
        ({"/proc/sys/kernel/osrelease": "5.15.167.4-microsoft-standard-WSL2\n"}, True),
        ({"/sys/class/dmi/id/product_name": "Virtual Machine\n"}, True),
        # ARM processors carry no such flag: only the firmware tells.
        ({"/proc/cpuinfo": "processor : 0\nFeatures : fp\n", "/sys/class/dmi/id/sys_vendor": "NVIDIA\n"}, False),
    ],
)
def test_virtual_machines_are_told_from_metal(tree: Tree, files: dict[str, str], virtual: bool) -> None:
    assert machine_kind.is_virtual(tree(files)) is virtual


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, None),
        ({"/.dockerenv": ""}, "docker"),
        ({"/run/systemd/container": "lxc\n"}, "lxc"),
        ({"/run/systemd/container": "wsl\n"}, None),
        ({"/proc/1/cgroup": "0::/\n"}, None),
        ({"/proc/1/cgroup": "0::/system.slice/docker-abc.scope\n"}, "docker"),
        ({"/proc/1/cgroup": "0::/system.slice/docker.service\n"}, None),
        ({"/proc/1/cgroup": "4:memory:/kubepods/burstable/pod1\n"}, "kubernetes"),
        ({"/proc/1/mountinfo": "1 2 0:5 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A"}, "docker"),
        ({"/proc/1/mountinfo": "1 2 0:5 / / ro - overlay composefs ro,lowerdir=/run/ostree/.private\n"}, None),
    ],
)
def test_containers_are_found_by_their_traces(tree: Tree, files: dict[str, str], kind: str | None) -> None:
    assert machine_kind.container(tree(files)) == kind


def test_an_ubuntu_server_is_no_desktop(tree: Tree) -> None:
    target = "/lib/systemd/system/graphical.target"
    assert not machine_kind.display_server(tree({"/lib/systemd/system/default.target": f"->{target}"}))


def test_a_display_manager_is_a_desktop(tree: Tree) -> None:
    manager = {"/etc/systemd/system/display-manager.service": "->/lib/systemd/system/gdm.service"}
    assert machine_kind.display_server(tree(manager))


def test_the_tightest_control_group_limits_memory(tree: Tree) -> None:
    root = tree(
        {
            "/proc/self/cgroup": "0::/a.slice/b.service\n",
            "/sys/fs/cgroup/cgroup.controllers": "memory pids\n",
            "/sys/fs/cgroup/a.slice/memory.max": "4000\n",
            "/sys/fs/cgroup/a.slice/memory.current": "3500\n",
            "/sys/fs/cgroup/a.slice/memory.stat": "anon 1\ninactive_file 500\n",
            "/sys/fs/cgroup/a.slice/b.service/memory.max": "2000\n",
            "/sys/fs/cgroup/a.slice/b.service/memory.current": "100\n",
            "/sys/fs/cgroup/a.slice/b.service/pids.max": "max\n",
            "/sys/fs/cgroup/a.slice/pids.max": "77\n",
        }
    )
    assert cgroup.version(root) == "2"
    assert cgroup.memory_limit(root) == (4000, 3000)
    assert cgroup.pids_limit(root) == 77


def test_version_one_limits_and_says_unlimited_with_a_huge_number(tree: Tree) -> None:
    root = tree(
        {
            "/proc/self/cgroup": "5:pids:/\n4:memory:/docker/0123\n0::/\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes": "5000\n",
            "/sys/fs/cgroup/pids/pids.max": "max\n",
        }
    )
    assert cgroup.version(root) == "1"
    assert cgroup.memory_limit(root) == (1048576, 5000)
    Path(root.prefix, "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert cgroup.memory_limit(root) is None
    assert cgroup.pids_limit(root) is None


def test_grace_hoppers_gpu_memory_is_no_socket(tree: Tree) -> None:
    root = tree({"/sys/devices/system/node/has_cpu": "0\n", "/sys/devices/system/node/online": "0-8\n"})
    assert host.read_host(root, {}).numa_nodes == 1


@pytest.mark.parametrize(("text", "count"), [("0-7", 8), ("0", 1), ("0-3,8-11", 8), ("", 0), ("x", 0), ("3-1", 0)])
def test_kernel_lists_are_counted(text: str, count: int) -> None:
    assert host.count_range(text) == count


def test_old_kernels_without_memavailable_are_estimated() -> None:
    figures = host.parse_meminfo("MemTotal: 10 kB\nMemFree: 1 kB\nHugePages_Total: 4\nBroken\n")
    assert figures == {"MemTotal": 10240, "MemFree": 1024, "HugePages_Total": 4}
