"""A unified diff for people: no control characters, no secrets."""

import re
from difflib import unified_diff

from gpudoctor.compose.secrets import HIDDEN, is_secret, shown, shown_words
from gpudoctor.reports.words import harmless

_SETTING = re.compile(r"""(?P<name>[A-Za-z_][\w.-]*)(?P<sign>["']?\s*[:=]\s*)(?P<value>"[^"]*"|'[^']*'|[^\s#,}\]]+)""")
_FLAG = re.compile(r"""(?P<flag>--?[a-z][\w-]*)(?P<sign>["']?(?:\s*,\s*|\s+|=)["']?)(?P<value>[^\s"',\]]+)""")
_ALONE = re.compile(r"""\s*-\s+["']?(--?[a-z][\w-]*)["']?,?\s*""")
_REFERENCE = re.compile(r"""["']?\$\{?\w+\}?["']?""")
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]{0,40}PRIVATE KEY-----")
_KEY_IN_LINE = re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(-----END [A-Z ]{0,40}PRIVATE KEY-----|$)")
#: A name whose value is a block of text below it.
_BLOCK = re.compile(r"(?P<indent>[ ]*)(?:- )?[\"']?(?P<name>[A-Za-z_][\w.-]*)[\"']?\s*:\s*[|>][-+0-9]{0,2}\s*(?:#.*)?")
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
    """Return the lines without secrets; one may stand in the line below its flag, or in a block of lines."""
    lines, flag, key, block = text.split("\n"), "", False, -1
    for number, line in enumerate(lines):
        value = line.strip(" \t\r-\"',")
        indent = len(line) - len(line.lstrip(" "))
        block = -1 if value and indent <= block else block
        if (key or block >= 0) and value and not _KEY_ENDS.search(line):
            lines[number] = " " * indent + HIDDEN
        elif flag and value and shown_words([flag, value])[1] and not _REFERENCE.fullmatch(value):
            lines[number] = line.replace(value, HIDDEN)
        else:
            lines[number] = _masked(_KEY_IN_LINE.sub(rf"\1{HIDDEN}\2", line) if _KEY_BEGINS.search(line) else line)
        key = not _KEY_ENDS.search(line) and (key or _KEY_BEGINS.search(line) is not None)
        secret = _BLOCK.fullmatch(line.rstrip("\r"))
        if block < 0 and secret and is_secret(secret["name"], "a value"):
            block = len(secret["indent"])
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
