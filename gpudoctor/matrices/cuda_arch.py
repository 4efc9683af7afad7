"""Which GPUs a list of compiled CUDA architectures runs on.

Machine code `sm_86` runs on its own compute capability and later ones of the same major version (8.9), never on
another major version; `sm_90a` only on 9.0 itself. PTX `compute_80` is compiled by the driver for any later GPU, when
the driver is not older than the toolkit that made it; `compute_100f` only within its major version.
"""

import re
from collections.abc import Iterable
from typing import Literal

_NAME = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")


def coverage(arch_list: Iterable[str], compute_capability: tuple[int, int]) -> Literal["native", "ptx", "none"]:
    """Tell how code built for `arch_list` (`sm_90`, `compute_120`, …) reaches a GPU.

    `native`: machine code for it; `ptx`: the driver must compile; `none`: nothing in the list runs there. Names of
    another form are ignored.
    """
    best: Literal["ptx", "none"] = "none"
    for name in arch_list:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        kind, built, suffix = match[1], (int(match[2]), int(match[3])), match[4]
        same_major = built[0] == compute_capability[0] and built[1] <= compute_capability[1]
        exact = suffix == "a" and built != compute_capability
        if kind == "sm" and same_major and not exact:
            return "native"
        if kind == "compute" and (same_major if suffix == "f" else built <= compute_capability) and not exact:
            best = "ptx"
    return best


def lowest(arch_list: Iterable[str]) -> tuple[int, int] | None:
    """Return the lowest compute capability that a list reaches, None for a list without architectures."""
    found = [_NAME.fullmatch(name) for name in arch_list]
    return min(((int(match[2]), int(match[3])) for match in found if match), default=None)
