"""amd-smi's answers, in the two forms that ROCm 6 and 7 print."""

import json

import pytest

from gpudoctor.facts.amd import Amd, AmdGpu, AmdSmi, AmdSmiGpu
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.pci import Pci, PciDevice
from gpudoctor.probes.amd_smi import parse_list, parse_metric
from gpudoctor.testing import judge_check

ENTRY = {
    "gpu": 0,
    "power": {"socket_power": {"value": 41, "unit": "W"}, "throttle_status": "UNTHROTTLED"},
    "temperature": {"edge": "N/A", "hotspot": {"value": 37, "unit": "C"}, "mem": {"value": 48, "unit": "C"}},
    "pcie": {"width": 16, "replay_count": 2},
    "ecc": {"total_correctable_count": 5, "total_uncorrectable_count": 1},
}


@pytest.mark.parametrize("document", [[ENTRY], {"gpu_data": [ENTRY]}], ids=["rocm-6", "rocm-7"])
def test_both_forms_are_read(document: object) -> None:
    found = parse_metric(json.dumps(document), {0: "0000:11:00.0"})
    assert found == (
        AmdSmiGpu(index=0, address="0000:11:00.0", ecc_uncorrected=1, ecc_corrected=5, hotspot_celsius=37.0,
                  memory_celsius=48.0, pcie_replays=2, throttled=False),
    )


def test_what_is_not_there_is_no_zero() -> None:
    found = parse_metric('[{"gpu": 0, "ecc": {"total_uncorrectable_count": "N/A"}, "power": "N/A"}]', {})
    assert found is not None
    assert isinstance(found[0].ecc_uncorrected, Unavailable)
    assert found[0].throttled is None


@pytest.mark.parametrize("text", ["", "ERROR: no driver", "{}", '{"gpu_data": 7}', "[" * 5000])
def test_what_is_no_answer_is_none(text: str) -> None:
    assert parse_metric(text, {}) is None


def test_addresses_come_from_the_list() -> None:
    assert parse_list('[{"gpu": 1, "bdf": "0000:C1:00.0", "uuid": "x"}]') == {1: "0000:c1:00.0"}


def judged(amd_smi: AmdSmi | Unavailable) -> list[str]:
    address = "0000:11:00.0"
    pci = Pci(devices=(PciDevice(address=address, vendor="1002", device="74a1", class_code="1200", driver="amdgpu"),))
    amd = Amd(module_loaded=True, gpus=(AmdGpu(address=address, device="74a1", ras_uncorrected=0, ras_corrected=0),))
    return [r.status for r in judge_check("amd.unhealthy", amd=amd, pci=pci, amd_smi=amd_smi)]


def test_the_higher_count_is_judged_and_throttling_is_a_warning() -> None:
    sick = AmdSmiGpu(index=0, address="0000:11:00.0", ecc_uncorrected=2, throttled=True)
    assert judged(AmdSmi(gpus=(sick,))) == ["fail", "warn"]


def test_without_amd_smi_sysfs_is_enough_and_a_hung_one_is_unknown() -> None:
    assert judged(Unavailable("amd-smi is not installed", "not-applicable")) == ["pass"]
    assert judged(Unavailable("did not answer within 15 s", "timeout")) == ["unknown", "pass"]
