"""What huggingface_hub itself leaves behind, its cache and ``--local-dir``, from a hub of two files on this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .conftest import Verdict
from .stores import flip, sha256, sharded

pytestmark = pytest.mark.tier("install")
Verify = Callable[..., Verdict]
COMMIT = "f" * 40
_DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
for name in ("config.json", "model.safetensors"):
    hf_hub_download("acme/tiny", name, **({"local_dir": sys.argv[1]} if sys.argv[2] == "local" else
                                          {"cache_dir": sys.argv[1]}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with huggingface_hub."""
    folder = tmp_path_factory.mktemp("hub")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "huggingface_hub"]
    if subprocess.run(pip, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        pytest.skip("huggingface_hub does not install here")
    return folder / "bin/python"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of a hub that answers as huggingface.co does for files: ETags, sizes, the commit."""
    weights = sharded(tmp_path / "made", 1)[0].read_bytes()
    config = b'{"model_type": "llama"}'
    files = {
        "config.json": (config, hashlib.sha1(b"blob %d\0" % len(config) + config).hexdigest()),
        "model.safetensors": (weights, sha256(weights)),
    }

    class Handler(BaseHTTPRequestHandler):
        def answer(self, body: bool) -> None:
            found = files.get(self.path.rsplit("/", 1)[-1])
            if found is None:
                self.send_error(404)
                return
            data, etag = found
            self.send_response(200)
            linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))} if len(etag) == 64 else {}
            for name, value in {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(data)),
                                **linked}.items():  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer(True)

        def do_HEAD(self) -> None:
            self.answer(False)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def download(python: Path, hub: str, folder: Path, form: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [str(python), "-c", _DOWNLOAD, str(folder), form], capture_output=True, text=True, check=False,
        env={**environment, "HF_ENDPOINT": hub, "HOME": str(folder.parent), "HF_HUB_DISABLE_XET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("form", ["cache", "local"])
def test_a_download_is_whole_until_one_bit_turns(
    verify: Verify, tmp_path: Path, python: Path, hub: str, form: str
) -> None:
    folder = tmp_path / "copy"
    download(python, hub, folder, form)
    whole = verify(folder)
    assert (whole.code, whole.of("fail", "warn", "unknown")) == (0, [])
    assert len([each for each in whole.of("pass") if each[0] == "model.files-broken"]) == 2
    for name in ("config.json", "model.safetensors"):
        path = next(folder.rglob(name)).resolve()
        flip(path, 12)
        flipped = verify(folder).of("fail")
        flip(path, 12)
        assert [subject for _, subject in flipped] == [str(path.relative_to(tmp_path))], sys.version
    next(folder.rglob("config.json")).resolve().unlink()
    assert verify(folder).code == 1
