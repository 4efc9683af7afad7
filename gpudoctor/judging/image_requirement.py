"""NVIDIA_REQUIRE_CUDA of an image: alternatives between spaces, conditions between commas, all of one must hold."""

import re

from gpudoctor.judging.cuda_fit import reaches

_CONDITION = re.compile(r"(cuda|driver|brand|arch)(>=|<=|!=|>|<|=)([\w.]{1,32})")


def satisfied(requirement: str, cuda: str, driver: str) -> bool | None:
    """Tell whether a driver meets a requirement; None when only the GPU's brand decides, or it cannot be read."""
    verdicts = [_alternative(part, cuda, driver) for part in requirement.split()[:256]]
    if any(verdicts):
        return True
    return None if not verdicts or None in verdicts else False


def _alternative(text: str, cuda: str, driver: str) -> bool | None:
    verdicts = [_condition(part, cuda, driver) for part in text.split(",")]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _condition(text: str, cuda: str, driver: str) -> bool | None:
    found = _CONDITION.fullmatch(text.strip())
    if found is None or found[1] in ("brand", "arch"):
        return None
    have, operator, limit = cuda if found[1] == "cuda" else driver, found[2], found[3]
    least, most = reaches(have, limit), reaches(limit, have)
    if least is None or most is None:
        return None
    return {">=": least, "<=": most, ">": not most, "<": not least, "=": least and most,
            "!=": not (least and most)}[operator]


def wanted_cuda(requirement: str) -> str | None:
    """Return the CUDA that a requirement names first."""
    found = re.search(r"cuda>=?(\d{1,3}\.\d{1,3})", requirement)
    return found[1] if found else None
