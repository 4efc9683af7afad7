"""``dcgmi diag -j``: which tests of NVIDIA's diagnostic ran. What failed says so in words, which are read as a log."""

from typing import Any

from gpudoctor.evidence.blocks import Reading
from gpudoctor.facts.base import Section
from gpudoctor.facts.gpus import Gpus

_HEADS = ("DCGM GPU Diagnostic", "DCGM Diagnostic")


def read(told: Any, line: int) -> Reading | None:
    """Recognise the document of DCGM 2 to 4; None for another."""
    inner = next((told[head] for head in _HEADS if isinstance(told, dict) and head in told), None)
    if not isinstance(inner, dict):
        return None
    driver = inner.get("Driver Version Detected") or inner.get("driver_version")
    sections: dict[str, Section] = {"gpus": Gpus(driver_version=driver[:30])} if isinstance(driver, str) else {}
    return Reading(name="dcgm-diagnostic", sections=sections)
