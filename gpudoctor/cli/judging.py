"""What the commands that judge have in common: configuration, the choice of checks, the judgement, the report."""

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gpudoctor.cli.failure import Failure

if TYPE_CHECKING:
    from gpudoctor.checking.plugins import Catalogue
    from gpudoctor.checking.policy import Policy
    from gpudoctor.checking.selection import Selection
    from gpudoctor.checking.target import Target
    from gpudoctor.checking.verdict import Judgement
    from gpudoctor.facts.snapshot import Snapshot


def load_configuration(named: Sequence[Path], no_config: bool) -> "Policy":
    """Read /etc's, the user's and the named configuration files."""
    from gpudoctor.checking.policy import ConfigError, load_policy

    home = os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME") or "/") / ".config"
    files = [] if no_config else [Path("/etc/gpudoctor/config.toml"), Path(home) / "gpudoctor" / "config.toml"]
    try:
        policy = load_policy(files, named)
    except ConfigError as error:
        raise Failure(error.message, error.where, error.hint) from None
    # The reproducible-builds convention: judge ends of life as of that day.
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return policy
    try:
        day = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).date()
        return msgspec.structs.replace(policy, today=day.isoformat())
    except (ValueError, OverflowError, OSError):
        raise Failure(f"{epoch[:80]!r} is no time in seconds since 1970", "SOURCE_DATE_EPOCH", "unset it") from None


def select_checks(only: Sequence[str], skip: Sequence[str], require: Sequence[str]) -> "tuple[Catalogue, Selection]":
    """Load the checks and choose among them."""
    from gpudoctor.checking.plugins import load_checks
    from gpudoctor.checking.selection import UnknownId, nearest, select

    catalogue = load_checks()
    try:
        selection = select(catalogue.checks, _split(only), _split(skip))
        for check_id in require:
            if catalogue.get(check_id) is None:
                raise UnknownId(check_id, nearest(check_id, catalogue.checks))
    except UnknownId as error:
        hint = f"did you mean {' or '.join(error.near)}?" if error.near else "gpudoctor list shows every id"
        raise Failure(str(error), "command line", hint) from None
    return catalogue, selection


def judge_snapshot(
    facts: "Snapshot",
    target: "Target",
    policy: "Policy",
    catalogue: "Catalogue",
    selection: "Selection",
    require: Sequence[str],
    fail_on: str,
) -> "Judgement":
    """Run the selected checks and judge their results together with what did not load."""
    from gpudoctor.checking.gates import absent_gpus, left_out_results, nothing_decided
    from gpudoctor.checking.plugins import GROUP
    from gpudoctor.checking.run import run_checks
    from gpudoctor.checking.verdict import DECIDING_SECTIONS, GPU_SECTIONS, gatekeepers_of, judge

    results = run_checks(selection.chosen, facts, target, policy)
    results += left_out_results(selection, facts, target, policy)
    results += absent_gpus(selection, facts, target)
    results += catalogue.broken
    keepers = [c for c in (*selection.chosen, *selection.left_out) if c.gatekeeper_of in DECIDING_SECTIONS]
    about_gpus = [c for c in keepers if c in selection.chosen and c.gatekeeper_of in GPU_SECTIONS]
    results += nothing_decided(about_gpus, results, target)
    unkept = selection.sections & set(DECIDING_SECTIONS) - set(gatekeepers_of(c for c in keepers if c.package == GROUP))
    # A gatekeeper that did not load must not open the gate: its own "could not be loaded" decides then. A third
    # party's gatekeeper stands beside gpudoctor's own, never in its place.
    # What was asked for and could not be tried is not fine.
    tried = [c.id for c in selection.chosen if target.live and c.gatekeeper_of == "live" and c.package == GROUP]
    required = [*require, *tried, *(c.id for c in keepers), *(result.id for result in catalogue.broken if unkept)]
    return judge(results, policy=policy, gatekeepers={}, required=required, fail_on=fail_on)  # type: ignore[arg-type]


def _split(selectors: Sequence[str]) -> list[str]:
    return [part.strip() for text in selectors for part in text.split(",") if part.strip()]


def host_name(facts: "Snapshot") -> str:
    """Return the name of the machine that was judged."""
    from gpudoctor.facts.host import Host

    return facts.host.hostname if isinstance(facts.host, Host) and isinstance(facts.host.hostname, str) else "unknown"


def now() -> str:
    """Return the time as reports have it: UTC, ISO 8601, whole seconds."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
