"""``gpudoctor plan`` for people: each service's place, a picture of the GPUs' budgets, and what is wrong.

Plain ASCII without any library: it must look the same in every console.
"""

import textwrap
from collections.abc import Iterator, Sequence

from gpudoctor.reports.language import tell
from gpudoctor.reports.plan_schema import PlanDocument, PlanGpu, PlanService
from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import cells, doubled, harmless, padded, size, told, undoubled

VERDICTS = {
    "fits": "EVERYTHING FITS",
    "conflict": "CONFLICT: as it is written the services do not fit; below is what does",
    "does-not-fit": "DOES NOT FIT",
    "unknown": "UNKNOWN: not every size is known",
}
_LABEL = {"fail": "FAIL", "warn": "WARN", "unknown": "UNKNOWN", "info": "note", "pass": "ok"}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_NARROWEST, _WIDEST, _BAR = 40, 200, 60
_LONGEST_NAME = 28


def render(plan: PlanDocument, *, width: int = 100, explain: bool = False) -> str:
    """Return the whole report with a final newline."""
    width = max(_NARROWEST, min(width, _WIDEST))
    lines = [*_head(plan), "", *_services(plan, width), "", *_picture(plan, width), *_findings(plan, width)]
    if explain:
        lines += ["", *_why(plan, width)]
    return "\n".join(lines) + "\n"


def letters(plan: PlanDocument) -> dict[str, str]:
    """Return the letter of each service in the picture; after 62 they begin again."""
    return {each.name: _LETTERS[n % len(_LETTERS)] for n, each in enumerate(plan.services)}


def _head(plan: PlanDocument) -> Iterator[str]:
    yield harmless(f"{retold(plan.machine.name)}: {headline(plan)}")
    yield tell(VERDICTS[plan.verdict])
    if plan.machine.assumed:
        yield harmless(tell("assumed: ") + "; ".join(map(retold, plan.machine.assumed)))


def headline(plan: PlanDocument) -> str:
    """Return what is placed on what."""
    driver = told(", driver {version}", {"version": plan.machine.driver}) if plan.machine.driver else ""
    return told("{count} services on {gpus} GPUs", {"count": len(plan.services), "gpus": len(plan.gpus)}) + driver


def left(gpu: PlanGpu) -> str:
    """Return what is left of a GPU, or missing."""
    if gpu.left_bytes < 0:
        return told("over by {over:bytes} of {total:bytes}", {"over": -gpu.left_bytes, "total": gpu.total_bytes})
    return told("{left:bytes} left of {total:bytes}", {"left": gpu.left_bytes, "total": gpu.total_bytes})


def _services(plan: PlanDocument, width: int) -> Iterator[str]:
    head = ("", tell("service"), tell("runs"), "GPU", tell("needs"), tell("write"))
    rows = [head, *(_row(plan, each) for each in plan.services)]
    widths = [max(cells(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        line = "  ".join(padded(cell, widths[n]) for n, cell in enumerate(row[:5]))
        # What to write is what one copies: a line of its own where the terminal is narrow.
        if cells(line) + 2 + cells(row[5]) <= width - 2:
            yield f"  {line}  {row[5]}".rstrip()
        else:
            yield f"  {line}".rstrip()
            if row is not head and row[5] not in ("-", ""):
                yield f"      {row[5]}"


def _row(plan: PlanDocument, each: PlanService) -> tuple[str, str, str, str, str, str]:
    runs = " ".join(part for part in (each.kind or each.engine or "", each.version or "") if part)
    model = ",".join(each.models)
    where = tell("nowhere") if each.verdict == "does-not-fit" else "?" if each.device_ids is None else ",".join(
        map(str, each.device_ids))
    if each.changed and each.written_device_ids != each.device_ids and each.written_device_ids is not None:
        where = f"{','.join(map(str, each.written_device_ids))} -> {where}"
    sizes = [need.required_bytes for need in each.needs]
    needs = " + ".join(size(each_size) for each_size in sizes) if len(set(sizes)) > 1 else (
        f"{len(sizes)} x {size(sizes[0])}" if len(sizes) > 1 else size(sizes[0]) if sizes else "?")
    told = each.write.partition(", ")[2] if each.device_ids else ""
    return (letters(plan)[each.name], _cut(each.name), _cut(f"{runs} {model}".strip()), where, needs, harmless(told))


def _picture(plan: PlanDocument, width: int) -> Iterator[str]:
    names = [f"GPU {gpu.index}" for gpu in plan.gpus]
    label = max(len(name) for name in names)
    most = max(gpu.total_bytes for gpu in plan.gpus)
    room = max(10, min(_BAR, width - label - 32))
    for name, gpu in zip(names, plan.gpus, strict=True):
        bar = _bar(plan, gpu, room, most)
        yield harmless(f"  {name:{label}} [{bar}]{' ' * (room - len(bar))} {left(gpu)}")
        if gpu.unknown:
            unknown = told("and what {services} takes, which is not known", {"services": gpu.unknown})
            yield harmless(f"  {'':{label}}  {unknown}")
    yield "  " + tell("letters are services, = others or the driver, - kept free, . left")


def _bar(plan: PlanDocument, gpu: PlanGpu, room: int, most: int) -> str:
    """Return the budget as characters: as long as the GPU is large beside the largest one."""
    length = max(4, round(room * gpu.total_bytes / most))
    parts = [("=", gpu.driver_bytes + gpu.other_bytes)]
    shown = letters(plan)
    for each in plan.services:
        parts += [(shown[each.name], need.required_bytes) for need in each.needs if need.gpu == gpu.index]
    parts += [("-", gpu.reserve_bytes), ("?", 1 if gpu.unknown else 0)]
    drawn, until = "", 0
    for letter, count in parts:
        until += count
        end = round(length * min(until, gpu.total_bytes) / gpu.total_bytes)
        # What is there is seen, however small.
        drawn += letter * max(end - len(drawn), 1 if count and letter != "-" and letter != "=" else 0)
    return drawn[:length].ljust(length, ".")


def _findings(plan: PlanDocument, width: int) -> Iterator[str]:
    shown = [each for each in plan.findings if each.status != "skip"]
    if shown:
        yield ""
    for each in shown:
        about = "" if each.subject == "host" else f"{each.subject}: "
        where = f" ({each.location.file}:{each.location.line})" if each.location and each.location.line else ""
        label = _LABEL.get(each.status, each.status)
        yield from _wrapped(f"{label:8} {about}{retold(each.message)}{where}  [{each.id}]", width, 9)
        for step in each.fix:
            command = f" {step.command}" if step.command else ""
            yield from _wrapped(f"         -> {retold(step.text)}{command}", width, 12)


def _why(plan: PlanDocument, width: int) -> Iterator[str]:
    yield "  " + tell("why")
    for each in plan.services:
        source = told("size from {source}", {"source": each.source})
        yield f"    {letters(plan)[each.name]} {_cut(each.name)}: {source}"
        for line in each.why:
            yield from _wrapped(f"      - {retold(line)}", width, 8)
        if each.command:
            yield f"      $ {harmless(each.command)}"
    proved = "no other is better" if plan.search.exact else "the best of those looked at"
    yield "    " + told("placement: {count} ways looked at, {proved}",
                        {"count": plan.search.steps, "proved": tell(proved)})  # fmt: skip


def _wrapped(text: str, width: int, indent: int) -> Sequence[str]:
    lines = textwrap.wrap(doubled(harmless(text)), max(width - 2, 20), subsequent_indent=" " * indent,
                          break_long_words=False, break_on_hyphens=False, drop_whitespace=True)  # fmt: skip
    return [f"  {undoubled(line)}" for line in lines]


def _cut(text: str) -> str:
    text = harmless(text)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."
