"""The plan as a picture (SVG) and as one page by itself (HTML), without scripts."""

from typing import Any, NamedTuple

from gpudoctor.reports.html import environment
from gpudoctor.reports.language import tell
from gpudoctor.reports.plan_console import VERDICTS, headline, left, letters
from gpudoctor.reports.plan_schema import PlanDocument, PlanGpu, PlanNeed
from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import size, told

#: Terms of a service's memory, darkest first, with their opacity.
TERMS = (("weights", 1.0), ("kv_cache", 0.75), ("compute", 0.55), ("overhead", 0.4))
_NAMES = {"weights": "weights", "kv_cache": "KV cache", "compute": "compute", "overhead": "context and graphs"}
#: Colours that people who confuse red and green tell apart, on white and on black (Okabe and Ito's set).
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b3a800", "#8c6bb1")
_LEFT, _BAR, _ROW, _HEIGHT, _RIGHT = 90, 560, 44, 24, 170


class Block(NamedTuple):
    """A rectangle of the picture, in its units."""

    x: float
    width: float
    color: str
    opacity: float
    title: str
    letter: str = ""


def svg(plan: PlanDocument) -> str:
    """Return the budgets of all GPUs as one SVG document."""
    text = environment().get_template("plan.svg.j2").render(picture=_picture(plan), alone=True)
    return text if text.endswith("\n") else text + "\n"


def render(plan: PlanDocument) -> str:
    """Return the plan as one self-contained page."""
    shown = [each for each in plan.findings if each.status != "skip"]
    return environment().get_template("plan.html.j2").render(
        plan=plan, title=f"gpudoctor plan: {retold(plan.machine.name)}", verdict=tell(VERDICTS[plan.verdict]),
        status={"fits": "pass", "unknown": "unknown"}.get(plan.verdict, "fail"), findings=shown,
        letters=letters(plan), colors=_colors(plan), headline=headline(plan), picture=_picture(plan), size=size,
        alone=False,
    )  # fmt: skip


def _short(name: str) -> str:
    """Return what tells a card from others, short enough to stand beside its bar."""
    for word in ("NVIDIA ", "GeForce ", "Quadro ", "Radeon "):
        name = name.replace(word, "")
    return name if len(name) <= 15 else f"{name[:13]}.."


def _colors(plan: PlanDocument) -> dict[str, str]:
    return {each.name: COLORS[n % len(COLORS)] for n, each in enumerate(plan.services)}


def _picture(plan: PlanDocument) -> dict[str, Any]:
    most = max(gpu.total_bytes for gpu in plan.gpus)
    rows = [
        {
            "y": 10 + n * _ROW, "label": f"GPU {gpu.index}", "name": gpu.name, "short": _short(gpu.name),
            "width": _BAR * gpu.total_bytes / most,
            "blocks": _blocks(plan, gpu, most),
            "left": left(gpu),
        }
        for n, gpu in enumerate(plan.gpus)
    ]  # fmt: skip
    legend = [
        {"x": _LEFT + 190 * (n % 3), "y": 30 + len(rows) * _ROW + 22 * (n // 3), "color": color,
         "name": f"{letters(plan)[name]} {name[:22]}"}
        for n, (name, color) in enumerate(_colors(plan).items())
    ]  # fmt: skip
    height = 30 + len(rows) * _ROW + 22 * -(-len(legend) // 3) + 10
    return {"rows": rows, "legend": legend, "width": _LEFT + _BAR + _RIGHT, "height": height, "left": _LEFT,
            "bar": _HEIGHT, "title": told("GPU budgets of {machine}", {"machine": plan.machine.name})}


def _blocks(plan: PlanDocument, gpu: PlanGpu, most: int) -> list[Block]:
    scale = _BAR / most
    found: list[Block] = []
    at = float(_LEFT)

    def add(count: int, color: str, opacity: float, title: str, letter: str = "") -> None:
        nonlocal at
        width = count * scale
        found.append(Block(round(at, 2), round(width, 2), color, opacity, title, letter if width > 14 else ""))
        at += width

    others = gpu.driver_bytes + gpu.other_bytes
    add(others, "#777777", 0.6, told("driver and others: {bytes:bytes}", {"bytes": others}))
    for service in plan.services:
        for need in service.needs:
            if need.gpu == gpu.index:
                for count, opacity, what in _terms(need):
                    letter = letters(plan)[service.name] if opacity == 1.0 else ""
                    add(count, _colors(plan)[service.name], opacity, f"{service.name}, {what}: {size(count)}", letter)
    if gpu.reserve_bytes:
        add(gpu.reserve_bytes, "#777777", 0.25, told("kept free: {bytes:bytes}", {"bytes": gpu.reserve_bytes}))
    return [block for block in found if block.width > 0]


def _terms(need: PlanNeed) -> list[tuple[int, float, str]]:
    """Return the terms of a need that add up to what is set aside, the rest as one."""
    known = [(getattr(need, name), opacity, tell(_NAMES[name])) for name, opacity in TERMS if getattr(need, name)]
    rest = need.required_bytes - sum(count for count, _, _ in known)
    if rest < 0 or not known:
        return [(need.required_bytes, 1.0, tell("memory"))]
    return [*known, *([(rest, 0.4, tell("rest"))] if rest else [])]
