"""What ``gpudoctor check`` printed on a screen: its findings in words, without their evidence.

Sample input:

    gpudoctor 0.1.0  gpu01  Ubuntu 22.04.5 LTS  driver 580.95.05  CUDA 13.0

    FAIL    gpu.row-remap-pending  gpu:2
                NVIDIA A100: a row waits to be remapped
      fix       Reset the GPU.
"""

import re
from typing import Literal, cast

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.signatures import Reported

_STATUS = Literal["fail", "warn", "unknown", "info"]
_FINDING = re.compile(r"(FAIL|WARN|UNKNOWN|INFO)\s+([a-z][\w\-]{0,60}\.[a-z][\w\-]{0,60})(?:\s+(\S.{0,200}))?$")
_MESSAGE = re.compile(r"\s{9,20}(\S.*)$")
_PART = re.compile(r"\s{2}(?:seen|explains|fix|more|at|risk)\b")
_MAX_FINDINGS, _MAX_MESSAGE = 1000, 2000


def read(text: str, line: int, file: str) -> Reading:
    """Take the findings; the words of one go on until its evidence or the next."""
    found: list[Reported] = []
    head: re.Match[str] | None = None
    words: list[str] = []
    for row in [*text.split("\n"), ""]:
        message = _MESSAGE.match(row)
        if head is not None and message is not None and _PART.match(row) is None:
            words.append(message[1].strip())
            continue
        if head is not None:
            found.append(_told(head, words))
        head, words = _FINDING.match(row) if len(found) < _MAX_FINDINGS else None, []
    return Reading(reported=tuple(found))


def _told(head: "re.Match[str]", words: list[str]) -> Reported:
    return Reported(
        id=head[2],
        status=cast(_STATUS, head[1].lower()),
        subject=(head[3] or "host").strip()[:200],
        message=" ".join(words)[:_MAX_MESSAGE] or "it said no more in what you pasted",
    )


_BELONGS = re.compile(
    r"\s*$|\s+\S|(?:FAIL|WARN|UNKNOWN|INFO|PASS|SKIP)\s|gpudoctor \d|\d+ (?:cause|passed)"
)

KIND = Kind(
    name="gpudoctor-console",
    begins=r"gpudoctor \d{1,3}\.\d{1,3}\.\S{1,20}  ",
    extent=lambda: While(_BELONGS),
    read=read,
)
