"""The page as a real browser shows it: light, dark, on paper, and a phone."""

import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gpudoctor.reports.formats import renderer

from .recorded import hostile, machine

pytestmark = pytest.mark.tier("chromium")
Browser = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    def run(*options: str) -> subprocess.CompletedProcess[bytes]:
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        page = f"file://{tmp_path / 'page.html'}"
        return subprocess.run([*command, profile, *options, page], capture_output=True, timeout=120, check=True)

    return run


def pixels(path: Path) -> tuple[tuple[int, int], bytes, int]:
    """Return the size of a PNG, the colour of its first pixel, and how many bytes its rows hold before packing."""
    data = path.read_bytes()
    size = struct.unpack(">II", data[16:24])
    packed, place = b"", 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        packed += data[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += length + 12
    rows = zlib.decompress(packed)
    # Before the first pixel there is nothing that a filter could add to it.
    return (size[0], size[1]), rows[1:4], len(packed)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_reader_s_colours(browser: Browser, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "page.html").write_text(renderer("html")(*machine("a100x4-second-hand")))
    shot = tmp_path / "shot.png"
    setting = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    browser(f"--screenshot={shot}", "--window-size=900,1200", setting)
    size, first, ink = pixels(shot)
    assert size == (900, 1200)
    assert (sum(first) > 600) == (scheme == "light")
    # A page without words packs into far less.
    assert ink > 20_000


def test_the_page_prints(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(renderer("html")(*machine("h100x8-healthy")))
    paper = tmp_path / "page.pdf"
    browser(f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    assert paper.read_bytes().startswith(b"%PDF-")


def test_what_a_hostile_machine_wrote_stays_text(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(renderer("html")(*hostile()))
    shown = browser("--dump-dom", "--enable-logging=stderr").stdout.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<script" not in shown
    assert "<img" not in shown
