"""The Hub and the registry as a local server plays them: what is asked for, and what must never be."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.fit.model import Form, Model, Unusable
from gpudoctor.fit.sources import load
from gpudoctor.fit.sources.names import parse
from gpudoctor.fit.sources.online import Endpoints, load_online

from .making import CONFIG, write_folder, write_gguf


class Server(ThreadingHTTPServer):
    files: dict[str, bytes]
    asked: list[tuple[str, str | None]]
    refuse: str = ""
    break_off: int = 0
    tokens: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        server.tokens.append(self.headers.get("Authorization") or "")
        if self.path.startswith("/away/"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{server.server_port}{self.path[5:]}")
            self.end_headers()
            return
        if server.refuse and self.path.startswith(server.refuse):
            self.send_error(401)
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        data = server.files[self.path]
        total, status, asked = len(data), 200, self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            data, status = data[int(first) : int(last) + 1], 206
        self.send_response(status)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(data) - 1}/{total}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if server.break_off and len(data) > 4000:
            server.break_off -= 1
            data = data[:3000]
            self.close_connection = True
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.files, made.asked, made.tokens = {}, [], []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def ask(
    server: Server, text: str, *, quant: str | None = None, form: Form | None = None, token: str | None = None
) -> Model:
    name = parse(text)
    assert name is not None
    at = f"http://127.0.0.1:{server.server_port}"
    return load_online(name, quant=quant, dtype=None, form=form, token=token, endpoints=Endpoints(at, at))


def put_folder(server: Server, folder: Path, repository: str) -> None:
    for file in folder.iterdir():
        server.files[f"/{repository}/resolve/main/{file.name}"] = file.read_bytes()


def put_blob(server: Server, name: str, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(data)}
    server.files[f"/v2/library/{name}/manifests/latest"] = json.dumps({"layers": [layer]}).encode()
    server.files[f"/v2/library/{name}/blobs/sha256:{digest}"] = data


@pytest.mark.parametrize("shards", [1, 3])
def test_a_repository_is_judged_by_its_headers(server: Server, tmp_path: Path, shards: int) -> None:
    put_folder(server, write_folder(tmp_path, shards), "some/model")
    model = ask(server, "some/model")
    here = load(str(tmp_path))
    assert (model.source, model.local) == ("hub", False)
    assert model.weights_bytes == here.weights_bytes
    assert model.layers == here.layers
    if shards > 1:
        assert not [path for path, _ in server.asked if path.endswith(".safetensors")]


def test_weights_are_never_fetched(server: Server, tmp_path: Path) -> None:
    put_folder(server, write_folder(tmp_path, 1, config={**CONFIG, "model_type": "marvin"}), "some/model")
    ask(server, "some/model")
    assert all(asked for path, asked in server.asked if path.endswith(".safetensors"))


def test_an_unknown_architecture_is_counted_from_all_headers(server: Server, tmp_path: Path) -> None:
    put_folder(server, write_folder(tmp_path, 3, config={**CONFIG, "model_type": "marvin"}), "some/model")
    model = ask(server, "some/model")
    assert model.weights_bytes == load(str(tmp_path)).weights_bytes
    assert model.unknown


def test_a_gguf_repository_is_asked_for_one_quantization(server: Server, tmp_path: Path) -> None:
    data = write_gguf(tmp_path / "a.gguf").read_bytes()
    listed = [{"rfilename": name} for name in ("m-Q8_0.gguf", "m-Q4_K_M.gguf", "README.md")]
    server.files["/api/models/some/model-GGUF"] = json.dumps({"siblings": listed}).encode()
    server.files["/some/model-GGUF/resolve/main/m-Q8_0.gguf"] = data
    model = ask(server, "hf.co/some/model-GGUF:Q8_0")
    assert model.weights_bytes == load(str(tmp_path / "a.gguf")).weights_bytes
    assert not [path for path, _ in server.asked if "Q4_K_M" in path]
    with pytest.raises(Unusable, match="no GGUF file of Q2_K"):
        ask(server, "some/model-GGUF", quant="Q2_K")


def test_a_tag_is_read_from_the_registry(server: Server, tmp_path: Path) -> None:
    put_blob(server, "tiny", write_gguf(tmp_path / "a.gguf").read_bytes())
    model = ask(server, "tiny")
    assert (model.source, model.form, model.local) == ("ollama registry", "gguf", False)
    assert model.weights_bytes == load(str(tmp_path / "a.gguf")).weights_bytes
    assert ask(server, "tiny", quant="F16").quantization == "F16"


def test_an_answer_that_breaks_off_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    put_blob(server, "tiny", write_gguf(tmp_path / "a.gguf").read_bytes())
    server.break_off = 2
    assert ask(server, "tiny").weights_bytes > 0
    ranges = [asked for path, asked in server.asked if "blobs" in path]
    assert ranges[1] is not None
    assert ranges[1].startswith("bytes=3000-")


def test_a_gated_model_is_explained(server: Server, tmp_path: Path) -> None:
    put_folder(server, write_folder(tmp_path), "some/model")
    server.refuse = "/some/model"
    with pytest.raises(Unusable, match="gated") as caught:
        ask(server, "some/model", token="hf_secret")
    assert "HF_TOKEN" in (caught.value.hint or "")
    assert "hf_secret" not in f"{caught.value.message}{caught.value.hint}{caught.value.where}"
    assert "Bearer hf_secret" in server.tokens


def test_the_token_stays_with_its_host(server: Server) -> None:
    server.files["/some/model/resolve/main/config.json"] = json.dumps(CONFIG).encode()
    name = parse("some/model")
    assert name is not None
    at = f"http://127.0.0.1:{server.server_port}/away"
    with pytest.raises(Unusable):
        load_online(name, quant=None, dtype=None, form=None, token="hf_secret", endpoints=Endpoints(at, at))
    by_path = dict(zip([path for path, _ in server.asked], server.tokens, strict=True))
    assert by_path["/away/some/model/resolve/main/config.json"] == "Bearer hf_secret"
    assert by_path["/some/model/resolve/main/config.json"] == ""


def test_what_nobody_has_brings_the_nearest_names(server: Server) -> None:
    with pytest.raises(Unusable, match="no model called") as caught:
        ask(server, "qwen3:9b")
    assert "qwen3:8b" in (caught.value.hint or "")
    with pytest.raises(Unusable):
        ask(server, "some/thing")


@pytest.mark.parametrize(
    "data", [b"", b"not json", b"[]", b'{"layers": [{}]}', b'{"a":' * 10_000, b"{}" + b" " * (2 << 20)]
)
def test_a_hostile_answer_is_one_line(server: Server, data: bytes) -> None:
    server.files["/v2/library/tiny/manifests/latest"] = data
    server.files["/some/model/resolve/main/config.json"] = data
    for name in ("tiny", "some/model"):
        with pytest.raises(Unusable) as caught:
            ask(server, name)
        assert "\n" not in caught.value.message


def test_no_network_is_one_line() -> None:
    name = parse("some/model")
    assert name is not None
    with pytest.raises(Unusable, match="cannot be reached"):
        load_online(
            name,
            quant=None,
            dtype=None,
            form=None,
            token=None,
            endpoints=Endpoints("http://127.0.0.1:9", "http://127.0.0.1:9"),
        )


def test_the_network_is_asked_first_and_the_catalogue_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> Model:
        raise Unusable("cannot be reached: no network")

    monkeypatch.setattr("gpudoctor.fit.sources.online.load_online", unreachable)
    model = load("qwen3:8b", online=True, ollama_models="/nonexistent")
    assert model.source == "catalogue"
    assert "cannot be reached" in model.assumed[0]
    with pytest.raises(Unusable, match="cannot be reached"):
        load("nobody/nothing", online=True, hub_cache="/nonexistent")
    other = load("qwen3:14b", ollama_models="/nonexistent")
    monkeypatch.setattr("gpudoctor.fit.sources.online.load_online", lambda *_, **__: other)
    assert load("qwen3:8b", online=True, ollama_models="/nonexistent") is other
