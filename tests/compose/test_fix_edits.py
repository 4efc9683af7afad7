"""Edits change what they mean to change: every other line stays byte for byte, and no comment is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.compose.edit_tree import Refused
from gpudoctor.compose.edits import Edit
from gpudoctor.compose.fix_asks import Ask
from gpudoctor.compose.fixing import Wish, mend

WORDS = ["# 주석: 'x'", "#", "# a # b: [c", '# "quoted', "# - item", "# {runtime: nvidia}", "#\ttab"]
COMMENTS = st.sampled_from(WORDS)
QUOTES = st.sampled_from(["", "'", '"'])


@st.composite
def files(draw: st.DrawFn) -> str:
    """Draw a Compose file around one service that is to be mended."""
    step, dash = draw(st.sampled_from([2, 3, 4])), draw(st.booleans())

    def filler(column: int) -> list[str]:
        kinds = st.sampled_from(["", " " * column + draw(COMMENTS), draw(COMMENTS), "   "])
        return draw(st.lists(kinds, max_size=2))

    def ended(line: str) -> str:
        return line + draw(st.sampled_from(["", " ", "  "])) + (" " + draw(COMMENTS) if draw(st.booleans()) else "")

    def quoted(text: str) -> str:
        quote = draw(QUOTES)
        return f"{quote}{text}{quote}"

    def listed(key: str, values: list[str]) -> list[str]:
        column = 2 * step + (step if dash else 0)
        lines = [ended(" " * 2 * step + f"{key}:")]
        for value in values:
            lines += [*filler(column), ended(" " * column + f"-{' ' * draw(st.integers(1, 3))}{value}")]
        return lines

    cuda = "CUDA_VISIBLE_DEVICES"
    others = draw(st.lists(st.sampled_from(["A=b c", "K=1", "PATH_X=/a#b"]), unique=True, max_size=3))
    place = draw(st.integers(0, len(others)))
    if draw(st.booleans()):
        entries = [*others[:place], f"{cuda}=0,1", *others[place:]]
        environment = listed("environment", [quoted(each) for each in entries])
    else:
        entries = [each.replace("=", ": ", 1) for each in others]
        entries.insert(place, f"{cuda}: {quoted('0,1')}")
        environment = [ended(" " * 2 * step + "environment:")]
        environment += [ended(" " * 3 * step + entry) for entry in entries]
    inner = " " * 2 * step
    parts = [
        [ended(f"{inner}runtime: {quoted('nvidia')}")],
        environment,
        [ended(f"{inner}image: {quoted('vllm/vllm-openai:v0.11.0')}")],
        [ended(f"{inner}ports: [ {quoted('8000:8000')} , '1:1' ]")],
        [f"{inner}command: >-", f"{inner}  --model x  # no comment", "", f"{inner}  --tensor-parallel-size 2"],
        [ended(f"{inner}labels:"), ended(f"{inner}{' ' * step}a: &l b"), f"{inner}{' ' * step}c: *l"],
    ]
    lines = [*filler(0), "services:", *filler(step), ended(" " * step + "llm:")]
    for part in draw(st.permutations(parts)):
        lines += [*filler(2 * step), *part]
    lines += [*filler(0), ended(" " * step + "other:"), f"{inner}image: {quoted('nginx')}", *filler(0)]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return newline.join(lines) + (newline if draw(st.booleans()) else "")


def without(lines: list[str]) -> list[str]:
    """Leave out the lines that a fix of the GPUs' scope may change."""
    changed = ("runtime:", "CUDA_VISIBLE_DEVICES", "environment:")
    return [line for line in lines if not any(word in line.partition(" #")[0] for word in changed)]


def is_within(few: list[str], many: list[str]) -> bool:
    """Tell whether all of the few stand among the many, in their order."""
    rest = iter(many)
    return all(line in rest for line in few)


@settings(max_examples=150, deadline=None)
@given(files())
def test_every_other_line_stays_byte_for_byte(text: str) -> None:
    outcome = mend(text, "compose.yml", [Wish("compose.gpu-scope", Ask("llm"))])
    assert outcome.left == ()
    before, after = text.splitlines(keepends=True), outcome.text.splitlines(keepends=True)
    if not text.endswith("\n"):
        # A line that others follow has to end.
        before[-1] += "\r\n" if "\r\n" in text else "\n"
        after[-1] += "\r\n" if "\r\n" in text else "\n"
    assert is_within(without(before), after)
    assert outcome.text.count("\r\n") == (outcome.text.count("\n") if "\r\n" in text else 0)
    assert [outcome.text.count(comment) for comment in WORDS] == [text.count(comment) for comment in WORDS]


@settings(max_examples=100, deadline=None)
@given(files(), st.sampled_from(["compose.shm-too-small", "compose.port-open", "compose.gpu-scope"]))
def test_the_result_stands_for_what_was_meant_and_nothing_else(text: str, check_id: str) -> None:
    after = Edit(mend(text, "compose.yml", [Wish(check_id, Ask("llm"))]).text, "compose.yml").data
    before = Edit(text, "compose.yml").data
    service, meant = after["services"]["llm"], before["services"]["llm"]
    if check_id == "compose.shm-too-small":
        assert service.pop("shm_size") == "16gb"
    elif check_id == "compose.port-open":
        assert service.pop("ports") == ["127.0.0.1:8000:8000", "127.0.0.1:1:1"]
        del meant["ports"]
    else:
        devices = [{"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}]
        assert service.pop("deploy") == {"resources": {"reservations": {"devices": devices}}}
        del meant["runtime"]
        for data in (service, meant):
            left = data.pop("environment", None) or []
            assert not isinstance(left, dict) or left.pop("CUDA_VISIBLE_DEVICES", "0,1") == "0,1"
    assert after == before


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("a: {b: 1, c: 2, d: 3}\n", ("a", "c"), "a: {b: 1, d: 3}\n"),
        ("a: {b: 1, c: 2}\n", ("a", "c"), "a: {b: 1}\n"),
        ("a: {\n  b: 1, # eins\n  c: 2 # zwei\n}\n", ("a", "c"), "a: {\n  b: 1 # eins\n   # zwei\n}\n"),
        ("a: {c: 2}\n", ("a", "c"), "a: {}\n"),
        ("a:\n  c: 2  # two\nd: 1\n", ("a", "c"), "a: {}\n  # two\nd: 1\n"),
        ("a:\n- c: 1\n  d: 2\n", ("a", 0, "c"), "a:\n- d: 2\n"),
        ("a:\n  c: |+\n    x\n\n  d: 2\n", ("a", "c"), "a:\n  d: 2\n"),
        ("a:\n  c:\n  d: 2\n", ("a", "c"), "a:\n  d: 2\n"),
        ("a:\n  'c' : 1\n  d: 2", ("a", "d"), "a:\n  'c' : 1\n"),
    ],
)
def test_a_key_goes_and_its_comment_stays(text: str, path: tuple[str | int, ...], expected: str) -> None:
    edit = Edit(text, "compose.yml")
    edit.delete(path)
    assert edit.proved() == expected


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("a:\n  'b' : 1  # eins\n  d: 2\n", ("a", "b"), "a:\n  'c' : 1  # eins\n  d: 2\n"),
        ("a: [{b: 1, d: 2}]\n", ("a", 0, "b"), "a: [{c: 1, d: 2}]\n"),
    ],
)
def test_a_key_is_renamed_where_it_stands(text: str, path: tuple[str | int, ...], expected: str) -> None:
    edit = Edit(text, "compose.yml")
    edit.rename(path, "c")
    assert edit.proved() == expected


def test_a_key_is_not_renamed_to_one_beside_it() -> None:
    with pytest.raises(Refused, match="yours to say"):
        Edit("a: {b: 1, c: 2}\n", "compose.yml").rename(("a", "b"), "c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  b: 1", "a:\n  b: 1\n  n: [x]"),
        ("a:\n    b: |\n        t\n\nc: 1\n", "a:\n    b: |\n        t\n    n: [x]\n\nc: 1\n"),
        ("a: {b: 1,\n    }\n", "a: {b: 1, n: [x],\n    }\n"),
        ("a: {}\n", "a: {n: [x]}\n"),
        ("a:\nc: 1\n", "a:\n  n: [x]\nc: 1\n"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1, "n": ["x"]}}'),
    ],
)
def test_a_key_comes_in_the_manner_of_its_neighbours(text: str, expected: str) -> None:
    edit = Edit(text, "compose.yml")
    edit.put(("a", "n"), ["x"])
    assert edit.proved() == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a\n  c: 1\n  d: 2\nb: *a\n", "b.c would change as well, through the anchor &a"),
        ("a:\n  c: &v 1\n  d: 2\nb: *v\n", "alias \\*v would stand for nothing"),
        ("a: !override\n  c: 1\n  d: 2\n", "a tag of Compose's merging"),
        ("a:\n  ? c\n  : 1\n  d: 2\n", "c shares its line with something else"),
    ],
)
def test_what_would_reach_further_is_refused(text: str, reason: str) -> None:
    edit = Edit(text, "compose.yml")
    with pytest.raises(Refused, match=reason):  # noqa: PT012 - one of the two refuses
        edit.delete(("a", "c"))
        edit.proved()
