"""One question in one call, for checks and plans: a model's name, an engine, a machine."""

from collections.abc import Sequence

from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.fit.answer import answer
from gpudoctor.fit.asking import question
from gpudoctor.fit.machine import hardware_of
from gpudoctor.fit.question import Answer
from gpudoctor.fit.settings import Settings


def ask(
    name: str, engine: str | None, version: str | None, snapshot: Snapshot, gpus: Sequence[int] | None = None
) -> Answer:
    """Judge a model on a recorded machine with an engine's defaults; no advice is computed.

    Raises Unusable for a model, engine or GPU that cannot be judged.
    """
    asked = question(name, Settings(engine=engine, version=version), hardware_of(snapshot, gpus))
    return answer(asked, advise=False)
