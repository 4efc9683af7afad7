"""What is a secret in a Compose file, by its name or its form, so that its value goes no further than this."""

import re

HIDDEN = "***"
_NAME = re.compile(
    r"(?:^|[_-])(?:TOKEN|SECRET|PASSWORD|PASSWD|PASS|PWD|PASSPHRASE|CREDENTIALS?|COOKIE|APIKEY|KEY)(?:$|[_-])",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"_(?:FILE|PATH|DIR|NAME|ID|TYPE|URL|LENGTH|LIMIT)$", re.IGNORECASE)
#: Forms that their makers publish: Hugging Face, OpenAI, GitHub, AWS, Slack, NVIDIA's NGC.
_VALUE = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[A-Z0-9]{16}|xox[abp]-[\w-]{10,}"
    r"|nvapi-[\w-]{20,})"
)
_URL_USER = re.compile(r"(://)[^/@\s:]*:[^/@\s]+@")
#: What people write where a program insists on a key and nobody checks it.
_PLACEHOLDERS = frozenset({"", "empty", "none", "null", "dummy", "not-needed", "no-key", "no-key-required", "na", "n/a",
                           "sk-no-key-required", "false", "true", "0", "1"})
_FLAGS = re.compile(r"--?(?:[a-z0-9]+[-_])*(?:api[-_]?keys?|hf[-_]?token|token|password|secret)", re.IGNORECASE)

#: In the line that a shell is given. ``$KEY`` is no secret: the shell fills it in.
_INSIDE = re.compile(
    rf"(?<![\w-])({_FLAGS.pattern})([ \t]+|=)(\"[^\"$]+\"|'[^'$]+'|[^\s\"'$-][^\s\"'$]*)", re.IGNORECASE)


def is_secret(name: str, value: str | None) -> bool:
    """Tell whether a variable's value must not be shown."""
    if value is None:
        return False
    named = _NAME.search(name) is not None and not _NO_SECRET.search(name)
    return (named and not _stands_for_one(value)) or _VALUE.search(value) is not None


def _stands_for_one(value: str) -> bool:
    """True for what is written where a secret would stand: ``none``, ``<your token>``."""
    value = value.strip()
    return value.lower() in _PLACEHOLDERS or (value.startswith("<") and value.endswith(">"))


def has_password(value: str | None) -> bool:
    """Tell whether an address in the value carries a password."""
    return value is not None and _URL_USER.search(value) is not None


def shown(name: str, value: str | None) -> str | None:
    """Return a value as it may be kept: secrets and passwords in addresses read ``***``."""
    if value is None or is_secret(name, value):
        return None if value is None else HIDDEN
    return _URL_USER.sub(rf"\1{HIDDEN}@", value)


def shown_words(words: list[str]) -> tuple[tuple[str, ...], list[tuple[int, str]]]:
    """Return a command without its secrets, and where they stood: (position of the value, the flag's name)."""
    kept: list[str] = []
    found: list[tuple[int, str]] = []
    flag = ""
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if flag and not word.startswith("-"):
            # Placeholders stand there, too.
            secret = not _stands_for_one(word)
            kept.append(HIDDEN if secret else word)
            if secret:
                found.append((at, flag))
        elif equals and _FLAGS.fullmatch(name) and not _stands_for_one(value):
            kept.append(f"{name}={HIDDEN}")
            found.append((at, name))
        elif (inside := _INSIDE.search(word)) is not None and not _stands_for_one(inside[3].strip("\"'")):
            kept.append(_URL_USER.sub(rf"\1{HIDDEN}@", _VALUE.sub(HIDDEN, _INSIDE.sub(rf"\1\2{HIDDEN}", word))))
            found.append((at, inside[1]))
        elif _VALUE.search(word):
            kept.append(_VALUE.sub(HIDDEN, word))
            found.append((at, "a key"))
        else:
            kept.append(_URL_USER.sub(rf"\1{HIDDEN}@", word))
        flag = word if _FLAGS.fullmatch(word) else ""
    return tuple(kept), found
