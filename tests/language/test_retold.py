"""A reason that already holds its values is known again by its template, and nothing else is touched."""

import time
from collections.abc import Iterator

import pytest

from gpudoctor.reports import language
from gpudoctor.reports.retold import retold


@pytest.fixture(autouse=True)
def in_korean() -> Iterator[None]:
    with language.speaking("ko"):
        yield


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        ("the GPU has no NVLink", "GPU에 NVLink가 없습니다"),
        ("no permission to read /dev/kmsg", "/dev/kmsg을(를) 읽을 권한이 없습니다"),
        ("cannot read: Permission denied", "읽을 수 없습니다: 권한이 없습니다"),
        ("a.yml: it is no YAML: mapping values are not allowed here",
         "a.yml: YAML이 아닙니다: 여기에는 매핑 값을 둘 수 없습니다"),
        ("libcuda.so.1 cannot be loaded; the GPU has no NVLink",
         "libcuda.so.1을 로드할 수 없습니다; GPU에 NVLink가 없습니다"),
        ("there are more than 20 rules", "규칙이 20개보다 많습니다"),
    ],
)  # fmt: skip
def test_a_reason(english: str, korean: str) -> None:
    assert retold(english) == korean


@pytest.mark.parametrize("text", [
    "", "main-brain", "Quadro RTX 8000", "Ubuntu 22.04.5 LTS", "/srv/my models/a b.gguf", "one two three four",
    "{not} a template", "no permission to read ",
])  # fmt: skip
def test_what_is_no_reason_stays(text: str) -> None:
    assert retold(text) == text


def test_english_stays_english() -> None:
    with language.speaking("en"):
        assert retold("the GPU has no NVLink") == "the GPU has no NVLink"


def test_a_long_hostile_text_costs_little() -> None:
    before = time.process_time()
    retold("the GPU has no NVLink")
    short = time.process_time() - before
    before = time.process_time()
    retold(": ".join("no permission to read" for _ in range(80))[:1990] + " {")
    # The first one reads the whole catalogue.
    assert time.process_time() - before < 20 * short + 2
