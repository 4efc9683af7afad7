"""What a plan looks like: in narrow, Korean and bare consoles, as SVG, and in a real browser."""

import os
import re
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
PLANS = Path(__file__).parents[2] / "fixtures" / "plan"
HOUSE = PLANS / "rtx8000x4.toml"


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(gpudoctor: Run, columns: int) -> None:
    text = gpudoctor("plan", HOUSE, COLUMNS=str(columns)).stdout
    picture = [line for line in text.splitlines() if "[" in line and "left of" in line]
    assert len(picture) == 4
    words = [line for line in text.splitlines() if line.startswith("  ok") or line in picture]
    assert all(len(line) <= max(columns, 56) for line in words)


def test_the_picture_is_plain_ascii_and_each_bar_as_long_as_its_card_is_large(gpudoctor: Run) -> None:
    text = gpudoctor("plan", PLANS / "a100-and-4090.toml").stdout
    assert text.isascii()
    bars = [match[1] for match in re.finditer(r"GPU \d+ +\[([^]]+)\]", text)]
    assert len(bars[1]) == round(len(bars[0]) * 24 / 80)


@pytest.mark.parametrize("setting", [{"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "cp949"}])
def test_korean_names_break_no_console(checkout: Path, tmp_path: Path, setting: dict[str, str]) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('[[service]]\nname = "말하기 서비스"\nmemory = "2GiB"\n[[service]]\nname = "b"\nmemory = "1GiB"\n')
    program = Path(sys.executable).with_name("gpudoctor")
    done = subprocess.run(
        [program, "plan", file, "--hardware", "L4"], capture_output=True, env={**os.environ, **setting}, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    if "PYTHONIOENCODING" in setting:
        rows = [line for line in done.stdout.decode("cp949").splitlines() if line.startswith(("  A", "  B"))]
        wide = {sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) for line in rows}
        assert len(wide) == 1, "the columns stand beneath each other"


def test_the_svg_is_one_picture_with_every_service(gpudoctor: Run, tmp_path: Path) -> None:
    gpudoctor("plan", HOUSE, "-o", f"svg={tmp_path / 'plan.svg'}")
    root = ElementTree.parse(tmp_path / "plan.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = " ".join(root.itertext())
    assert all(name in text for name in ("main-brain", "fast-brain", "whisper", "comfyui", "GPU 3"))
    assert all(float(each.get("width", "0").rstrip("%")) > 0 for each in root.iter("{http://www.w3.org/2000/svg}rect"))


def test_names_are_text_and_no_markup(gpudoctor: Run, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("[[service]]\nname = '<script>alert(1)</script>'\nmemory = '1GiB'\n")
    for format_ in ("svg", "html"):
        text = gpudoctor("plan", tmp_path / "p.toml", "--hardware", "L4", "-f", format_).stdout
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_the_page_needs_nothing_else(gpudoctor: Run) -> None:
    page = gpudoctor("plan", HOUSE, "-f", "html").stdout
    assert not re.search(r"(?:src|href)=", page)
    assert "<script" not in page


@pytest.mark.tier("chromium")
@pytest.mark.parametrize("kind", ["html", "svg"])
def test_a_real_browser_draws_it(gpudoctor: Run, tmp_path: Path, kind: str) -> None:
    page, shot = tmp_path / f"plan.{kind}", tmp_path / "shot.png"
    gpudoctor("plan", HOUSE, "-o", f"{kind}={page}")
    browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=900,700"]  # fmt: skip
    subprocess.run([*browser, f"--screenshot={shot}", f"file://{page}"], capture_output=True, timeout=120, check=True)
    assert shot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    # An empty page packs into less.
    assert shot.stat().st_size > 15_000
    dom = subprocess.run([*browser, "--dump-dom", f"file://{page}"], capture_output=True, timeout=120, check=True)
    assert dom.stdout.count(b"<rect") >= 8
