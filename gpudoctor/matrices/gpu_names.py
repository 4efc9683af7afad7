"""GPU names as people write them, compared with product names."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

# Words that product names and people use or leave out at will.
_VENDOR = frozenset({"nvidia", "geforce", "tesla", "amd", "radeon", "instinct", "gpu", "generation", "card", "edition"})
_FAMILY = frozenset({"rtx", "gtx", "rx", "quadro", "jetson"})

_JOINED = re.compile(r"(nvidia|geforce|quadro|tesla|titan|rtx|gtx|rx|radeon|instinct|jetson)(?=[a-z0-9])")
_SUFFIX = re.compile(r"\b(\d{4})(ti|super|xtx|xt|ada|d)(?=super\b|\b)")
_MEMORY = re.compile(r"\b(\d{1,6})\s*(?:gib|gb|g)\b", re.ASCII)
_SXM = re.compile(r"\bsxm\d?\b")

Gpu = TypeVar("Gpu")


class AskedName(NamedTuple):
    """A written name taken apart. `memory_gb` is None when the name gives no size."""

    words: frozenset[str]
    memory_gb: int | None

    def memory_is(self, mib: int) -> bool:
        """Tell whether a card with this total is sold under the size asked for.

        NVML shows up to 10 % less than the box says (ECC, reserved memory), hardly ever more.
        """
        return self.memory_gb is None or 0.9 * self.memory_gb <= mib / 1024 <= 1.03 * self.memory_gb

    def memory_fits(self, totals_mib: Iterable[int], names: Iterable[str]) -> bool:
        """Tell whether the size asked for is a total of this card, or stands in its name; no size known fits all."""
        if self.memory_gb is None:
            return True
        totals = tuple(totals_mib)
        named = {size for size in (parse(name).memory_gb for name in names) if size}
        if not totals and not named:
            return True
        return self.memory_gb in named or any(self.memory_is(mib) for mib in totals)


@lru_cache(maxsize=1024)
def parse(text: str) -> AskedName:
    """Take a written name apart; never fails."""
    text = text.lower().replace("max-q", "maxq").replace("(tm)", " ").replace("(r)", " ")
    size = _MEMORY.search(text)
    text = _SXM.sub("sxm", _MEMORY.sub(" ", text))
    text = _SUFFIX.sub(r"\1 \2 ", _JOINED.sub(r"\1 ", text))
    words = frozenset(re.findall(r"[a-z0-9]+", text))
    return AskedName(words - _VENDOR, int(size.group(1)) if size else None)


def matching(asked: AskedName, gpus: Iterable[Gpu], names_of: Callable[[Gpu], Iterable[str]]) -> tuple[Gpu, ...]:
    """Return the GPUs one of whose names holds every word asked for; only the exact ones when there are some."""
    words = asked.words
    if not words - _FAMILY:
        return ()
    named = [(gpu, [parse(name).words for name in names_of(gpu)]) for gpu in gpus]
    found = [(gpu, names) for gpu, names in named if any(words <= name for name in names)]
    if not found:
        # "Quadro A6000", "RTX 1080": the number says which card, the family word is wrong.
        words = words - _FAMILY
        found = [(gpu, names) for gpu, names in named if any(words <= name for name in names)]
    exact = [gpu for gpu, names in found if any(_same(words, name) for name in names)]
    return tuple(exact or (gpu for gpu, _ in found))


def nearest(text: str, names: Sequence[str], count: int) -> tuple[str, ...]:
    """Return the `count` names closest to `text`, the closest first; fewer when nothing is close."""
    import difflib

    plain = {" ".join(sorted(parse(name).words - _FAMILY)): name for name in names}
    asked = " ".join(sorted(parse(text).words - _FAMILY))
    return tuple(plain[key] for key in difflib.get_close_matches(asked, plain, n=count, cutoff=0.5))


def _same(asked: frozenset[str], name: frozenset[str]) -> bool:
    # "4090" is the RTX 4090 and "RTX 6000" is nobody in particular: three generations were sold as that.
    if "quadro" in name and "quadro" not in asked:
        return False
    return asked - {"rtx", "gtx", "rx"} == name - {"rtx", "gtx", "rx"} if "titan" not in name else asked == name
