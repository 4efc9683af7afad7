"""The number of GPUs that a service's command splits its model over: `compose.parallel-mismatch`."""

import re
from typing import Any

from gpudoctor.compose.edit_tree import Refused
from gpudoctor.compose.edits import Edit, Path
from gpudoctor.compose.fix_asks import Ask, only_reservation
from gpudoctor.compose.tree import text_of

_TENSOR = r"(?:--tensor-parallel-size|--tensor_parallel_size|--tp-size|--num-shard|--tp|-tp)"
_OTHER = r"(?:--pipeline-parallel-size|--pp-size|-pp|--data-parallel-size|--dp-size|-dp|--decode-context-parallel-size)"


def fit_parallel(edit: Edit, ask: Ask) -> str:
    """Split over as many GPUs as are reserved, when both numbers stand in the file and heads surely divide."""
    _, entry = only_reservation(edit, ask)
    ids, count = entry.get("device_ids"), entry.get("count")
    reserved = len(ids) if isinstance(ids, list) else count
    if not isinstance(reserved, int) or isinstance(reserved, bool) or reserved < 1:
        raise Refused("how many GPUs the reservation gives depends on the machine")
    found = _places(edit, ask, _TENSOR)
    if not found:
        raise Refused(f"the command says no tensor-parallel size: add one of {reserved}, or reserve fewer GPUs")
    if len(found) > 1:
        raise Refused(f"the tensor-parallel size stands {len(found)} times in the command")
    if _places(edit, ask, _OTHER):
        raise Refused("the command splits over GPUs in two ways: which of them is wrong is yours to say")
    path, pattern, size = found[0]
    if size == reserved:
        raise Refused(f"the command splits over {size} GPUs, as reserved")
    # Heads that divide by 4 divide by 2; by 3 they seldom do.
    if reserved & (reserved - 1):
        raise Refused(f"a split over {reserved} GPUs seldom divides a model's heads: reserve {size} GPUs, or choose")
    edit.rewrite(path, pattern, rf"\g<1>{reserved}")
    return f"split over the {reserved} GPU{'s' if reserved > 1 else ''} reserved, not {size}"


def _places(edit: Edit, ask: Ask, flags: str) -> list[tuple[Path, str, int]]:
    """Return where a flag's number stands: path of the value, pattern within it, and the number."""
    within = rf"((?<![\w-]){flags}(?:=|[\s\\]+)['\"]?)(\d+)(?![\w.])"
    found: list[tuple[Path, str, int]] = []
    for key in ("entrypoint", "command"):
        path = (*ask.path, key)
        written: Any = edit.get(path)
        if isinstance(written, str):
            found += [(path, within, int(match[2])) for match in re.finditer(within, written)]
            continue
        words = [text_of(each) for each in written] if isinstance(written, list) else []
        for number, word in enumerate(words):
            found += [((*path, number), within, int(match[2])) for match in re.finditer(within, word)]
            following = words[number + 1] if number + 1 < len(words) else ""
            if re.fullmatch(flags, word) and following.isdigit() and following.isascii():
                found.append(((*path, number + 1), r"()(\d+)", int(following)))
    return found
