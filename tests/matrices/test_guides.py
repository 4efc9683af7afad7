"""What popular installation guides get wrong, and the tables must get right."""

import datetime

from gpudoctor.matrices import containers, cuda_driver, gpus, ollama, pytorch, vllm
from gpudoctor.matrices.engines import engine_requirement
from gpudoctor.matrices.versions import at_least

GIB = 2**30


def card(name: str) -> gpus.NvidiaGpu:
    (found,) = gpus.by_name(name)
    return found


def test_pcie_cards_of_a100_and_h100_have_an_nvlink_bridge() -> None:
    for name in ("H100 PCIe", "A100 80GB PCIe"):
        nvlink = card(name).nvlink
        assert nvlink is not None
        assert (nvlink.form, nvlink.gb_s) == ("bridge", 600)
    assert card("H100 PCIe").memory_type == "HBM2e"
    assert card("A100 80GB PCIe").bandwidth_gb_s == 1935


def test_ada_workstation_cards_have_none() -> None:
    assert card("RTX 6000 Ada").nvlink is None
    l40s = card("L40S")
    assert (l40s.memory_type, l40s.bandwidth_gb_s, l40s.tdp_watts, l40s.nvlink) == ("GDDR6", 864, 350, None)


def test_a_bundled_driver_is_no_minimum() -> None:
    for cuda, bundled in (("12.6", "560.28.03"), ("12.4", "550.54.14"), ("12.2", "535.54.03"), ("12.1", "530.30.02")):
        row = cuda_driver.toolkit(cuda)
        assert row is not None
        assert (row.bundled_driver, row.min_driver) == (bundled, "525.60.13")
    cuda11 = cuda_driver.toolkit("11.8")
    assert cuda11 is not None
    assert (cuda11.bundled_driver, cuda11.min_driver) == ("520.61.05", "450.80.02")


def test_cuda_did_not_stop_at_12_6() -> None:
    newer = {"12.8": "570.26", "12.9": "575.51.03", "13.0": "580.65.06", "13.1": "590.44.01", "13.2": "595.45.04"}
    for cuda, bundled in newer.items():
        row = cuda_driver.toolkit(cuda)
        assert row is not None
        assert row.bundled_driver == bundled


def test_driver_550_is_past_its_end() -> None:
    today = datetime.date(2026, 11, 20)
    ended = {number: row.ended_on(today) for number in (535, 550, 570, 580, 595) if (row := cuda_driver.branch(number))}
    assert ended == {535: True, 550: True, 570: True, 580: False, 595: False}


def test_the_default_cuda_of_torch() -> None:
    history = {"2.1.0": "12.1", "2.4.0": "12.1", "2.5.0": "12.4", "2.7.0": "12.6", "2.8.0": "12.8", "2.11.0": "13.0"}
    for version, cuda in history.items():
        row = pytorch.release(version)
        assert row is not None
        assert row.cuda == cuda


def test_vllm_had_cuda_11_wheels_beside_the_default() -> None:
    for version in ("0.4.1", "0.6.6", "0.11.0"):
        row = vllm.release(version)
        assert row is not None
        assert "11.8" in row.alternate_cuda


def test_vllm_from_0_20_on_needs_driver_580() -> None:
    before, after = engine_requirement("vllm", "0.19.1"), engine_requirement("vllm", "0.20.0")
    assert before is not None
    assert after is not None
    assert before.min_driver is not None
    assert after.min_driver is not None
    assert at_least("535.247.01", before.min_driver)
    assert not at_least("535.247.01", after.min_driver)


def test_the_gpus_flag_needs_no_cdi_before_docker_29_2() -> None:
    assert containers.has("docker", "gpus-through-cdi", "28.5.1") is False
    assert containers.has("toolkit", "jit-cdi", "1.13.5") is False


def test_new_ollama_leaves_a_gpu_aside_on_driver_535() -> None:
    need = engine_requirement("ollama", "0.30.11", compute_capability=(7, 5))
    assert need is not None
    assert need.min_driver is not None
    assert not at_least("535.247.01", need.min_driver)
    assert need.driver_checked
    assert need.falls_back_to_cpu


def test_toolkit_1_13_5_is_vulnerable() -> None:
    assert {"CVE-2024-0132", "CVE-2025-23266"} <= {row.id for row in containers.toolkit_cves("1.13.5")}


def test_the_default_context_of_ollama_depends_on_the_version() -> None:
    assert ollama.default_context("0.6.6") == 2048
    assert ollama.default_context("0.15.4") == 4096
    assert ollama.default_context("0.15.4", gpt_oss=True) == 8192
    assert ollama.default_context("0.32.15", 192 * GIB) == 262144


def test_a_variable_that_no_ollama_ever_read() -> None:
    row = ollama.never_existed("OLLAMA_NUM_GPU_LAYERS")
    assert row is not None
    assert "num_gpu" in row.instead


def test_gpt_oss_does_not_run_in_vllm_0_6_6_or_0_9_1() -> None:
    for version in ("0.6.6", "0.9.1"):
        assert vllm.knows_model("GptOssForCausalLM", version) is False


def test_gpt_oss_does_not_run_in_vllm_on_turing() -> None:
    run = vllm.quantization("mxfp4", "0.33.0")
    assert run is not None
    assert run.min_capability is not None
    assert card("Quadro RTX 8000").compute_capability < run.min_capability
