"""For tests of checks, ours and third parties': run one check by id on hand-made facts."""

from typing import Any

import msgspec

from gpudoctor.checking.finding import Result
from gpudoctor.checking.plugins import Catalogue, load_checks
from gpudoctor.checking.policy import Policy, default_policy
from gpudoctor.checking.run import run_checks
from gpudoctor.checking.target import Target
from gpudoctor.facts.snapshot import Snapshot

_loaded: list[Catalogue] = []


def judge_check(
    check_id: str, *, target: Target | None = None, policy: Policy | None = None, **sections: Any
) -> list[Result]:
    """Run one check on the sections given and return its results; sections not given are unavailable.

    Raises:
        LookupError: No check has this id.
    """
    if not _loaded:
        _loaded.append(load_checks())
    found = _loaded[0].get(check_id)
    if found is None:
        raise LookupError(check_id)
    snapshot = msgspec.structs.replace(Snapshot(), **sections)
    return run_checks([found], snapshot, target or Target(), policy or default_policy())
