"""A unified diff for people: no control characters, no secrets."""

import re
from difflib import unified_diff

from gpudoctor.compose.secrets import HIDDEN, is_secret, shown, shown_words
from gpudoctor.reports.words import harmless

_SETTING = re.compile(r"""(?P<name>[A-Za-z_][\w.-]*)(?P<sign>["']?\s*[:=]\s*)(?P<value>"[^"]*"|'[^']*'|[^\s#,}\]]+)""")
_FLAG = re.compile(r"""(?P<flag>--?[a-z][\w-]*)(?P<sign>["']?(?:\s*,\s*|\s+|=)["']?)(?P<value>[^\s"',\]]+)""")
_ALONE = re.compile(r"""\s*-\s+["']?(--?[a-z][\w-]*)["']?,?\s*""")
_REFERENCE = re.compile(r"""["']?\$\{?\w+\}?["']?""")
_COLORS = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"}


def unified(before: str, after: str, name: str) -> str:
    """Return the difference as ``diff -u`` writes it, secrets masked; empty when there is none."""
    old, new = (_lines(text) for text in (before, after))
    out = []
    for line in unified_diff(old, new, f"a/{name.lstrip('/')}", f"b/{name.lstrip('/')}", lineterm=""):
        out.append(harmless(line.removesuffix("\n").removesuffix("\r")))
        if line[:1] in "+- " and not line.endswith("\n") and not line.startswith(("--- ", "+++ ")):
            out.append("\\ No newline at end of file")
    return "".join(line + "\n" for line in out)


def colored(diff: str) -> str:
    """Return the diff with the colours that people know."""
    return "".join(_painted(line) + "\n" for line in diff.split("\n")[:-1])


def _painted(line: str) -> str:
    color = "" if line.startswith(("--- ", "+++ ")) else _COLORS.get(line[:1], "")
    return f"{color}{line}\x1b[0m" if color else line


def _lines(text: str) -> list[str]:
    """Return the lines without secrets; one may stand in the line below its flag."""
    lines, flag = text.split("\n"), ""
    for number, line in enumerate(lines):
        value = line.strip(" \t\r-\"',")
        if flag and value and shown_words([flag, value])[1] and not _REFERENCE.fullmatch(value):
            lines[number] = line.replace(value, HIDDEN)
        else:
            lines[number] = _masked(line)
        alone = _ALONE.fullmatch(line)
        flag = alone[1] if alone else ""
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _masked(line: str) -> str:
    line = _SETTING.sub(_mask_setting, line)
    line = _FLAG.sub(_mask_flag, line)
    return shown("", shown_words([line])[0][0]) or ""


def _mask_setting(match: "re.Match[str]") -> str:
    value = match["value"]
    secret = is_secret(match["name"], value.strip("\"'")) and not _REFERENCE.fullmatch(value)
    return match["name"] + match["sign"] + HIDDEN if secret else match[0]


def _mask_flag(match: "re.Match[str]") -> str:
    secret = shown_words([match["flag"], match["value"]])[1] and not _REFERENCE.fullmatch(match["value"])
    return match["flag"] + match["sign"] + HIDDEN if secret else match[0]
