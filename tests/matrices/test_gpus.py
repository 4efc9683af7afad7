"""The GPU table: its counts, rows checked by eye against their sources, and lookups as people write names."""

import pytest

from gpudoctor.matrices import gpus


def only(name: str) -> gpus.NvidiaGpu:
    (gpu,) = gpus.by_name(name)
    return gpu


def test_row_counts() -> None:
    assert len(gpus.nvidia()) == 121
    assert len(gpus.amd()) == 11


def test_names_are_unique() -> None:
    names = [gpu.name for gpu in gpus.nvidia()] + [gpu.name for gpu in gpus.amd()]
    assert len(set(names)) == len(names)


def test_every_row_names_a_source_the_table_has() -> None:
    table = gpus.table()
    for key in {gpu.source for gpu in table.nvidia} | {gpu.source for gpu in table.amd}:
        assert table.source(key).url.startswith("https://")


@pytest.mark.parametrize(
    ("name", "pci_id", "capability", "architecture", "kind", "memory_mib", "bandwidth", "modules"),
    [
        ("Tesla P40", "10de:1b38", (6, 1), "Pascal", "datacenter", 24576, 346, "unsupported"),
        ("Tesla V100-SXM2-32GB", "10de:1db5", (7, 0), "Volta", "datacenter", 32768, 900, "unsupported"),
        ("Tesla T4", "10de:1eb8", (7, 5), "Turing", "datacenter", 15360, 320, "supported"),
        ("Quadro RTX 8000", "10de:1e30", (7, 5), "Turing", "workstation", 49152, 672, "supported"),
        ("NVIDIA A100-SXM4-80GB", "10de:20b2", (8, 0), "Ampere", "datacenter", 81920, 2039, "supported"),
        ("NVIDIA RTX A6000", "10de:2230", (8, 6), "Ampere", "workstation", 49140, 768, "supported"),
        ("NVIDIA GeForce RTX 3090", "10de:2204", (8, 6), "Ampere", "geforce", 24576, 936, "supported"),
        ("NVIDIA GeForce RTX 4090", "10de:2684", (8, 9), "Ada", "geforce", 24564, 1008, "supported"),
        ("NVIDIA L40S", "10de:26b9", (8, 9), "Ada", "datacenter", 46068, 864, "supported"),
        ("NVIDIA H100 80GB HBM3", "10de:2330", (9, 0), "Hopper", "datacenter", 81559, 3352, "supported"),
        ("NVIDIA H200", "10de:2335", (9, 0), "Hopper", "datacenter", 143771, 4800, "supported"),
        ("NVIDIA GH200 480GB", "10de:2342", (9, 0), "Hopper", "datacenter", 97871, 4000, "required"),
        ("NVIDIA B200", "10de:2901", (10, 0), "Blackwell", "datacenter", 183359, 7700, "required"),
        ("NVIDIA GB300", "10de:31c2", (10, 3), "Blackwell Ultra", "datacenter", 284208, 8000, "required"),
        ("NVIDIA GeForce RTX 5090", "10de:2b85", (12, 0), "Blackwell", "geforce", 32607, 1792, "required"),
    ],
)
def test_rows_read_by_eye(
    name: str,
    pci_id: str,
    capability: tuple[int, int],
    architecture: str,
    kind: str,
    memory_mib: int,
    bandwidth: float,
    modules: str,
) -> None:
    gpu = only(name)
    assert gpu.name == name
    assert pci_id in gpu.pci_ids
    assert gpu.compute_capability == capability
    assert (gpu.architecture, gpu.kind) == (architecture, kind)
    assert gpu.memory_mib[0] == memory_mib
    assert gpu.bandwidth_gb_s == bandwidth
    assert gpu.open_kernel_modules == modules


def test_nvlink_of_a_bridged_pair_is_the_total_of_both_directions() -> None:
    assert only("Quadro RTX 8000").nvlink == gpus.NvLink(form="bridge", generation=2, gb_s=100)
    assert only("H100 SXM").nvlink == gpus.NvLink(form="sxm", generation=4, gb_s=900)
    assert only("RTX 4090").nvlink is None


def test_native_formats_name_what_the_hardware_multiplies() -> None:
    assert only("RTX 8000").native == ("int8",)
    assert only("A100-SXM4-40GB").native == ("bf16", "int8")
    assert only("RTX 4090").native == ("bf16", "fp8", "int8")
    assert only("B200").native == ("bf16", "fp8", "fp4", "int8")


def test_unified_memory_has_no_total() -> None:
    gpu = only("DGX Spark")
    assert gpu.name == "NVIDIA GB10"
    assert gpu.memory_mib == ()
    assert gpu.compute_capability == (12, 1)


def test_volta_ends_with_driver_580() -> None:
    assert {gpu.max_driver_branch for gpu in gpus.nvidia() if gpu.architecture in ("Pascal", "Volta")} == {580}
    assert {gpu.max_driver_branch for gpu in gpus.nvidia() if gpu.compute_capability >= (7, 5)} == {None}


def test_first_driver_is_given_for_all_and_for_each_branch() -> None:
    gpu = only("RTX 5090")
    assert gpu.min_driver == "570.86.16"
    assert "580.65.06" in gpu.min_driver_by_branch
    assert only("Tesla T4").min_driver is None


def test_a_shared_pci_id_returns_all_its_products() -> None:
    assert [gpu.name for gpu in gpus.by_pci_id("10de", "1e30")] == ["Quadro RTX 8000", "Quadro RTX 6000"]
    assert [gpu.name for gpu in gpus.by_pci_id("0x10DE", "0x25B6")] == ["NVIDIA A16", "NVIDIA A2"]
    assert gpus.by_pci_id("10de", "ffff") == ()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("RTX8000", "Quadro RTX 8000"),
        ("nvidia quadro rtx 8000", "Quadro RTX 8000"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("rtx4090 d", "NVIDIA GeForce RTX 4090 D"),
        ("3090ti", "NVIDIA GeForce RTX 3090 Ti"),
        ("4070TiSuper", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("a40", "NVIDIA A40"),
        ("A40 48GB", "NVIDIA A40"),
        ("A6000", "NVIDIA RTX A6000"),
        ("Quadro A6000", "NVIDIA RTX A6000"),
        ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation"),
        ("A100 PCIe 80GB", "NVIDIA A100 80GB PCIe"),
        ("H100 SXM5 80GB", "NVIDIA H100 80GB HBM3"),
        ("H100 94GB", "NVIDIA H100 NVL"),
        ("HGX H200", "NVIDIA H200"),
        ("B200 192GB", "NVIDIA B200"),
        ("B300", "NVIDIA B300 SXM6 AC"),
        ("TITAN RTX", "NVIDIA TITAN RTX"),
        ("T4 16GB", "Tesla T4"),
        ("RTX PRO 6000 Max-Q", "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"),
    ],
)
def test_written_names_that_mean_one_card(written: str, name: str) -> None:
    assert only(written).name == name


def test_a_name_that_leaves_a_choice_returns_the_choice() -> None:
    assert [gpu.name for gpu in gpus.by_name("h100 80gb")] == ["NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM3"]
    assert len(gpus.by_name("RTX PRO 6000")) == 3
    assert {gpu.architecture for gpu in gpus.by_name("RTX 6000")} == {"Turing", "Ada", "Blackwell"}


def test_the_size_asked_for_comes_first() -> None:
    assert only("RTX 3060").memory_mib == (12288, 8192)
    assert only("RTX 3060 8GB").memory_mib == (8192, 12288)


@pytest.mark.parametrize("written", ["", "RTX", "NVIDIA", "H101", "RTX A2000 6GB", "GeForce RTX 3080 Laptop GPU"])
def test_unknown_names_match_nothing(written: str) -> None:
    assert gpus.by_name(written) == ()


def test_every_product_is_found_by_its_own_name() -> None:
    for gpu in gpus.nvidia():
        assert gpus.by_name(gpu.name) == (gpu,)
    for card in gpus.amd():
        assert card in gpus.amd_by_name(card.aliases[0] if card.aliases else card.name)


@pytest.mark.parametrize(
    ("written", "name"),
    [("MI300X", "Instinct MI300X"), ("7900 XTX", "Radeon RX 7900 XTX"), ("mi250x", "Instinct MI250/MI250X")],
)
def test_amd_names(written: str, name: str) -> None:
    assert [gpu.name for gpu in gpus.amd_by_name(written)] == [name]


def test_nearest_names_help_with_a_slip() -> None:
    assert "Quadro RTX 8000" in gpus.nearest_names("RTX 8001")
    assert gpus.nearest_names("RTX A2000 6GB")[0] == "NVIDIA RTX A2000 12GB"
    assert gpus.nearest_names("") == ()
