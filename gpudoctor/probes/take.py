"""Taking a snapshot: run the probes, make typed facts of what came, and keep a reason for the rest."""

import datetime
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import msgspec

from gpudoctor.facts.base import Reason, Unavailable
from gpudoctor.facts.snapshot import ProbeRun, Snapshot, section_types
from gpudoctor.probes import FIREWALL, PROBES, SERVING
from gpudoctor.probes.runner import ProbeAnswer, run_probes


def take_snapshot(
    *,
    root: str = "/",
    timeout: float = 45.0,
    deep: bool = False,
    live: bool = False,
    sections: Collection[str] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[Sequence[str]], None] | None = None,
) -> Snapshot:
    """Read this machine. It never raises for what a machine does: what is missing carries its reason.

    Args:
        root: Prefix of every file read.
        timeout: Seconds for the whole.
        deep: Run the probes that use the GPU, too.
        live: Run the probe that starts containers, too.
        sections: Read only these (and whatever shares their child); None reads all.
        options: For the probes that know them.
        progress: Called now and then with the names of the probes still running.
    """
    specs = [
        spec
        for spec in PROBES
        if (deep or not spec.deep)
        and (live or not spec.live)
        and (sections is None or set(spec.sections) & set(sections))
    ]
    started = time.monotonic()
    answers: list[ProbeAnswer] = []
    # What uses the GPUs comes last: it would show up in the others' temperatures, clocks and process lists.
    for turn in ((False, False), (True, False), (False, True)):
        left = max(1.0, timeout - (time.monotonic() - started))
        now = [spec for spec in specs if (spec.deep, spec.live) == turn]
        answers += run_probes(now, root=root, timeout=left, options=options, progress=progress) if now else []
    facts: dict[str, Any] = {}
    for answer in answers:
        facts.update(_sections(answer))
    return Snapshot(
        recorded=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        probes=tuple(ProbeRun(name=a.name, outcome=a.outcome, duration_s=a.duration_s) for a in answers),
        **facts,
    )


def serving_sections(
    candidates: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    progress: Callable[[Sequence[str]], None] | None = None,
) -> dict[str, Any]:
    """Ask engines at work, and read what stands before those of this machine; return ``serving`` and ``firewall``.

    Every address costs at most its own patience.
    """
    asked = {**options, "candidates": list(candidates)}
    specs = [SERVING, *([FIREWALL] if any(each.get("local") for each in candidates) else [])]
    answers = run_probes(specs, timeout=3600.0, options=asked, progress=progress)
    return {name: fact for answer in answers for name, fact in _sections(answer).items()}


def _sections(answer: ProbeAnswer) -> dict[str, Any]:
    types = section_types()
    found: dict[str, Any] = {}
    for name, raw in answer.sections.items():
        try:
            found[name] = msgspec.convert({"status": "recorded", **raw}, types[name])
        except msgspec.ValidationError as error:
            reason, kind = answer.missing.get(name, (f"the {answer.name} probe left it incomplete: {error}", "error"))
            found[name] = Unavailable(reason, cast(Reason, kind))
    for name, (reason, kind) in answer.missing.items():
        found.setdefault(name, Unavailable(reason, cast(Reason, kind)))
    return found
