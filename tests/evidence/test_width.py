"""In a terminal of 80 columns nothing but a command, which is to be copied whole, is longer than a line."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

FOLDER = Path(__file__).parents[2] / "fixtures" / "evidence"
COMMANDS = 14


def in_terminal(columns: int, *arguments: object) -> list[str]:
    """Run the command with a terminal as its standard output; return the lines that it shows."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "gpudoctor", *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1", "GPUDOCTOR_LANG": "en", "LC_ALL": "C.UTF-8"}
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=child, stderr=child, env=environment)
    os.close(child)
    shown = b""
    try:
        while select.select([parent], [], [], 60)[0] and (block := os.read(parent, 65536)):
            shown += block
    except OSError:
        pass  # a terminal whose other side is closed ends so
    finally:
        os.close(parent)
        started.kill()
        started.wait(60)
    return shown.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")


@pytest.mark.parametrize(
    "paste", ["bug-report-repeats-an-xid", "ollama-ps-and-the-card", "slow-when-several-ask", "vllm-out-of-memory"]
)
def test_no_sentence_leaves_the_screen(paste: str) -> None:
    files = sorted(each for each in (FOLDER / paste).iterdir() if each.name != "expected.json")
    lines = in_terminal(80, "diagnose", *files)
    assert len(lines) > 5
    long = [line for line in lines if cell_len(line) > 80]
    assert [line for line in long if not line.startswith(" " * COMMANDS)] == []
