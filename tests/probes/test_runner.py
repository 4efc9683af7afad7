"""The runner against probes that misbehave. Each is a module written for the test and run by the real child."""

import json
import os
import signal
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.probes import runner
from gpudoctor.probes.runner import ProbeAnswer, ProbeSpec, run_probes

CHILD = """
import json, runpy, sys
path = list(sys.path)
sys.path[:] = [*path, *json.loads(sys.argv[1])["path"]]
import gpudoctor.probes
gpudoctor.probes.__path__.append({folder!r})
import gpudoctor.probes.child as child
sys.path[:] = path
runpy.run_path(child.__file__, run_name="__main__")
"""

Run = Callable[..., ProbeAnswer]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write one probe module (the body of its ``probe``) and run it."""
    child = tmp_path / "child.py"
    child.write_text(CHILD.format(folder=str(tmp_path)))
    monkeypatch.setattr(runner, "_CHILD", child)

    def run(body: str, *, timeout: float = 30, **spec: Any) -> ProbeAnswer:
        write_probe(tmp_path, "fake", body)
        settings = {"name": "fake", "modules": ("fake",), "sections": ("a",), "patience": 5, **spec}
        return run_probes([ProbeSpec(**settings)], timeout=timeout, options={"known": 1, "other": 2})[0]

    return run


def write_probe(folder: Path, name: str, body: str) -> None:
    (folder / f"{name}.py").write_text(
        "import atexit, os, signal, subprocess, sys, time\n"
        "import msgspec\n"
        "SECTIONS = ('a',)\n"
        "OPTIONS = ('known',)\n"
        "class Thing(msgspec.Struct):\n"
        "    index: int\n"
        "    failure: str | None = None\n"
        "def probe(out, root, **options):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    )


def test_facts_arrive_through_any_noise(run: Run) -> None:
    answer = run(
        """
        print("banner")
        os.write(1, b'{"section": "a", "set": {"x": "from stdout"}}\\n')
        os.write(2, b"e" * 500_000)
        subprocess.run(["echo", "noise from a command"])
        out._write(["no", "object"])
        os.write(out._descriptor, b"no json\\n\\xff\\n")
        out.set("a", x=1, options=options)
        out.set("stranger", x=1)
        """
    )
    assert answer.outcome == "ok"
    assert answer.sections == {"a": {"x": 1, "options": {"known": 1}}}


def test_an_exception_is_the_sections_reason(run: Run) -> None:
    answer = run("raise RuntimeError('no such luck')")
    assert answer.missing == {"a": ("RuntimeError: no such luck", "crashed")}


def test_an_exception_after_the_first_facts_is_not_lost(run: Run) -> None:
    answer = run("out.set('a', x=1)\nraise RuntimeError('half way')")
    assert answer.sections == {"a": {"x": 1}}
    assert answer.outcome == "RuntimeError: half way"


def test_no_permission_is_told_apart(run: Run) -> None:
    answer = run("raise PermissionError(13, 'denied', '/etc/shadow')")
    assert answer.missing == {"a": ("no permission to read /etc/shadow", "no-permission")}


def test_a_crash_and_an_early_end_are_named(run: Run) -> None:
    assert run("os.kill(os.getpid(), signal.SIGSEGV)").missing == {"a": ("the fake probe crashed (SIGSEGV)", "crashed")}
    missing = run("sys.stderr.write('last words'); sys.stderr.flush(); os._exit(3)").missing
    assert missing == {"a": ("the fake probe ended with code 3: last words", "crashed")}


def test_silence_about_a_section_is_not_fine(run: Run) -> None:
    answer = run("out.set('a', x=1)", sections=("a", "b"))
    assert answer.missing == {"b": ("the fake probe said nothing about it", "error")}
    assert answer.outcome != "ok"


def test_a_module_that_cannot_be_imported_costs_its_own_sections(run: Run) -> None:
    answer = run("out.set('a', x=1)", modules=("not_there", "fake"), sections=("a", "b"))
    assert answer.sections == {"a": {"x": 1}}
    assert answer.missing["b"][0].startswith("the fake probe could not load not_there: ModuleNotFoundError")


def test_a_line_without_end_is_cut_off(run: Run) -> None:
    answer = run("out.set('a', x=1)\nwhile True: os.write(out._descriptor, b'x' * 65536)", sections=("a", "b"))
    assert answer.outcome == "it wrote more than a probe may"
    assert answer.sections == {"a": {"x": 1}}
    assert answer.missing == {"b": ("the fake probe it wrote more than a probe may", "crashed")}


def test_a_hang_is_given_up_and_what_came_is_kept(run: Run) -> None:
    answer = run("out.set('a', x=1)\ntime.sleep(600)", sections=("a", "b"), patience=1.5)
    assert answer.sections == {"a": {"x": 1}}
    assert answer.missing == {"b": ("the fake probe did not answer within 1.5 s", "timeout")}
    assert answer.duration_s < 1.5 + 20


def test_time_for_all_together_ends_a_patient_probe(run: Run) -> None:
    answer = run("time.sleep(600)", patience=500, timeout=1)
    assert answer.missing == {"a": ("the fake probe ran out of time (--timeout)", "timeout")}
    assert answer.duration_s < 20


def test_an_item_can_ask_for_more_patience(run: Run) -> None:
    answer = run("out.start('slow', patience=20)\ntime.sleep(2.5)\nout.set('a', x=1)", patience=1.5)
    assert answer.sections == {"a": {"x": 1}}


ITEMS = """
for n in range({count}):
    if not out.left_out(f"item {{n}}"):
        out.start(f"item {{n}}", section="a", field="things", placeholder=Thing(n), promised=True)
for n in range({count}):
    if out.left_out(f"item {{n}}"):
        continue
    out.start(f"item {{n}}", doing=f"step {{n}}")
    {trouble}
    out.append("a", "things", Thing(n))
"""


def failures(answer: ProbeAnswer) -> dict[int, str | None]:
    return {thing["index"]: thing["failure"] for thing in answer.sections["a"]["things"]}


def test_lost_items_cost_themselves(run: Run) -> None:
    answer = run(ITEMS.format(count=6, trouble="if n in (1, 4): os.kill(os.getpid(), signal.SIGBUS)"))
    assert failures(answer) == {
        0: None, 1: "crashed (SIGBUS) in step 1", 2: None, 3: None, 4: "crashed (SIGBUS) in step 4", 5: None,
    }
    assert list(failures(answer)) == list(range(6))
    assert answer.outcome == "item 4: crashed (SIGBUS) in step 4"


def test_a_failure_that_the_probe_found_itself_is_not_doubled(run: Run) -> None:
    body = ITEMS.format(count=3, trouble="if n == 1: os.kill(os.getpid(), signal.SIGBUS)")
    answer = run(body.replace("Thing(n))", "Thing(n, 'its own'))"))
    things = answer.sections["a"]["things"]
    assert [(thing["index"], thing["failure"]) for thing in things] == [
        (0, "its own"), (1, "crashed (SIGBUS) in step 1"), (2, "its own"),
    ]


def test_restarts_come_to_an_end_and_the_rest_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_MAX_RESTARTS", 3)
    answer = run(ITEMS.format(count=6, trouble="os.kill(os.getpid(), signal.SIGBUS)"))
    found = failures(answer)
    assert list(found) == list(range(6))
    assert found[3] == "crashed (SIGBUS) in step 3"
    assert found[5] == "not reached: the fake probe was started 4 times in vain"


def test_promised_items_are_named_when_time_runs_out(run: Run) -> None:
    answer = run(ITEMS.format(count=4, trouble="time.sleep(600 if n == 1 else 0)"), timeout=2, patience=100)
    found = failures(answer)
    unreached = "not reached: the fake probe ran out of time (--timeout)"
    assert list(found.values()) == [None, "ran out of time (--timeout) in step 1", unreached, unreached]


def test_a_promise_broken_in_peace_is_seen(run: Run) -> None:
    answer = run(ITEMS.format(count=2, trouble="if n == 1: break"))
    assert failures(answer)[1] == "not reached: the fake probe said nothing about it"


def test_a_child_that_ignores_signals_is_killed(run: Run, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    answer = run(
        f"""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        helper = subprocess.Popen(["sleep", "600"])
        open({str(note)!r}, "w").write(f"{{os.getpid()}} {{helper.pid}}")
        time.sleep(600)
        """,
        patience=2,
    )
    assert "a" in answer.missing
    for pid in note.read_text().split():
        assert gone(int(pid)), "its helper lives on"


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in ("Z", "X"):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_child_that_cannot_be_killed_is_left_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    spared: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, number: spared.append(group))
    answer = run("time.sleep(600)", patience=1)
    monkeypatch.undo()
    assert answer.missing["a"] == ("the fake probe did not answer within 1 s", "timeout")
    assert answer.duration_s < 20
    for group in spared:
        os.killpg(group, signal.SIGKILL)


def test_a_child_that_hangs_at_its_end_costs_nothing(run: Run) -> None:
    answer = run("atexit.register(time.sleep, 600)\nout.set('a', x=1)", patience=60, timeout=60)
    assert (answer.outcome, answer.sections) == ("ok", {"a": {"x": 1}})
    assert answer.duration_s < 30


def test_probes_run_side_by_side(run: Run, tmp_path: Path) -> None:
    run("out.set('a', x=1)")
    write_probe(tmp_path, "stuck", "time.sleep(600)")
    specs = [ProbeSpec(name=f"stuck {n}", modules=("stuck",), sections=("a",), patience=3) for n in range(3)]
    specs.append(ProbeSpec(name="fake", modules=("fake",), sections=("a",), patience=30))
    seen: list[list[str]] = []
    started = time.monotonic()
    answers = run_probes(specs, progress=lambda names: seen.append(list(names)))
    assert time.monotonic() - started < 3 * 3
    assert [answer.name for answer in answers] == ["stuck 0", "stuck 1", "stuck 2", "fake"]
    assert answers[3].sections == {"a": {"x": 1}}
    assert len(seen[0]) == 4


def test_an_interrupt_leaves_no_child_behind(run: Run, tmp_path: Path) -> None:
    run("out.set('a', x=1)")
    note = tmp_path / "pid"
    write_probe(tmp_path, "stuck", f"open({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")

    def interrupt(names: object) -> None:
        if note.exists() and note.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_probes([ProbeSpec(name="stuck", modules=("stuck",), sections=("a",))], progress=interrupt)
    assert gone(int(note.read_text()))


def test_the_current_directory_is_never_imported_from(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "msgspec.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(here))
    monkeypatch.syspath_prepend("")
    answer = run("out.set('a', path=sys.path, cwd=os.getcwd())")
    assert answer.sections["a"]["cwd"] == "/"
    assert str(here) not in json.dumps(answer.sections["a"]["path"])
