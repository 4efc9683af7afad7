"""The maintainer's refresh: what an index says, read from a small one here, and from the real one when it answers."""

import functools
import http.server
import importlib.util
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gpudoctor.matrices import vllm


def _tool() -> ModuleType:
    # Tests run against the installed package; the tool is not in it.
    place = Path(__file__).parents[2] / "tools" / "refresh_matrices.py"
    spec = importlib.util.spec_from_file_location("refresh_matrices", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _tool()

METADATA = """Metadata-Version: 2.1
Name: vllm
Version: 0.33.0
Requires-Dist: torch==2.14.9
Requires-Dist: numpy>=2
Requires-Dist: flashinfer-python==0.7.2.post1
Requires-Dist: flash-attn==9.9 ; extra == "fast"
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and parts of its files."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        if asked is None:
            super().do_GET()
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    handler = functools.partial(Handler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    server.server_close()
    thread.join()


def wheel() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("vllm/_C.abi3.so", b"\0" * 300_000)
        archive.writestr("vllm-0.33.0.dist-info/METADATA", METADATA)
    return made.getvalue()


def test_differences_of_a_small_index(index: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    address, folder = index
    names = [f"vllm-{row.version}-cp38-abi3-manylinux1_x86_64.whl" for row in vllm.releases()]
    links = "".join(f'<a href="/f/{name}" data-requires-python="{row.requires_python.replace("<", "&lt;")}">{name}</a>'
                    for name, row in zip(names, vllm.releases(), strict=True))
    newer = '<a href="/f/vllm-99.0.0-cp38-abi3-manylinux1_x86_64.whl">x</a><a href="/f/vllm-99.1rc1.tar.gz">y</a>'
    (folder / "vllm").mkdir()
    (folder / "vllm" / "index.html").write_text(f"<html><body>{links}{newer}</body></html>", encoding="utf-8")
    (folder / "f").mkdir()
    (folder / "f" / names[-1]).write_bytes(wheel())
    assert tool.main(["vllm", "--index", address, "--read", "1"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["vllm 99.0.0: release: - -> new", "vllm 0.33.0: torch: 2.14.0 -> 2.14.9", "2 differences"]


def test_an_index_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["torch", "--index", "http://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.startswith("refresh_matrices: http://127.0.0.1:9/torch/:")


def test_pins_leave_extras_and_ranges_out() -> None:
    assert tool.pins(METADATA) == {"torch": "2.14.9", "flashinfer-python": "0.7.2.post1"}


@pytest.mark.tier("install")
@pytest.mark.parametrize("package", ["torch", "vllm"])
def test_a_sample_agrees_with_the_index(package: str) -> None:
    try:
        found = tool.compare(package, tool.INDEX, 1)
    except tool.Unreachable as error:
        pytest.skip(str(error))
    assert [str(each) for each in found if each.what != "release"] == []
