"""The rules that every check keeps."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpudoctor.checking.causes import EXPLAINS
from gpudoctor.checking.plugins import load_checks
from gpudoctor.checking.policy import shipped
from gpudoctor.checking.registry import HEADINGS, Check
from gpudoctor.facts.snapshot import section_types

CHECKS = Path(__file__).parents[2] / "checks"
CATALOGUE = load_checks()
BUILT_IN = [c for c in CATALOGUE.checks if c.package == "gpudoctor.checks"]
FINDINGS = {"passed", "failed", "warned", "noted", "unknown", "skipped"}

#: Ids are public API: one that was released is never renamed.
_RELEASED = """
pci.no-gpu driver.not-loaded driver.nouveau-bound driver.blocked-by-secure-boot driver.missing-for-next-kernel
driver.wrong-flavour driver.gpu-unsupported driver.bar-too-small driver.nvml-unusable driver.library-mismatch
driver.library-only-on-ld-path driver.device-nodes driver.uvm-broken driver.too-old driver.end-of-life
driver.unheld-upgrade driver.reboot-pending driver.persistence-off driver.iommu-passthrough-off
driver.wsl-linux-driver driver.wsl-libcuda-missing gpu.not-responding gpu.recovery-needed gpu.count-short
gpu.ecc-off gpu.ecc-uncorrected gpu.ecc-corrected-high gpu.sram-ecc-threshold gpu.row-remap-failed
gpu.row-remap-pending gpu.row-remap-exhausted gpu.pages-retired gpu.repair-pending gpu.xid gpu.sxid
gpu.inforom-corrupt gpu.too-hot gpu.memory-too-hot gpu.throttled gpu.power-limited gpu.pcie-narrow gpu.pcie-slow
gpu.pcie-replays gpu.nvlink-down gpu.nvlink-errors gpu.no-nvlink gpu.fabric-manager-missing
gpu.fabric-manager-mismatch gpu.fabric-not-ready gpu.mig-unexpected gpu.compute-mode gpu.memory-in-use
gpu.mixed-kinds gpu.mixed-vbios gpu.far-apart gpu.bar1-small gpu.p2p-broken gpu.lost-before gpu.psu-short
gpu.idle-hot cuda.unusable host.ram-short host.oom-kills host.swap-none host.disk-short host.disk-slow
host.disk-failing host.port-taken host.fabric-link host.limits-low host.acs-on host.clock-unsynced
host.locale-not-utf8 host.cgroup-v1 host.monitoring-absent amd.driver-missing amd.no-access amd.rocm-too-old
amd.unhealthy amd.iommu
stack.cuda-too-new stack.ptx-too-new stack.forward-compat stack.nvcc-missing stack.nvrtc-headers-missing
stack.compiler-too-old stack.libraries-missing stack.cudnn stack.library-shadowed torch.cpu-only torch.arch-missing
torch.driver-too-old engine.gpu-unsupported engine.driver-too-old engine.cuda-runtime-missing engine.torch-mismatch
engine.model-unknown engine.dtype-unsupported engine.quant-unsupported engine.attention-unsupported
engine.parallel-indivisible engine.mig-uuid env.visible-devices env.harmful env.ignored env.hf-token-missing
"""


def files() -> list[Path]:
    return sorted(p for p in CHECKS.glob("*/*.py") if not p.name.startswith("_"))


def calls(tree: ast.AST, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def test_every_built_in_check_loads() -> None:
    assert [r.finding.params for r in CATALOGUE.broken] == []


def test_no_released_id_is_gone() -> None:
    assert set(_RELEASED.split()) - {c.id for c in BUILT_IN} == set()


@pytest.mark.parametrize("each", BUILT_IN, ids=lambda c: c.id)
def test_manual_has_its_headings_and_a_source(each: Check) -> None:
    headings = re.findall(r"^## .+$", each.manual, re.MULTILINE)
    assert tuple(headings) == HEADINGS
    references = each.manual.partition("## References")[2]
    assert re.search(r"https?://\S+", references), "a rule without a source"
    assert each.title.endswith("."), "the first paragraph is one sentence"
    assert each.function.__doc__


@pytest.mark.parametrize("each", BUILT_IN, ids=lambda c: c.id)
def test_id_names_a_problem_in_words(each: Check) -> None:
    assert re.fullmatch(r"[a-z0-9]+\.[a-z0-9]+(-[a-z0-9]+)*", each.id)
    assert not re.search(r"\b(check|should|must|test)\b", each.id)


def test_every_section_has_one_gatekeeper() -> None:
    """Else a probe that failed would only cause skips: a green report."""
    keepers = [c.gatekeeper_of for c in BUILT_IN if c.gatekeeper_of]
    assert sorted(keepers) == sorted(section_types())


def literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.mark.parametrize("path", files(), ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_templates_are_literal_and_their_values_are_given(path: Path) -> None:
    """A sentence put together in a check could not be translated."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in calls(tree, FINDINGS):
        template = literal(call.args[1]) if len(call.args) > 1 else None
        assert template is not None, f"{path.name}:{call.lineno}: the message is no literal"
        if all(keyword.arg for keyword in call.keywords):
            given = {keyword.arg for keyword in call.keywords} - {"fix", "evidence", "links"}
            assert placeholders(template) <= given, f"{path.name}:{call.lineno}: a value is missing"
    for call in calls(tree, {"step"}):
        for argument in call.args[:2]:
            is_none = isinstance(argument, ast.Constant) and argument.value is None
            assert is_none or literal(argument) is not None, f"{path.name}:{call.lineno}: a fix is no literal"


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_the_cause_graph_names_real_checks() -> None:
    ids = {c.id for c in BUILT_IN}
    explained = {e for symptoms in EXPLAINS.values() for e in symptoms if "*" not in e}
    assert (set(EXPLAINS) | explained) - ids == set()


def test_every_threshold_is_used_and_sourced() -> None:
    text = "".join(p.read_text(encoding="utf-8") for p in files())
    for name, row in shipped().items():
        assert f'"{name}"' in text, f"no check reads {name}"
        assert row.source
        assert row.unit
