"""Command lines and variables of others without their secrets: by the option's name, and by the form of the value."""

import re
from collections.abc import Iterable, Mapping, Sequence

from gpudoctor.probes.environment import allowed

#: Words of an option or variable whose value is a secret; "tokens", "tokenizer" and "keyfile" are none.
_WORDS = r"(?:api)?key|token|secret|passw(?:or)?d|passphrase|pass|pwd|credentials?|cookie|auth|authorization|bearer"
_OPTION = re.compile(rf"-{{1,2}}(?:[\w]+[-_.])*(?:{_WORDS})(?:[-_.](?:value|string|id))?", re.IGNORECASE)
#: vLLM takes as many keys after it as there are.
_SEVERAL = ("--api-key",)
_OPTION_INSIDE = re.compile(
    rf"(?<![\w-])(--?(?:\w+[-_.])*(?:{_WORDS})(?:[-_.](?:value|string|id))?)([=\s]\s*)(\"[^\"]*\"?|'[^']*'?|[^\s\"']+)",
    re.IGNORECASE,
)
_ASSIGNMENT = re.compile(
    rf"(?<![\w-])((?:\w+[-_.])*(?:{_WORDS})[\"']?\s*[=:]\s*)((?:Bearer\s+)?(?:\"[^\"]*\"?|'[^']*'?|[^\s\"',;&]+))",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_URL_USER = re.compile(r"(://)[^/@\s]*@")
#: Tokens that show by their form whose they are: Hugging Face, OpenAI and its like, NVIDIA, GitHub, GitLab, AWS,
#: Slack, Google, JSON web tokens.
_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{8,}|sk-[\w-]{8,}|nvapi-[\w-]{8,}|gh[opsur]_[A-Za-z0-9]{8,}|github_pat_\w{8,}"
    r"|glpat-[\w-]{8,}|(?:AKIA|ASIA)[A-Z0-9]{12,}|xox[abprs]-[\w-]{8,}|AIza[\w-]{20,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_HIDDEN = "***"

#: What engines in containers read beside what checks judge everywhere.
_CONTAINER_PREFIXES = ("NVIDIA_", "CUDA_", "SGLANG_", "LLAMA_ARG_", "PYTORCH_", "TORCH_", "GGML_")
_CONTAINER_NAMES = frozenset(
    {"TZ", "MODEL_ID", "NUM_SHARD", "QUANTIZE", "DTYPE", "SHARDED", "MAX_TOTAL_TOKENS", "MAX_INPUT_TOKENS",
     "MAX_INPUT_LENGTH", "MAX_BATCH_PREFILL_TOKENS", "MAX_CONCURRENT_REQUESTS", "PORT", "HF_HUB_OFFLINE",
     "TRANSFORMERS_OFFLINE", "OMP_NUM_THREADS"}
)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|COOKIE|AUTH", re.IGNORECASE)
_MAX_VALUE = 1024
_MAX_TOTAL = 8192


def plain_text(text: str) -> str:
    """Return a text with everything that is a secret by its name or form replaced by ``***``."""
    text = _URL_USER.sub(r"\1***@", text)
    text = _OPTION_INSIDE.sub(rf"\1\2{_HIDDEN}", text)
    text = _ASSIGNMENT.sub(rf"\1{_HIDDEN}", text)
    text = _BEARER.sub(rf"\1 {_HIDDEN}", text)
    return _TOKEN.sub(_HIDDEN, text)


def plain_command(words: Sequence[str]) -> tuple[str, ...]:
    """Return a command line's words, the values of secret options hidden; at most 8192 characters of them."""
    kept: list[str] = []
    hide = several = False
    left = _MAX_TOTAL
    for word in words:
        if hide and not word.startswith("-"):
            kept.append(_HIDDEN)
            hide = several
            continue
        hide = _OPTION.fullmatch(word) is not None
        several = word in _SEVERAL
        short = plain_text(word[:_MAX_TOTAL])[:left]
        kept.append(short)
        left -= len(short) + 1
        if left <= 0:
            break
    return tuple(kept)


def container_environment(variables: Iterable[str]) -> dict[str, str]:
    """Keep the variables of a container (``NAME=value``) that checks judge, without secrets."""
    given = dict(each.partition("=")[::2] for each in variables)
    more = {
        name: value[:_MAX_VALUE]
        for name, value in given.items()
        if name in _CONTAINER_NAMES or (name.startswith(_CONTAINER_PREFIXES) and not _SECRET_NAME.search(name))
    }
    return _bounded({**allowed(given), **more})


def _bounded(variables: Mapping[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    left = _MAX_TOTAL
    for name in sorted(variables):
        value = plain_text(variables[name][:_MAX_VALUE])
        left -= len(name) + len(value) + 2
        if left < 0:
            break
        kept[name[:200]] = value
    return kept
