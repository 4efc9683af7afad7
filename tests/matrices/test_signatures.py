"""The table of log lines keeps what its readers rely on."""

import re
import string
import time
from collections.abc import Callable

import pytest

from gpudoctor.checking.plugins import load_checks
from gpudoctor.evidence.context import WORDS
from gpudoctor.judging.log_remedies import REMEDIES
from gpudoctor.matrices import signatures
from gpudoctor.matrices.signatures import MAX_LINE_CHARS, Signature, Verdict

TABLE = signatures.table()
#: Contexts that facts tell, not words.
STATED = {"no-toolkit", "cpu-torch", "several-gpus", "driver-versions-differ"}


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_keys_are_unique_and_every_problem_has_its_words() -> None:
    keys = [each.key for each in TABLE.signature]
    assert len(set(keys)) == len(keys)
    assert {each.check for each in TABLE.signature} == set(signatures.verdicts())
    assert len(TABLE.verdict) == len(signatures.verdicts())


@pytest.mark.parametrize("each", TABLE.signature, ids=lambda each: each.key)
def test_a_signature_holds_together(each: Signature) -> None:
    assert each.any
    assert all(word == word.lower() and len(word) > 2 for word in each.any)
    context = {*each.when, *(u for u in each.unless if not u.startswith(("proved:", "text:")))}
    assert context <= {*WORDS, *STATED}
    proved = {u.removeprefix("proved:") for u in each.unless if u.startswith("proved:")} - {"any"}
    assert proved <= set(signatures.verdicts())
    groups = set(each.regex.groupindex) if each.regex else set()
    assert placeholders(each.message or "") <= groups | {"found_cuda"}


@pytest.mark.parametrize("each", TABLE.signature, ids=lambda each: each.key)
def test_the_case_of_letters_matters_only_where_the_pattern_says_so(each: Signature) -> None:
    """Lines are sieved in lower case, where "not, as written in capitals" would leave out too much."""
    assert not re.search(r"\(\?<?!(?:[^()]|\([^()]*\))*\(\?-i:", each.pattern or "")


@pytest.mark.parametrize("each", TABLE.verdict, ids=lambda each: each.check)
def test_a_verdict_holds_together(each: Verdict) -> None:
    assert each.fix or each.remedy
    assert each.remedy is None or each.remedy in REMEDIES
    assert not placeholders(each.message)
    for way in each.fix:
        assert way.text.endswith((".", ":"))
        assert not placeholders(way.text)
        assert not placeholders(way.command or "")


def test_every_problem_is_a_check() -> None:
    known = {check.id for check in load_checks().checks}
    assert set(signatures.verdicts()) - known == set()


@pytest.mark.parametrize("each", TABLE.signature, ids=lambda each: each.key)
def test_no_line_takes_long(each: Signature) -> None:
    """A pattern that backtracks would let one line of a paste stop the whole."""
    words = " ".join(each.any)
    lines = [  # each as long as a line may be
        (words * 1000)[:MAX_LINE_CHARS],
        (each.any[0] + " a" * MAX_LINE_CHARS)[:MAX_LINE_CHARS],
        (re.sub(r"\W", "", each.any[0]) * MAX_LINE_CHARS)[:MAX_LINE_CHARS],
        ("1" * MAX_LINE_CHARS)[:MAX_LINE_CHARS],
        (" " * 4000 + each.any[0])[:MAX_LINE_CHARS],
    ]
    yardstick = re.compile(r"\w{1,20}.{0,120}\x01")
    assert spent(lambda line: each.values(line), lines) < 30 * spent(yardstick.search, lines)


def spent(search: Callable[[str], object], lines: list[str]) -> float:
    started = time.process_time()
    for line in lines:
        search(line)
    return time.process_time() - started
