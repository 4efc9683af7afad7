"""APT's own configuration language, as far as it says whether and what is upgraded by itself."""

import re
from collections.abc import Iterable, Mapping

_TOKEN = re.compile(
    r"//[^\n]*|#(?!clear\b)[^\n]*|/\*(?:.*?\*/|.*)"  # comments
    r'|"([^"\n]*)"'  # a value
    r'|([^\s"{};]+)'  # a name, or a bare value
    r"|([{};])",
    re.DOTALL,
)
_MAX_TOKENS = 20_000

AptConfig = dict[str, list[str]]


def parse_apt_config(texts: Iterable[str]) -> AptConfig:
    """Return every option's values by lower-case name; later files add to lists, and a scalar's last value counts.

    Sample input:
        APT::Periodic::Unattended-Upgrade "1";
        Unattended-Upgrade::Package-Blacklist { "nvidia-"; "linux-modules-nvidia"; };
    """
    found: AptConfig = {}
    for text in texts:
        _read(text, found)
    return found


def _read(text: str, found: AptConfig) -> None:
    scope: list[str] = []
    name: str | None = None
    values: list[str] = []
    for number, token in enumerate(_TOKEN.finditer(text)):
        if number > _MAX_TOKENS:
            return
        quoted, word, mark = token[1], token[2], token[3]
        if mark == "{":
            scope.append(name or "")
            name, values = None, []
        elif mark in (";", "}"):
            _keep(found, scope, name, values)
            name, values = None, []
            if mark == "}" and scope:
                scope.pop()
        elif quoted is not None:
            values.append(quoted)
        elif word is not None:
            if name is None:
                name = word
            else:
                values.append(word)


def _keep(found: AptConfig, scope: list[str], name: str | None, values: list[str]) -> None:
    if name is not None and name.lower() == "#clear":
        for cleared in values:
            for known in [key for key in found if key == cleared.lower() or key.startswith(cleared.lower() + "::")]:
                del found[known]
    elif name is not None or values:
        key = "::".join(part for part in (*scope, name or "") if part).lower().removesuffix("::")
        found.setdefault(key, []).extend(values)


def flag(config: Mapping[str, list[str]], name: str) -> bool | None:
    """Return whether the option is on; None when it is not set. APT takes intervals (``1``, ``7d``) for on."""
    values = config.get(name.lower())
    if not values:
        return None
    return values[-1].strip().lower() not in ("0", "", "false", "no", "off", "disable")
