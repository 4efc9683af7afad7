"""Templates become sentences that no terminal obeys and every console can print."""

import pytest

from gpudoctor.reports.words import duration, fill, fill_command, harmless, size


def test_values_by_name_and_unit() -> None:
    assert fill("{used:bytes} of {total:bytes} on {gpus}", {"used": 1536, "total": 51539607552, "gpus": (0, 1)}) == (
        "1.5 KiB of 48.0 GiB on 0, 1"
    )
    assert fill("{share:.0%} in {time:seconds}", {"share": 0.5, "time": 7200.0}) == "50% in 2.0 h"


def test_a_value_that_is_missing_never_crashes_a_report() -> None:
    assert fill("{nothing} and {x:bytes}", {"x": "y"}) == "? and y"


@pytest.mark.parametrize("template", ["{a.__class__}", "{a[0]}", "{a!r}", "{a:>9999999999}"])
def test_a_template_cannot_reach_into_values(template: str) -> None:
    text = fill(template, {"a": "x"})
    assert "class" not in text
    assert len(text) < 100


def test_control_sequences_are_made_visible() -> None:
    assert harmless("a\x1b[31mb\rc\x9b2J\u202eevil\n") == "a\\x1b[31mb\\x0dc\\x9b2J\\x202eevil\\x0a"
    assert harmless("한국어 ok") == "한국어 ok"


def test_commands_quote_what_came_from_outside() -> None:
    assert fill_command("kill {name} {pid}", {"name": "x; rm -rf /", "pid": 7}) == "kill 'x; rm -rf /' 7"


def test_units() -> None:
    assert [size(n) for n in (0, 1023, 1024, 10**15)] == ["0 B", "1023 B", "1.0 KiB", "909.5 TiB"]
    assert [duration(s) for s in (0.25, 90, 600, 86400 * 9)] == ["0.2 s", "90 s", "10 min", "9 days"]


def test_a_list_in_a_command_is_several_quoted_words() -> None:
    assert fill_command("rm {paths}", {"paths": ("/a b", "$(reboot)", 3)}) == "rm '/a b' '$(reboot)' 3"


def test_what_is_longer_than_anything_to_read_is_cut_but_never_in_a_command() -> None:
    junk = "A" * 100_000
    assert len(fill("{junk}", {"junk": junk})) < 3000
    assert fill_command("cat {junk}", {"junk": junk}) == f"cat {junk}"
