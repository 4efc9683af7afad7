"""Thresholds and acceptances: the shipped ones with their sources, and what a user's TOML files change."""

import datetime
import difflib
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from gpudoctor.checking.finding import Acceptance

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_CONFIG_BYTES = 1024 * 1024


class ConfigError(Exception):
    """A configuration that cannot be used. ``where`` is file and key; ``hint`` says what to do."""

    def __init__(self, message: str, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number of the policy, with its unit and where it comes from ("ours" = no outside authority)."""

    value: float
    unit: str
    source: str
    about: str


class Accept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[accept]]`` entry. ``id`` may be a glob; ``until`` is the last day on which it holds.

    A gatekeeper that fails or cannot look is covered only by an entry that names it: behind it nothing was judged.
    """

    id: str
    reason: str
    subject: str = "*"
    until: datetime.date | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The thresholds in force, the acceptances, and the files they came from."""

    thresholds: dict[str, float]
    accept: tuple[Accept, ...] = ()
    files: tuple[str, ...] = ()
    today: str = ""

    def __getitem__(self, name: str) -> float:
        """Return a threshold. A name that policy.toml lacks is a programming error."""
        return self.thresholds[name]

    def acceptance(
        self, check_id: str, subject: str, *, by_name: bool = False
    ) -> tuple[Acceptance | None, str | None]:
        """Return the acceptance that covers a finding, and the day on which an expired one ended.

        With ``by_name`` only an entry that names this very id counts, no glob.
        """
        expired: str | None = None
        for entry in self.accept:
            named = check_id == entry.id if by_name else fnmatchcase(check_id, entry.id)
            if named and fnmatchcase(subject, entry.subject):
                until = entry.until.isoformat() if entry.until else None
                if until is None or self.today <= until:
                    return Acceptance(entry.reason, until), None
                expired = until
        return None, expired


@cache
def shipped() -> dict[str, Threshold]:
    """Return the thresholds that gpudoctor ships, by name."""
    text = (Path(__file__).parent / "policy.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["thresholds"], dict[str, Threshold])


def default_policy() -> Policy:
    """Return the shipped policy with nothing accepted."""
    return Policy(
        thresholds={name: row.value for name, row in shipped().items()},
        today=datetime.date.today().isoformat(),
    )


def load_policy(files: Iterable[Path], required: Iterable[Path] = ()) -> Policy:
    """Return the shipped policy changed by these files, later ones over earlier ones.

    Args:
        files: Files that may be absent (``/etc``, the user's own).
        required: Files that the user named (``--config``).

    Raises:
        ConfigError: A file is missing though named, unreadable, broken, or sets something that does not exist.
    """
    policy = default_policy()
    thresholds, accept, used = dict(policy.thresholds), list[Accept](), list[str]()
    named = list(required)
    for path in [*files, *named]:
        try:
            if path not in named and not path.exists():
                continue
            with path.open("rb") as file:
                data = file.read(MAX_CONFIG_BYTES + 1)
        except OSError as error:
            hint = "" if path in named else "HOME may be another user's; --no-config runs without it"
            raise ConfigError(f"cannot read: {error.strerror or error}", str(path), hint) from None
        if len(data) > MAX_CONFIG_BYTES:
            raise ConfigError("larger than 1 MiB, so it is no configuration", str(path))
        changes, accepted = _parse(data, str(path))
        thresholds.update(changes)
        accept.extend(accepted)
        used.append(str(path))
    return Policy(thresholds=thresholds, accept=tuple(accept), files=tuple(used), today=policy.today)


def _parse(data: bytes, where: str) -> tuple[dict[str, float], list[Accept]]:
    try:
        table: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"broken TOML: {error}", where) from None
    for key in table:
        if key not in ("thresholds", "accept"):
            raise ConfigError(f"unknown key {key!r}", where, "a configuration has [thresholds] and [[accept]]")
    changes = table.get("thresholds", {})
    if not isinstance(changes, dict):
        raise ConfigError("[thresholds] is no table", where)
    for name, value in changes.items():
        if name not in shipped():
            near = difflib.get_close_matches(name, shipped(), 1)
            raise ConfigError(f"unknown threshold {name!r}", where, f"did you mean {near[0]!r}?" if near else "")
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:
            raise ConfigError(f"threshold {name!r} must be a number, not {value!r}", where)
    try:
        accepted = msgspec.convert(table.get("accept", []), list[Accept])
    except msgspec.ValidationError as error:
        hint = "an entry has id and reason, and may have subject and until (a date)"
        raise ConfigError(f"in [[accept]]: {error}", where, hint) from None
    for entry in accepted:
        if not entry.reason.strip():
            raise ConfigError(f"[[accept]] of {entry.id!r} needs a reason", where)
    return {name: float(value) for name, value in changes.items()}, accepted
