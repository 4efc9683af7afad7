"""The endpoints at a glance, above the findings of ``gpudoctor serving``."""

from collections.abc import Sequence

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.serving import Endpoint, LiveRun, ServedModel, Serving
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.judging.reach import as_address, ways
from gpudoctor.judging.reach_remedies import command_there, port_of
from gpudoctor.judging.served import held, slots_of
from gpudoctor.reports.language import tell
from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import cells, padded, short, size, told

_WIDEST = 60
#: What curl says there in its own words, and what that means.
_OUTCOMES = {
    "Connection refused": "nobody listens at that address, or a firewall says no",
    "timed out": "a firewall, a router or a cloud's security group swallows it",
    "No route to host": "a firewall says no, or the address is of another network",
}
_MOST_MODELS = 8


def table(facts: Snapshot) -> str:
    """Return the table as text that ends with an empty line; empty where nothing was asked."""
    serving = facts.serving
    if not isinstance(serving, Serving) or not serving.endpoints:
        return ""
    head = (tell("endpoint"), tell("engine"), tell("model"), tell("runs on"), tell("context"), tell("slots"),
            tell("speed"))  # fmt: skip
    rows = [head, *(row for each in serving.endpoints for row in _rows(each, facts))]
    texts = [[_cut(short(cell)) for cell in row] for row in rows]
    widths = [max(cells(row[column]) for row in texts) for column in range(len(head))]
    lines = ("  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts)
    return "".join(f"  {line}\n" for line in lines) + "\n"


def trial(facts: Snapshot, sender: str | None) -> str:
    """Return what to run on the other side to try what was worked out here; empty where nobody was named."""
    if sender is None or not isinstance(facts.serving, Serving) or isinstance(facts.firewall, Unavailable):
        return ""
    lines = []
    for each in facts.serving.answering:
        found = ways(port_of(each), each.addresses, facts.firewall, as_address(sender)) if each.local else ()
        lines += [f"    {short(command_there(each, found[0], sender), 300)}\n"] if found else []
    head = told("To try it, run on {sender}:", {"sender": sender})
    means = {tell("a number"): tell("it is reached (401 and 403 want a key)"),
             **{said: tell(meaning) for said, meaning in _OUTCOMES.items()}}  # fmt: skip
    outcomes = "".join(f"    {padded(said, 20)}{meaning}\n" for said, meaning in means.items())
    return f"  {head}\n{''.join(lines)}{outcomes}\n" if lines else ""


def _rows(each: Endpoint, facts: Snapshot) -> list[Sequence[str]]:
    where = each.container or each.url
    if each.failure is not None:
        return [(where, each.engine or "?", retold(each.failure), "", "", "", "")]
    engine = f"{each.engine} {each.version or ''}".strip()
    slots = slots_of(each, facts.containers)
    models = each.loaded[:_MOST_MODELS]
    if not models:
        stored = told("none loaded, {count} on disk", {"count": len(each.models)}) if each.models else tell("none")
        return [(where, engine, stored, "", "", _number(slots), "")]
    return [
        (where if not n else "", engine if not n else "", model.name, _place(each, model, facts),
         _number(model.context), _number(slots), _speed(each, model))
        for n, model in enumerate(models)
    ]  # fmt: skip


def _place(each: Endpoint, model: ServedModel, facts: Snapshot) -> str:
    gpus = ",".join(str(h.gpu) for h in held(each, facts.gpus)) if isinstance(facts.gpus, Gpus) else ""
    on = f"GPU {gpus}" if gpus else "GPU"
    if model.size_bytes and model.gpu_bytes is not None:
        share = min(1.0, model.gpu_bytes / model.size_bytes)
        if share == 0:
            return f"CPU, {size(model.size_bytes)}"
        return f"{on}, {size(model.size_bytes)}" if share == 1 else f"{share:.0%} {on}, {size(model.size_bytes)}"
    return on if gpus else "?"


def _speed(each: Endpoint, model: ServedModel) -> str:
    runs: list[LiveRun] = [run for run in each.live if run.model == model.name and run.completed]
    steps = [f"{run.concurrency}: {run.total_tokens_per_s:g}" for run in runs[1:] if run.total_tokens_per_s]
    if not runs or runs[0].tokens_per_s is None:
        return ""
    return ", ".join([f"{runs[0].tokens_per_s:g} tokens/s", *steps])


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
