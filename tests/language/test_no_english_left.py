"""A Korean run says no sentence in English: every command, with its commonest failures."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
CHECKOUT = Path(__file__).parents[2]
LOST = "fixtures/rtx8000x4-container-lost-its-gpus/snapshot.json"
STARVED = "fixtures/plan/starved.yml"
#: Lines that are English in any language: who judged what, counts by status, commands to copy, what was quoted.
ALLOWED = (
    r"gpudoctor \d",
    r"  \S+ +\d+ (pass|skip|info|warn|fail|unknown|accepted)\b",
    r" {10,}\S",
    r"  probe ",
    r"  [A-Z]  \S+ ",
    r"gpudoctor-\S+ ->|\s+\S+ -> ",
    r"\s*\[.*\]$",
    r"\w+ +\d+  \d{4}-",
)
RUNS = {
    "check": f"check --snapshot {LOST}",
    "check-whole": f"check --snapshot {LOST} -vv",
    "check-healthy": "check --snapshot fixtures/h100x8-healthy/snapshot.json -v",
    "check-compose": f"check --snapshot {LOST} --compose {STARVED}",
    "fit": 'fit llama3.3:70b --hardware "1x RTX 4090" --driver 580.65.06 --explain',
    "fit-vllm": 'fit gpt-oss:120b --hardware "4x RTX 8000" --engine vllm --explain',
    "fit-contexts": 'fit gpt-oss:120b --hardware "2x RTX 8000" --engine ollama --contexts 4096,8192',
    "plan": f'plan {STARVED} --hardware "2x RTX 4090" --explain',
    "plan-page": f'plan {STARVED} --hardware "2x RTX 4090" --format html',
    "plan-picture": f'plan {STARVED} --hardware "2x RTX 4090" --format svg',
    "diagnose": "diagnose fixtures/evidence",
    "serving": f"serving --snapshot {LOST}",
    "serving-nobody": "serving http://127.0.0.1:1",
    "compat": 'compat vllm==0.33.0 --hardware "1x RTX 4090" --driver 535.247.01',
    "compose-lint": f'compose lint {STARVED} --hardware "2x RTX 4090"',
    "compose-fix": f'compose fix {STARVED} --hardware "2x RTX 4090"',
    "verify": "verify README.md",
    "profile": "profile save TMP/golden.json --of " + LOST,
    "matrices": "matrices",
    "matrices-taken": "matrices --bundle TMP/tables.json",
    "list": "list",
    "integrate": "integrate",
    "integrate-slurm": "integrate slurm",
    "explain": "explain exit-codes",
}
FAILURES = {
    "no-command": "chek",
    "no-option": "check --nonsense",
    "no-number": "check --timeout soon",
    "no-file": "check --snapshot /nonexistent",
    "no-format": "check -o foo=x",
    "gpus": "check --gpus x",
    "exclusive": "check --wait 5m --watch 5m",
    "run-nothing": "run",
    "fit-nothing": "fit",
    "fit-unknown": "fit nosuch:1b --hardware '1x RTX 4090'",
    "fit-gpu": "fit llama3.3:70b --hardware '1x RTX 9999'",
    "plan-gpu": f"plan {STARVED} --hardware '2x RTX 9999'",
    "plan-file": "plan /nonexistent.yml",
    "diagnose-file": "diagnose /nonexistent",
    "serving-address": "serving http://user:secret@127.0.0.1:1",
    "compat-nothing": "compat",
    "compose-no-yaml": "compose lint README.md",
    "compose-no-file": "compose fix /nonexistent.yml",
    "verify-no-file": "verify /nonexistent",
    "merge-no-file": "report merge /nonexistent",
    "diff-one": "report diff /nonexistent",
    "profile-place": f"profile save /nonexistent/x --of {LOST}",
    "matrices-table": "matrices nosuch",
    "matrices-file": "matrices --from /nonexistent",
    "explain-unknown": "explain gpu.nosuch",
    "integrate-unknown": "integrate nosuch",
    "snapshot-place": "snapshot -o /nonexistent/x",
    "bundle-place": "bundle -o /tmp",
    "bundle-platform": "bundle -o TMP/b.tar.gz --platform win32",
    "schema-unknown": "schema nosuch",
}  # fmt: skip


def told(gpudoctor: Command, line: str, tmp_path: Path) -> str:
    """Run it in Korean in the checkout and return all it says; of a page or picture what is read."""
    import shlex

    words = [word.replace("TMP", str(tmp_path)) for word in shlex.split(line)]
    done = gpudoctor("--lang", "ko", *words, cwd=CHECKOUT, COLUMNS="200")
    said = done.stdout
    if said.lstrip().startswith("<"):
        said = re.sub(r"<[^>]+>", "\n", re.sub(r"(?s)<(style|pre)\b.*?</\1>", "", said))
    return said + done.stderr


def english(text: str) -> list[str]:
    """Return the lines that are English prose: three words in a row that are no path, option or name."""
    word = r"(?<![\w./=<>{}:\"'-])[A-Za-z]?[a-z]+(?:'s)?(?![\w/=.{}\"'-]*[/=._])"
    prose = re.compile(rf"{word}[,;:]? {word}[,;:]? {word}")
    return [
        line for line in text.splitlines()
        if prose.search(line) and not re.search("[가-힣]", line) and not any(re.match(form, line) for form in ALLOWED)
    ]  # fmt: skip


def test_english_is_found() -> None:
    said = "gpudoctor: /x: there is no such folder"
    assert english(f"{said}\n어떤 문장 with three english words\n  gpu  3 pass  2 skip") == [said]


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in RUNS.items()])
def test_a_report_has_no_english_sentence(gpudoctor: Command, line: str, tmp_path: Path) -> None:
    said = told(gpudoctor, line, tmp_path)
    assert re.search("[가-힣]", said)
    assert english(said) == []


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in FAILURES.items()])
def test_a_failure_is_in_korean(gpudoctor: Command, line: str, tmp_path: Path) -> None:
    said = told(gpudoctor, line, tmp_path)
    assert re.search("[가-힣]", said)
    assert english(said) == []
