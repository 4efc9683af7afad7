"""Korean for people, English for programs, and an answer on every console."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

Command = Callable[..., subprocess.CompletedProcess[str]]
CHECKOUT = Path(__file__).parents[2]
LOST = CHECKOUT / "fixtures" / "rtx8000x4-container-lost-its-gpus" / "snapshot.json"
HEALTHY = CHECKOUT / "fixtures" / "h100x8-healthy" / "snapshot.json"
MACHINES = ("rtx8000x4-container-lost-its-gpus", "h100x8-healthy", "rtx4090-fresh-server")
PROGRAM = str(Path(sys.executable).with_name("gpudoctor"))
#: Moments and spans differ from run to run, and every format writes them in its own way.
FIGURES = r"\d[\d.:TZe+-]*"
HANGUL = re.compile(r"[가-힣]")


def is_korean(text: str) -> bool:
    return HANGUL.search(text) is not None


@pytest.mark.parametrize(
    ("arguments", "variables", "korean"),
    [
        (["--lang", "ko", "list"], {}, True),
        (["list", "--lang", "ko"], {}, True),
        (["list", "--lang=ko"], {}, True),
        (["list"], {"GPUDOCTOR_LANG": "ko"}, True),
        (["list"], {"GPUDOCTOR_LANG": "", "LC_ALL": "", "LANG": "ko_KR.UTF-8"}, True),
        (["list"], {"GPUDOCTOR_LANG": "", "LC_ALL": "", "LANG": "en_US.UTF-8", "LANGUAGE": "ko:en"}, True),
        (["list"], {"GPUDOCTOR_LANG": "", "LC_ALL": "C", "LANG": "ko_KR.UTF-8", "LANGUAGE": "ko"}, False),
        (["list"], {"GPUDOCTOR_LANG": "", "LC_ALL": "", "LANG": "ja_JP.UTF-8"}, False),
        (["list", "--lang", "en"], {"GPUDOCTOR_LANG": "ko"}, False),
        (["list"], {}, False),
    ],
)
def test_the_option_then_the_variable_then_the_locale(
    gpudoctor: Command, arguments: list[str], variables: dict[str, str], korean: bool
) -> None:
    assert is_korean(gpudoctor(*arguments, **variables).stdout) is korean


@pytest.mark.parametrize(
    ("arguments", "variables", "place"),
    [(["list", "--lang", "fr"], {}, "--lang"), (["list", "--lang"], {}, "--lang"),
     (["list"], {"GPUDOCTOR_LANG": "klingon"}, "GPUDOCTOR_LANG")],
)
def test_a_language_that_is_not_spoken_is_refused(
    gpudoctor: Command, arguments: list[str], variables: dict[str, str], place: str
) -> None:
    done = gpudoctor(*arguments, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gpudoctor: {place}: ")
    assert done.stderr.count("\n") == 1


def test_another_programs_lang_is_its_own(gpudoctor: Command) -> None:
    done = gpudoctor("run", "--only", "host.locale-not-utf8", "--fail-on", "never", "--on-unknown", "pass", "--",
                     "echo", "--lang", "fr")  # fmt: skip
    assert done.stdout == "--lang fr\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--snapshot", LOST, "--json"],
        ["check", "--snapshot", LOST, "--format", "jsonl"],
        ["check", "--snapshot", LOST, "--format", "junit"],
        ["check", "--snapshot", LOST, "--format", "sarif"],
        ["check", "--snapshot", LOST, "--format", "prometheus"],
        ["check", "--snapshot", LOST, "--format", "nagios"],
        ["check", "--snapshot", LOST, "--format", "npd"],
        ["compose", "lint", CHECKOUT / "fixtures" / "plan" / "starved.yml", "--json"],
        ["plan", CHECKOUT / "fixtures" / "plan" / "starved.yml", "--hardware", "2x RTX 4090", "--json"],
        ["fit", "llama3.3:70b", "--hardware", "1x RTX 4090", "--json"],
        ["compat", "vllm==0.33.0", "--hardware", "1x RTX 4090", "--driver", "535.247.01", "--json"],
        ["explain", "gpu.xid", "--json"],
        ["list", "--json"],
        ["matrices", "--json"],
        ["check", "--snapshot", "/nonexistent", "--json"],
    ],
    ids=lambda a: "-".join(str(word) for word in a[:1] + a[-1:]),
)
def test_what_programs_read_is_english(gpudoctor: Command, arguments: list[str | Path]) -> None:
    def said(language: str) -> tuple[int, str]:
        done = gpudoctor("--lang", language, *arguments, SOURCE_DATE_EPOCH="1795132800")
        return done.returncode, re.sub(FIGURES, "N", done.stdout)

    english, korean = said("en"), said("ko")
    assert korean == english
    assert english[1]
    assert not is_korean(korean[1])


def test_one_run_writes_english_for_programs_and_korean_for_people(gpudoctor: Command, tmp_path: Path) -> None:
    done = gpudoctor("check", "--snapshot", LOST, "--lang", "ko", "-o", f"json={tmp_path / 'r.json'}",
                     "-o", f"html={tmp_path / 'r.html'}", "-o", f"markdown={tmp_path / 'r.md'}")  # fmt: skip
    assert not is_korean((tmp_path / "r.json").read_text(encoding="utf-8"))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for text in (done.stdout, page, (tmp_path / "r.md").read_text(encoding="utf-8")):
        assert "장치 cgroup이 더 이상 GPU를 열게 하지 않습니다" in text
        assert "container.gpu-lost" in text
    assert '<html lang="ko">' in page


def test_a_failure_is_said_in_korean_and_its_document_in_english(gpudoctor: Command) -> None:
    done = gpudoctor("check", "--wait", "5m", "--watch", "5m", "--json", "--lang", "ko")
    assert done.returncode == 2
    assert "하나만 선택하십시오" in done.stderr
    assert json.loads(done.stdout)["error"]["hint"] == "choose one"


@pytest.mark.parametrize("command", ["", "check", "compose", "compose fix", "report merge", "fit", "bundle"])
def test_help_is_korean_and_eighty_columns_wide(gpudoctor: Command, command: str) -> None:
    done = gpudoctor(*command.split(), "--help", "--lang", "ko", COLUMNS="80")
    assert is_korean(done.stdout)
    assert "\0" not in done.stdout
    long = [line for line in done.stdout.splitlines() if cell_len(line) > 80]
    assert [line for line in long if is_korean(line)] == []


def test_explain_is_korean_where_there_is_a_page(gpudoctor: Command) -> None:
    done = gpudoctor("explain", "container.gpu-lost", "--lang", "ko").stdout
    assert "## 고치는 방법" in done
    assert "## 읽는 항목" in done
    assert "https://github.com/NVIDIA/nvidia-container-toolkit/issues/48" in done
    assert is_korean(gpudoctor("explain", "exit-codes", "--lang", "ko").stdout)


def test_explain_says_that_a_page_is_english_only(gpudoctor: Command) -> None:
    done = gpudoctor("explain", "gpu.inforom-corrupt", "--lang", "ko").stdout
    assert "이 설명서는 영어로만 있습니다.\n" in done
    assert "## Why it matters" in done


@pytest.mark.parametrize("machine", MACHINES)
def test_the_screen_is_as_it_was_read(
    gpudoctor: Command, machine: str, request: pytest.FixtureRequest
) -> None:
    snapshot = CHECKOUT / "fixtures" / machine / "snapshot.json"
    done = gpudoctor("check", "--snapshot", snapshot, "--lang", "ko", SOURCE_DATE_EPOCH="1795132800")
    # Counts of passes and skips change with every new check, and times with every run.
    seen = re.sub(r"\d+(개 통과) \([^)]*\)", r"N\1", done.stdout)
    seen = "\n".join(line for line in seen.splitlines() if not re.match(r"  \S+ +\d+ (pass|skip)|gpudoctor ", line))
    golden = Path(__file__).parent / "screens" / f"{machine}.txt"
    if request.config.getoption("--update-golden"):
        golden.write_text(seen + "\n", encoding="utf-8")
    assert seen + "\n" == golden.read_text(encoding="utf-8")
    assert max(map(cell_len, (line for line in seen.splitlines() if not line.startswith(" " * 14)))) <= 100


def on_console(arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a shell with nothing of this environment's language; what it says comes back as bytes."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON", "GPUDOCTOR_"))}
    return subprocess.run(
        ["bash", "-c", arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
        env={**bare, "HOME": "/nonexistent", "G": PROGRAM, "S": str(LOST), **variables},
    )


@pytest.mark.parametrize(
    "arguments",
    ['"$G" check --snapshot "$S"', '"$G" list', '"$G" check --help', '"$G" explain gpu.xid',
     '"$G" check --snapshot "$S" -vv --color always'],
)  # fmt: skip
def test_a_korean_console_shows_every_letter(arguments: str) -> None:
    done = on_console(f"{arguments} --lang ko", PYTHONIOENCODING="cp949")
    text = done.stdout.decode("cp949")
    assert is_korean(text)
    assert re.search(r"\\u[0-9a-f]{4}", text) is None
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", ['"$G" check --snapshot "$S"', '"$G" list', '"$G" --help', '"$G" explain nothing']
)
def test_a_console_without_the_letters_is_told_in_english(arguments: str) -> None:
    done = on_console(f"{arguments} --lang ko", PYTHONIOENCODING="ascii")
    text = (done.stdout + done.stderr).decode("ascii")
    assert text
    assert re.search(r"\\u[0-9a-f]{4}", text) is None


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1", "nonsense"])
@pytest.mark.parametrize("arguments", ['"$G" check --snapshot "$S"', '"$G" explain gpu.xid', '"$G" check --help'])
def test_a_bare_locale_is_told_in_english(locale: str, arguments: str) -> None:
    done = on_console(arguments, LANG=locale)
    assert done.stderr == b""
    done.stdout.decode("ascii")


@pytest.mark.parametrize("arguments", ['check --snapshot "$S"', "list", "explain gpu.xid", "check --help"])
def test_a_reader_that_goes_away_ends_it_quietly(arguments: str) -> None:
    done = on_console(f'"$G" {arguments} --lang ko | head -c 10 >/dev/null', PYTHONIOENCODING="cp949")
    assert (done.returncode, done.stderr) == (0, b"")


def on_terminal(columns: int, arguments: list[str], **variables: str) -> str:
    """Run the command on a terminal of this width and return what it wrote there."""
    import fcntl
    import pty
    import struct
    import termios

    own, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "GPUDOCTOR_", "COLUMNS"))}
    process = subprocess.Popen([PROGRAM, *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                               env={**bare, "HOME": "/nonexistent", "TERM": "xterm", **variables})  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(own, 65536)
        except OSError:
            break
        if not piece:
            break
        said += piece
    os.close(own)
    process.wait(timeout=60)
    return said.decode("utf-8")


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}], ids=["color", "no-color"])
def test_a_terminals_width_is_kept(columns: int, variables: dict[str, str]) -> None:
    said = on_terminal(columns, ["check", "--snapshot", str(LOST), "--lang", "ko"], **variables)
    lines = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line) for line in said.replace("\r", "").splitlines()]
    # Commands are copied: they are never wrapped.
    prose = [line for line in lines if not line.startswith(" " * 14)]
    assert columns // 2 < max(map(cell_len, prose)) <= columns
    assert ("\x1b[" in said) is not bool(variables)


def test_english_help_reads_no_catalogue() -> None:
    code = (
        "import sys; from gpudoctor.cli import run; run(['check', '--help'])\n"
        "from gpudoctor.reports import language; sys.exit(language._catalogue.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False,
                          env={**os.environ, "GPUDOCTOR_LANG": "en"})  # fmt: skip
    assert done.returncode == 0
