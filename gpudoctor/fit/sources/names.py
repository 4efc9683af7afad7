"""Model names as people type them: Ollama tags, repository ids, renames and re-uploads.

A name is taken apart into what identifies the model and what only says how it is packed. Words that name
another training (a fine-tune) are never dropped: such a name is unknown rather than guessed.
"""

import re
from typing import NamedTuple

from gpudoctor.fit.sources.quantization import canonical, near_dynamic

_QUANT_TAG = r"[-_.:](ud-i?q\d_[a-z0-9_]+|i?q\d(?:_[0-9a-z]+)*|tq\d_0|bf16|fp16|f16|fp32|f32|mxfp4|nvfp4)$"
_PACKED = (
    ("bnb nf4", r"[-_.]unsloth[-_]bnb[-_]4bit|[-_.]bnb[-_]4bit|[-_.]nf4", "NF4"),
    ("bnb", r"[-_.]bnb[-_]8bit", "INT8"),
    ("gptq", r"[-_.]gptq[-_.](?:int)?8(?:bit)?(?:[-_.]\w+)?", "GPTQ-Int8"),
    ("gptq", r"(?:[-_.]autoround)?[-_.]gptq(?:[-_.](?:int)?4(?:bit)?(?:[-_.]\w+)?|[-_.]marlin)?", "GPTQ-Int4"),
    ("gptqmodel autoround", r"[-_.](?:gptqmodel|autoround)[-_.](?:int)?4(?:bit)?", "W4A16"),
    ("awq", r"[-_.]awq[-_.](?:int)?8(?:bit)?", "W8A8"),
    ("awq", r"[-_.]awq(?:[-_.](?:int)?4(?:bit)?)?(?:[-_.]gemm)?|[-_.]int4[-_.]awq", "AWQ"),
    ("fp8", r"[-_.]fp8(?:[-_.](?:dynamic|kv|block|static))*", "FP8"),
    ("fp4", r"[-_.](?:nvfp4|fp4)(?:a16)?(?:[-_.]v\d)?", "NVFP4"),
    ("mxfp4", r"[-_.]mxfp4(?:[-_.]moe)?", "MXFP4"),
    ("w8a", r"[-_.](?:quantized[-_.])?w8a(?:8|16)", "W8A8"),
    ("w4a16 int4", r"[-_.](?:quantized[-_.])?(?:w4a16|int4)(?:[-_.](?:g\d+|autoround))*", "W4A16"),
    ("int8", r"[-_.]int8", "W8A8"),
)
"""Words of which one must be there, the ending of a repository's name, and the quantization it means."""
_ROLE = r"[-_](?:instruct|chat|it|text|base|hf|pt)(?=$|[-_])"
_DATE = r"-(?:2[3-9](?:0[1-9]|1[0-2]))$"
"""A release's year and month, as Ollama appends them to a tag (``24b-instruct-2503``)."""
_HOST = r"^(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/"
_REGISTRY = r"^(?:https?://)?(?:registry\.)?ollama\.(?:com|ai)/(?:library/)?|^library/"
_UNSAFE = r"[\x00-\x1f\x7f\\]|\.\./|/\.\.|//"
LONGEST = 300
"""Characters a name may have."""


class Name(NamedTuple):
    """A name taken apart."""

    text: str
    """As typed."""
    base: str
    """Without host, quantization and file form: ``qwen/qwen3-8b``, ``llama3.3:70b-instruct``; lower case."""
    is_tag: bool
    """Written as an Ollama tag: no owner, or a colon."""
    quantization: str | None = None
    """Canonical, when the name says one."""
    gguf: bool = False
    """The name says that it is a GGUF repository."""
    approximated: str | None = None
    """The dynamic quantization that `quantization` stands in for."""
    repository: str = ""
    """The repository id as typed, without host and quantization after a colon; empty for a tag."""


def _quant(text: str) -> tuple[str | None, str | None]:
    """The canonical quantization in this text, and the text when the quantization only stands in for it."""
    name = canonical(text)
    if name:
        return name, None
    near = near_dynamic(text)
    return (near, text) if near else (None, None)


def parse(text: str) -> Name | None:
    """Take a name apart; None when it cannot be one (control characters, too long, empty)."""
    stripped = text.strip()
    if not stripped or len(stripped) > LONGEST or re.search(_UNSAFE, stripped.replace("://", ":")):
        return None
    base = re.sub(_REGISTRY, "", stripped, flags=re.IGNORECASE)
    hub = bool(re.match(_HOST, base, re.IGNORECASE))
    base = re.sub(_HOST, "", base, flags=re.IGNORECASE).strip("/")
    repository = base.partition(":")[0] if "/" in base else ""
    base = base.lower()
    quantization = approximated = None
    gguf = False
    if ("/" in base) and ":" in base:
        base, _, tail = base.partition(":")
        quantization, approximated = _quant(tail)
        if quantization is None and tail not in ("", "latest"):
            base = f"{base}:{tail}"
    if base.endswith("-gguf"):
        base, gguf = base[:-5].removesuffix("-i1"), True
    is_tag = not hub and ("/" not in base or ":" in base)
    match = re.search(_QUANT_TAG, base)
    if quantization is None and match:
        quantization, approximated = _quant(match.group(1))
        if quantization:
            base = base[: match.start()]
    if quantization is None:
        for words, pattern, quant in _PACKED:
            if not any(word in base for word in words.split()):
                continue
            match = re.search(f"(?:{pattern})$", base)
            if match and match.start() > 0:
                base, quantization = base[: match.start()], quant
                break
    return Name(stripped, base, is_tag, quantization, gguf, approximated, repository)


def keys(name: Name) -> list[str]:
    """What to look the name up under, most exact first."""
    base = name.base
    found = [name.repository.lower()] if name.repository else []
    if name.is_tag:
        model, _, tag = base.partition(":")
        plain = re.sub(_ROLE, "", f"-{tag}").lstrip("-") if tag else "latest"
        undated = re.sub(_DATE, "", plain)
        found += [f"{model}:{tag or 'latest'}", f"{model}:{plain or 'latest'}", f"{model}:{undated or 'latest'}"]
    found.append(base)
    short = base.rpartition("/")[2]
    found += [short, short.removeprefix("meta-"), loose(short)]
    owner, joint, rest = short.partition("_")
    if joint and "/" in base:  # bartowski/Qwen_Qwen3-8B names the first owner too
        found.append(f"{owner}/{rest}")
    return list(dict.fromkeys(found))


def loose(short: str) -> str:
    """A repository name without owner and without the words for its training stage that keep the shape."""
    plain = short.rpartition("/")[2].lower().removeprefix("meta-").replace("_", "-")
    return "~" + re.sub(_ROLE, "", plain).strip("-")


def nearest(text: str, known: list[str], count: int = 3) -> list[str]:
    """The known names most like this one."""
    from difflib import get_close_matches

    wanted = text.lower()[:LONGEST]
    found = get_close_matches(wanted, known, count, 0.55)
    if len(found) < count and "/" in wanted:
        tails = {name.rpartition("/")[2]: name for name in known}
        more = get_close_matches(wanted.rpartition("/")[2], list(tails), count, 0.6)
        found += [tails[name] for name in more if tails[name] not in found]
    return found[:count]
