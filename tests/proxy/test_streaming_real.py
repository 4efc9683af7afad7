"""Real nginx before a backend that streams: what is said of its settings is what people then see."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tier("nginx")

Command = Callable[..., subprocess.CompletedProcess[str]]
Proxied = Callable[[str], tuple[int, Path]]
PIECES, PAUSE_SECONDS = 15, 0.06
SILENCE_SECONDS = 2.5


class Backend(http.server.BaseHTTPRequestHandler):
    """Streams small pieces, stays silent for a while, or takes what is sent."""

    def do_GET(self) -> None:
        if self.path.endswith("/silent"):
            time.sleep(SILENCE_SECONDS)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(PIECES if self.path.endswith("/stream") else 1):
                self.wfile.write(b"data: {}\n\n")
                time.sleep(PAUSE_SECONDS)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxied(backend: int, tmp_path: Path) -> Iterator[Proxied]:
    """Start nginx with these lines in its location; return its port and its configuration."""
    started: list[subprocess.Popen[bytes]] = []

    def start(lines: str) -> tuple[int, Path]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        temporary = "".join(f"  {kind}_temp_path {tmp_path}/{kind};\n" for kind in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
        path = tmp_path / "nginx.conf"
        path.write_text(
            f"events {{}}\nhttp {{\n{temporary}  access_log off;\n  upstream vllm {{ server 127.0.0.1:{backend}; }}\n"
            f"  server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass http://vllm;\n{lines}\n"
            "    }\n  }\n}\n"
        )
        options = f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
        started.append(subprocess.Popen(["nginx", "-p", str(tmp_path), "-c", str(path), "-g", options],
                                        stderr=subprocess.DEVNULL))  # fmt: skip
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        return port, path

    yield start
    for each in started:
        each.terminate()
        each.wait(10)


def wait_for_first_share(port: int) -> float:
    """The part of the whole answer's time that passes before anything of it is seen."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/v1/stream")
    answer = connection.getresponse()
    answer.read(1)
    first = time.monotonic() - started
    answer.read()
    whole = time.monotonic() - started
    connection.close()
    return first / whole


def status(port: int, path: str = "/v1/silent", body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        return connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        return connection.getresponse().status
    finally:
        connection.close()


def judged(gpudoctor: Command, path: Path, check: str) -> str:
    done = gpudoctor("serving", "http://127.0.0.1:9", "--proxy", path, "--json")
    (found,) = [each for each in json.loads(done.stdout)["results"] if each["id"] == check]
    return str(found["status"])


def test_buffering_that_is_warned_of_holds_the_stream_back(gpudoctor: Command, proxied: Proxied) -> None:
    port, path = proxied("")
    assert (judged(gpudoctor, path, "proxy.buffering"), wait_for_first_share(port) > 0.8) == ("warn", True)


def test_the_line_that_is_advised_lets_it_flow(gpudoctor: Command, proxied: Proxied) -> None:
    port, path = proxied("proxy_buffering off;")
    assert (judged(gpudoctor, path, "proxy.buffering"), wait_for_first_share(port) < 0.3) == ("pass", True)


def test_a_silence_longer_than_the_timeout_ends_in_504(gpudoctor: Command, proxied: Proxied) -> None:
    port, path = proxied("proxy_read_timeout 500ms;")
    assert (judged(gpudoctor, path, "proxy.timeout"), status(port)) == ("warn", 504)


def test_the_same_silence_is_borne_with_the_line_that_is_advised(gpudoctor: Command, proxied: Proxied) -> None:
    port, path = proxied("proxy_read_timeout 600s;")
    assert (judged(gpudoctor, path, "proxy.timeout"), status(port)) == ("pass", 200)


def test_a_prompt_beyond_the_default_is_refused_with_413(gpudoctor: Command, proxied: Proxied) -> None:
    port, path = proxied("")
    assert (judged(gpudoctor, path, "proxy.body-too-small"), status(port, "/v1/x", b"x" * (1 << 20 | 1))) == (
        "warn", 413)  # fmt: skip


def test_it_passes_with_the_line_that_is_advised(gpudoctor: Command, proxied: Proxied) -> None:
    port, path = proxied("client_max_body_size 50m;")
    assert (judged(gpudoctor, path, "proxy.body-too-small"), status(port, "/v1/x", b"x" * (1 << 20 | 1))) == (
        "pass", 200)  # fmt: skip


def test_nginx_writes_the_lines_that_diagnose_knows(gpudoctor: Command, proxied: Proxied, tmp_path: Path) -> None:
    port, _ = proxied("proxy_read_timeout 500ms;")
    status(port)
    status(port, "/v1/x", b"x" * (1 << 20 | 1))
    done = gpudoctor("diagnose", tmp_path / "error.log", "--json")
    found = {each["id"] for each in json.loads(done.stdout)["results"] if each["status"] in ("fail", "warn")}
    assert {"proxy.timeout", "proxy.body-too-small"} <= found
