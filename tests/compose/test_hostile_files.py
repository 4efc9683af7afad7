"""Hostile and broken Compose files: one line with file and line number, exit code 2, in time; never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpudoctor.compose.reading import Wishes, read_project
from gpudoctor.compose.tree import ComposeError

Command = Callable[..., subprocess.CompletedProcess[str]]
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)
HOSTILE: dict[str, bytes] = {
    "bomb": (BOMB + "services: {a: {image: x, command: *j}}\n").encode(),
    "merge bomb": ("x0: &m0 {a: 1}\n" + "".join(
        f"x{n}: &m{n} {{p{n}: {{<<: [{','.join([f'*m{n - 1}'] * 9)}], q: [{','.join([f'*m{n - 1}'] * 9)}]}}}}\n"
        for n in range(1, 10)) + "services: {a: {<<: *m9, image: x}}\n").encode(),
    "alias in itself": b"services: &s {a: *s}\n",
    "fifty megabytes": b"# fill\n" * (50 * 2**20 // 7),
    "duplicate key": b"services:\n  a:\n    image: x\n    image: y\n",
    "duplicate service": b"services:\n  a: {image: x}\n  a: {image: y}\n",
    "tab": b"services:\n\ta: {image: x}\n",
    "open bracket": b"services: {a: {image: x, ports: [\n",
    "deep": b"services: " + b"[" * 20_000,
    "deep mapping": b"services: " + b"{a: " * 5_000,
    "indented": b"".join(b" " * n + b"a:\n" for n in range(2_000)),
    "binary": bytes(range(256)) * 40,
    "zero": b"\0" * 1000,
    "latin": "services:\n  a: {image: x, user: Jürgen}\n".encode("latin-1"),
    "two of everything": b"services: {a: {image: [x]}}\n",
    "not yaml": b"%$@!: {{{\n",
    "unknown anchor": b"services:\n  a: *none\n",
    "python object": b"services: {a: {image: !!python/object/apply:os.system [id]}}\n",
    "self extending": b"services:\n  a: {image: x, extends: a}\n",
    "extending in a circle": b"services:\n  a: {image: x, extends: b}\n  b: {extends: {service: a}}\n",
    "including itself": b"include: [compose.yml]\nservices: {a: {image: x}}\n",
    "remote include": b"include: ['https://example.com/compose.yml']\nservices: {a: {image: x}}\n",
    "billion ports": b"services: {a: {image: x, ports: ['1-65535:1-65535']}}\n",
    "many ports": b"services: {a: {image: x, ports: [" + b"'1-4000:1-4000'," * 100 + b"]}}\n",
    "nested variable": b"services: {a: {image: '" + b"${A:-" * 200 + b"x" + b"}" * 200 + b"'}}\n",
    "huge number": b"services: {a: {image: x, shm_size: " + b"9" * 5000 + b"}}\n",
    "list of services": b"services: [a, b]\n",
    "no services": b"hello: world\n",
    "empty": b"",
    "version one": b"web:\n  image: x\n",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_file_is_one_line_with_its_place(gpudoctor: Command, tmp_path: Path, name: str) -> None:
    path = tmp_path / "compose.yml"
    path.write_bytes(HOSTILE[name])
    started = time.monotonic()
    done = gpudoctor("compose", "lint", "compose.yml", "--hardware", "1x L4", cwd=tmp_path)
    assert time.monotonic() - started < 30
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr[:500]
    assert done.stderr.startswith("gpudoctor: compose.yml:")
    assert done.stderr.removeprefix("gpudoctor: compose.yml:").split(":")[0].isdigit()
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 400
    assert path.read_bytes() == HOSTILE[name]


def test_json_says_the_same_in_one_document(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services:\n  a: {image: x}\n  a: {image: y}\n", encoding="utf-8")
    done = gpudoctor("compose", "lint", "compose.yml", "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["where"]) == (2, "compose.yml:3")
    assert "line 2" in error["message"]


def test_a_pipe_and_a_folder_are_refused_and_do_not_wait(gpudoctor: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    for name in ("pipe.yml", ".", "missing.yml"):
        done = gpudoctor("compose", "lint", name, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_control_sequences_never_reach_the_terminal(gpudoctor: Command, tmp_path: Path) -> None:
    text = 'services:\n  a: {image: "ollama/ollama:\\e[31mred\\a", ports: ["1:1"], restart: "\\e]0;x\\a"}\n'
    (tmp_path / "compose.yml").write_text(text, encoding="utf-8")
    done = gpudoctor("compose", "lint", "compose.yml", "--hardware", "1x L4", "-vv", cwd=tmp_path)
    assert done.returncode in (0, 1)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout


def test_names_and_texts_that_utf8_cannot_hold(gpudoctor: Command, tmp_path: Path) -> None:
    name = "한글 파일.yml"
    text = 'services: {a: {image: "ollama/ollama:\\ud800", gpus: all, environment: {"\\ud801": "\\udc80"}}}'
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = gpudoctor("compose", "lint", name, "--hardware", "L4", "--json", cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0")
    results = json.loads(done.stdout)["results"]
    assert [r["message"] for r in results if "crashed" in r["message"]] == []


KEYS = ("image", "command", "entrypoint", "environment", "ports", "volumes", "devices", "gpus", "runtime", "deploy",
        "ipc", "shm_size", "mem_limit", "ulimits", "extends", "env_file", "depends_on", "profiles", "healthcheck",
        "restart", "build", "user", "privileged", "network_mode", "container_name")  # fmt: skip
INNER = ("resources", "reservations", "limits", "devices", "memory", "count", "device_ids", "capabilities", "driver",
         "memlock", "hard", "path", "required", "target", "published", "source", "type", "test", "disable", "args",
         "service", "file", "generic_resources", "discrete_resource_spec", "kind", "restart_policy",
         "condition")  # fmt: skip
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 10**6), st.floats(allow_nan=False), st.sampled_from(
    ("", "all", "gpu", "0", "1,2", "8000:80", "./a:/b", "x", "nvidia", "${A:-b}", "16gb", "nvidia.com/gpu=0", "$", "::",
     "a=b", "=", "-", "0-1:2-3", "none", "host", "\u0000", "가")))  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=12,
)
SERVICE = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6) | VALUES


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(("a", "b", "c")), SERVICE, max_size=3), VALUES)
def test_wrong_types_anywhere_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, services: dict[str, Any], other: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yml"
    document = {"services": services, "include": other, "version": other} if other else {"services": services}
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    try:
        project = read_project([str(path)], Wishes({"HOME": "/home/x"}))
    except ComposeError as error:
        refusal = error
    else:
        return judged(project)
    assert refusal.where
    assert "\n" not in refusal.message


def judged(project: Any) -> None:
    """Run every check of the area over a project: none may crash on what the reader lets through."""
    from msgspec.structs import replace

    from gpudoctor.checking.plugins import load_checks
    from gpudoctor.checking.policy import default_policy
    from gpudoctor.checking.run import run_checks
    from gpudoctor.checking.target import Target
    from gpudoctor.compose.machine import named_machine
    from gpudoctor.facts.compose import Compose

    facts = replace(named_machine("2x L4"), compose=Compose(projects=(project,)))
    checks = [each for each in load_checks().checks if each.area == "compose"]
    for result in run_checks(checks, facts, Target(), default_policy()):
        assert "crashed" not in result.finding.message, result.finding.params


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=200) | st.text("abs:{}[]-&*!<\n \t'\"#|>,$", max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "text.yml"
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    for content in (text, "services:\n  a:\n    image: x\n    command: " + text):
        path.write_text(content, encoding="utf-8", errors="replace", newline="")
        try:
            read_project([str(path)])
        except ComposeError:
            continue
