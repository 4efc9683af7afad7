"""The AMD probe on recorded trees."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.probes import amd
from gpudoctor.probes.root import Root

Tree = Callable[[dict[str, str]], Root]
Said = Callable[..., list[dict[str, Any]]]
GPU = "/sys/bus/pci/devices/0000:c1:00.0"
NODES = "/sys/class/kfd/kfd/topology/nodes"
MACHINE = {
    f"{GPU}/vendor": "0x1002\n",
    f"{GPU}/device": "0x744c\n",
    f"{GPU}/class": "0x030000\n",
    f"{GPU}/revision": "0xc8\n",
    f"{GPU}/mem_info_vram_total": "25753026560\n",
    f"{GPU}/mem_info_vram_used": "1024\n",
    f"{GPU}/power/runtime_status": "active\n",
    f"{GPU}/hwmon/hwmon3/temp1_label": "edge\n",
    f"{GPU}/hwmon/hwmon3/temp1_input": "45000\n",
    f"{GPU}/hwmon/hwmon3/temp1_crit": "100000\n",
    f"{GPU}/hwmon/hwmon3/temp2_label": "junction\n",
    f"{GPU}/hwmon/hwmon3/temp2_input": "51500\n",
    f"{GPU}/hwmon/hwmon3/temp2_crit": "110000\n",
    f"{GPU}/ras/umc_err_count": "ue: 1\nce: 7\n",
    f"{GPU}/ras/gfx_err_count": "ue: 0\nce: 2\n",
    f"{GPU}/ras/gpu_vram_bad_pages": "0x00000001 : 0x00001000 : R\n0x00000002 : 0x00001000 : P\n",
    f"{NODES}/0/properties": "cpu_cores_count 16\ngfx_target_version 0\n",
    f"{NODES}/1/properties": "gfx_target_version 110000\nlocation_id 49408\ndomain 0\n",
    "/sys/module/amdgpu/version": "6.10.5\n",
    "/usr/share/libdrm/amdgpu.ids": "# comment\n1.0.0\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n744C,\tCC,\tOther\n",
    "/opt/rocm-6.2.0/.info/version": "6.2.0-66\n",
    "/opt/rocm-6.10.1/.info/version": "6.10.1-3\n",
    "/dev/kfd": "",
    "/dev/dri/renderD128": "",
    "/dev/dri/renderD129": "",
    "/dev/dri/card0": "",
    "/sys/class/drm/renderD128/device/vendor": "0x1002\n",
    "/sys/class/drm/renderD129/device/vendor": "0x10de\n",
    "/etc/group": "root:x:0:\nrender:x:993:jane\nbroken\n",
}


def facts(lines: list[dict[str, Any]]) -> Amd:
    raw: dict[str, Any] = {"status": "recorded"}
    for line in lines:
        raw |= line.get("set", {})
        if "append" in line:
            raw.setdefault(line["field"], []).append(line["append"])
    return msgspec.convert(raw, Amd)


def test_a_radeon_is_read(tree: Tree, said: Said) -> None:
    root = tree(MACHINE)
    os.chown(Path(root.prefix, "dev/kfd"), -1, os.getegid())
    told = facts(said(amd, root))
    assert (told.module_loaded, told.module_version, told.rocm_version) == (True, "6.10.5", "6.10.1")
    assert [node.path for node in told.nodes] == ["/dev/kfd", "/dev/dri/renderD128"]
    assert all(node.accessible for node in told.nodes)
    (gpu,) = told.gpus
    assert (gpu.address, gpu.device, gpu.gfx, gpu.name) == ("0000:c1:00.0", "744c", "gfx1100", "AMD Radeon RX 7900 XTX")
    assert (gpu.vram_total_bytes, gpu.vram_used_bytes) == (25753026560, 1024)
    assert (gpu.ras_uncorrected, gpu.ras_corrected, gpu.bad_pages) == (1, 9, 2)
    assert (gpu.temperature_celsius, gpu.critical_celsius) == (51.5, 110.0)


def test_nodes_say_whose_they_are(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(MACHINE)
    real = Root.stat

    def owned(self: Root, name: str) -> os.stat_result | None:
        status = real(self, name)
        if status is None:
            return None
        gid = 993 if name == "/dev/kfd" else 4242
        return os.stat_result((stat.S_IFCHR | 0o660, *status[1:5], gid, *status[6:10]))

    monkeypatch.setattr(Root, "stat", owned)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    kfd, render = amd.read_nodes(root)
    assert (kfd.group, kfd.gid, kfd.mode, kfd.accessible) == ("render", 993, 0o660, False)
    assert (render.group, render.gid) == (None, 4242)


def test_the_active_rocm_comes_before_a_newer_one(tree: Tree) -> None:
    root = tree({**MACHINE, "/opt/rocm": "->/opt/rocm-6.2.0"})
    assert amd.rocm_version(root) == "6.2.0"
    assert amd.rocm_version(Root("/nowhere")) is None


@pytest.mark.parametrize(
    ("version", "name"),
    [(90010, "gfx90a"), (90402, "gfx942"), (90500, "gfx950"), (100300, "gfx1030"), (110501, "gfx1151")],
)
def test_targets_have_their_compilers_names(version: int, name: str) -> None:
    assert amd.gfx_name(version) == name


def test_a_sleeping_gpu_is_left_asleep(tree: Tree, said: Said) -> None:
    told = facts(said(amd, tree({**MACHINE, f"{GPU}/power/runtime_status": "suspended\n"})))
    assert isinstance(told.gpus[0].temperature_celsius, Unavailable)
    assert told.gpus[0].temperature_celsius.harmless


def test_a_gpu_without_counters_has_none_instead_of_zero(tree: Tree, said: Said) -> None:
    bare = {name: text for name, text in MACHINE.items() if "/ras/" not in name and "/hwmon/" not in name}
    (gpu,) = facts(said(amd, tree(bare))).gpus
    assert isinstance(gpu.ras_uncorrected, Unavailable)
    assert isinstance(gpu.bad_pages, Unavailable)
    assert isinstance(gpu.temperature_celsius, Unavailable)


def test_a_gpu_that_hung_before_is_left_out(tree: Tree, said: Said) -> None:
    lines = said(amd, tree(MACHINE), ("AMD GPU 0000:c1:00.0",))
    assert not any("append" in line for line in lines)
    assert all("gpus" not in line.get("set", {}) for line in lines), "that would wipe the placeholder"


def test_no_amd_gpu_is_not_applicable(tree: Tree, said: Said) -> None:
    (line,) = said(amd, tree({f"{GPU}/vendor": "0x10de\n", f"{GPU}/class": "0x030000\n"}))
    assert line["kind"] == "not-applicable"
