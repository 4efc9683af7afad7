"""diagnose reads the log of a container from a real engine, and of a unit from a real journal."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import rig_images
from rig import Engine

from gpudoctor.cli import service_logs
from gpudoctor.cli.failure import Failure
from gpudoctor.cli.service_logs import fetch, moment
from gpudoctor.evidence.paste import Paste
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.signatures import Signatures

Command = Callable[..., subprocess.CompletedProcess[str]]
JOURNAL_REMOTE = Path("/lib/systemd/systemd-journal-remote")
NO_JOURNAL = "needs systemd-journal-remote (Debian package of that name)"
LOST = "Failed to initialize NVML: Unknown Error"
SECRET = "hf_" + "q" * 30


def told(paste: Paste) -> Signatures:
    log = paste.snapshot().signatures
    assert isinstance(log, Signatures)
    return log


def container_that_says(engine: Engine, text: str, *, tty: bool = False) -> str:
    """Run a container to its end and return its name."""
    name = f"says-{uuid.uuid4().hex[:8]}"
    made = engine.client().containers.create(
        rig_images.GLIBC, ["sh", "-c", f"echo starting >&2; echo '{text}' >&2"],
        name=name, tty=tty, network_mode="none",
        environment={"HF_TOKEN": SECRET, "CUDA_VISIBLE_DEVICES": "0"},
    )  # fmt: skip
    made.start()
    made.wait()
    return name


@pytest.mark.tier("docker")
@pytest.mark.parametrize("tty", [False, True])
def test_a_containers_log_names_the_cause(gpudoctor: Command, bare_engine: Engine, tty: bool) -> None:
    name = container_that_says(bare_engine, LOST, tty=tty)
    done = gpudoctor("diagnose", "--container", name, "--json", DOCKER_HOST=f"unix://{bare_engine.socket}")
    first = json.loads(done.stdout)["results"][0]
    assert (first["id"], done.returncode) == ("container.gpu-lost", 1)
    assert first["location"] == {"file": f"container {name}", "line": 2}
    assert SECRET not in done.stdout


@pytest.mark.tier("docker")
def test_what_the_engine_knows_of_the_container_is_judged_beside_its_log(
    bare_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bare_engine.socket}")
    name, paste = container_that_says(bare_engine, LOST), Paste()
    fetch(paste, [name], [], None)
    containers = paste.snapshot().containers
    assert isinstance(containers, Containers)
    assert containers.containers[0].environment == {"CUDA_VISIBLE_DEVICES": "0", "HF_TOKEN": "set"}


@pytest.mark.tier("docker")
def test_no_such_container(gpudoctor: Command, bare_engine: Engine, tmp_path: Path) -> None:
    where = {"DOCKER_HOST": f"unix://{bare_engine.socket}"}
    done = gpudoctor("diagnose", "--container", "nobody", **where)
    assert (done.returncode, done.stderr) == (2, "gpudoctor: container nobody: the engine has no container 'nobody'\n")
    (tmp_path / "other.log").write_text("nothing known\n", encoding="utf-8")
    assert gpudoctor("diagnose", "other.log", "--container", "nobody", cwd=tmp_path, **where).returncode == 3


#: Root without its capabilities is held to a file's mode as anybody is.
AS_ANYBODY = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")


@pytest.mark.tier("docker")
def test_an_engine_that_this_user_may_not_ask(bare_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(LOST, encoding="utf-8")
    command = [sys.executable, "-m", "gpudoctor", "diagnose", "good.txt", "--container", "vllm", "--json"]
    os.chown(bare_engine.socket, 1000, 1000)
    bare_engine.socket.chmod(0o600)
    try:
        done = subprocess.run(
            [*AS_ANYBODY, *command], cwd=tmp_path, env={**os.environ, "DOCKER_HOST": bare_engine.url},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    finally:
        os.chown(bare_engine.socket, 0, 0)
    assert judged_beside(done, "container vllm") == "container.gpu-lost"
    assert "may not" in done.stdout


def judged_beside(done: "subprocess.CompletedProcess[str]", piece: str) -> str:
    """Return what was found in the files, after making sure that the piece is the one thing not read."""
    results = json.loads(done.stdout)["results"]
    assert [each["subject"] for each in results if each["status"] == "unknown"] == [f"file:{piece}"]
    assert (done.returncode, done.stderr) == (1, "")
    return str(results[0]["id"])


def test_an_engine_that_is_not_there(gpudoctor: Command, tmp_path: Path) -> None:
    done = gpudoctor("diagnose", "--container", "vllm", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_an_engine_that_accepts_and_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(service_logs._PATIENCE, "container", 1.0)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/hung.sock")
        silent.listen(4)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/hung.sock")
        paste = Paste()
        fetch(paste, ["vllm"], [], None)
    assert [piece.file for piece in told(paste).pieces if piece.problem] == ["container vllm"]


def journal(root: Path, unit: str, *lines: str, second: int = 1_790_000_000) -> None:
    """Write a journal file with these messages, one each second."""
    place = root / "var/log/journal"
    place.mkdir(parents=True)
    boot = uuid.uuid4().hex
    entries = [
        f"__REALTIME_TIMESTAMP={second + number}000000\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={boot}\n"
        f"_UID=0\n_SYSTEMD_UNIT={unit}\nMESSAGE={line}\n\n"
        for number, line in enumerate(lines)
    ]
    subprocess.run([JOURNAL_REMOTE, f"--output={place}/remote.journal", "-"], input="".join(entries), text=True,
                   capture_output=True, check=True)  # fmt: skip


@pytest.mark.skipif(not JOURNAL_REMOTE.exists(), reason=NO_JOURNAL)
def test_a_units_log_names_the_cause(tmp_path: Path) -> None:
    journal(tmp_path, "ollama.service", "Listening on 127.0.0.1:11434 (version 0.12.3)", LOST)
    paste = Paste()
    fetch(paste, [], ["ollama.service"], None, root=str(tmp_path))
    log = told(paste)
    assert [(match.check, match.file, match.line) for match in log.matches] == [
        ("container.gpu-lost", "unit ollama.service", 2)
    ]
    assert log.stated["ollama"] == "0.12.3"


@pytest.mark.skipif(not JOURNAL_REMOTE.exists(), reason=NO_JOURNAL)
def test_what_came_before_since_is_left_out(tmp_path: Path) -> None:
    journal(tmp_path, "ollama.service", LOST, "all is well")
    paste = Paste()
    fetch(paste, [], ["ollama.service"], "2026-09-21T14:13:21Z", root=str(tmp_path))
    log = told(paste)
    assert log.matches == ()
    assert [piece.problem for piece in log.pieces if piece.problem] == []


@pytest.mark.skipif(not JOURNAL_REMOTE.exists(), reason=NO_JOURNAL)
def test_a_unit_without_a_line(tmp_path: Path) -> None:
    journal(tmp_path, "ollama.service", LOST)
    paste = Paste()
    fetch(paste, [], ["vllm.service"], None, root=str(tmp_path))
    assert [piece.problem for piece in paste.pieces] == ["the journal has no line of vllm.service"]


@pytest.mark.tier("root")
@pytest.mark.skipif(not JOURNAL_REMOTE.exists(), reason=NO_JOURNAL)
def test_a_journal_that_this_user_may_not_read(tmp_path: Path) -> None:
    journal(tmp_path, "ollama.service", LOST)
    (file,) = (tmp_path / "var/log/journal").iterdir()
    os.chown(file, 1000, 1000)
    file.chmod(0o600)
    asked = (
        "import sys; from gpudoctor.cli.service_logs import fetch; from gpudoctor.evidence.paste import Paste;"
        "paste = Paste(); fetch(paste, [], ['ollama.service'], None, root=sys.argv[1]);"
        "print(*(piece.problem for piece in paste.pieces))"
    )
    done = subprocess.run([*AS_ANYBODY, sys.executable, "-c", asked, str(tmp_path)], capture_output=True, text=True,
                          check=True, timeout=120)  # fmt: skip
    assert done.stdout == (
        "no permission to read the journal of ollama.service: add the user to the group systemd-journal or adm, or use "
        "sudo\n"
    )


HUNG = """
import sys
from gpudoctor.cli import main, service_logs
service_logs._PATIENCE["unit"] = 2.0
sys.argv = ["gpudoctor", "diagnose", "good.txt", "--unit", "ollama.service", "--json"]
main()
"""


@pytest.mark.tier("root")
@pytest.mark.parametrize("first", ["", f"echo {LOST}; "], ids=["silent", "after a line"])
def test_a_journal_that_hangs(tmp_path: Path, first: str) -> None:
    stand_in = tmp_path / "bin/journalctl"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\n{first}echo $$ > {tmp_path}/pid\nexec sleep 600\n", encoding="utf-8")
    stand_in.chmod(0o755)
    (tmp_path / "good.txt").write_text(LOST, encoding="utf-8")
    # Commands are looked for in the system's own folders, whatever PATH says.
    inside = f'mount --bind {stand_in.parent} /usr/local/sbin && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside, "sh", sys.executable, "-c", HUNG],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert judged_beside(done, "unit ollama.service") == "container.gpu-lost"
    left = Path("/proc", (tmp_path / "pid").read_text(encoding="utf-8").strip())
    until = time.monotonic() + 30
    while left.exists():  # What was killed stays until the machine's first process has heard of it.
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["-rf", "a b", "", "a\nb", "x" * 300, "../containers"])
def test_a_name_that_cannot_be_one(name: str) -> None:
    with pytest.raises(Failure):
        fetch(Paste(), [name], [], None)


@pytest.mark.parametrize("text", ["", "yesterday", "99999999d", "2026-13-01", "1e9", "-2h"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(Failure):
        moment(text)


def test_a_time_ago_is_seconds_before_now() -> None:
    assert moment("1h") - moment("2h") == pytest.approx(3600, abs=5)


def test_nothing_to_read_is_one_line(gpudoctor: Command) -> None:
    done = gpudoctor("diagnose")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
