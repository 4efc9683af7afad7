"""What answers at a port need not be an engine, nor kind: one clear finding each, in bounded time."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .engines import OLLAMA, VLLM, Server, raw_server

Command = Callable[..., subprocess.CompletedProcess[str]]
Serving = Callable[..., dict[str, Any]]
Engine = Callable[..., Server]


def verdict(report: dict[str, Any]) -> tuple[str, str]:
    """Status and words of the gatekeeper."""
    (found,) = [r for r in report["results"] if r["id"] == "serving.unreachable"]
    return found["status"], found["message"]


def hang_after_headers(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    time.sleep(30)


def drip(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(300):
        connection.sendall(b"X-Slow: 1\r\n")
        time.sleep(0.1)


def endless(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
    while True:
        connection.sendall(b"1," * 65536)


def reset(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def other_protocol(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
    time.sleep(1)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (hang_after_headers, "in time"),
        (drip, "within 8 s|in time"),
        (endless, "longer than"),
        (reset, "closed the connection"),
        (other_protocol, "not HTTP"),
    ],
    ids=["hang", "drip", "endless", "reset", "ssh"],
)
def test_a_server_that_gives_no_answer_is_named(
    serving: Serving, talk: Callable[[socket.socket], None], words: str
) -> None:
    with raw_server(talk) as url:
        status, message = verdict(serving(url))
    assert (status, [w for w in words.split("|") if w in message] != []) == ("fail", True), message


def page(handler: Any) -> None:
    handler.begin("text/html; charset=utf-8")
    handler.wfile.write(b"<!doctype html><title>Jenkins \x1b[31m</title>")


def elsewhere(handler: Any) -> None:
    handler.begin("text/plain", 302, Location="http://192.0.2.7/steal")


def wants_key(handler: Any) -> None:
    handler.begin("application/json", 200 if handler.headers.get("Authorization") == "Bearer key-314159" else 401)
    if handler.headers.get("Authorization"):
        handler.line(VLLM.get(handler.path, {}))


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (page, "fail", "web page"),
        (elsewhere, "fail", "sends on to http://192.0.2.7/steal"),
        (wants_key, "unknown", "wants a key"),
        (lambda handler: handler.begin("application/json", 500), "fail", "HTTP 500"),
        ([1, 2, 3], "fail", "none of the engines known"),
        ("not json", "fail", "no JSON"),
    ],
    ids=["html", "redirect", "key", "500", "list", "text"],
)
def test_what_is_no_engine_is_told_apart(
    serving: Serving, engine: Engine, answer: Any, expected: str, words: str
) -> None:
    server = engine({"*": answer})
    status, message = verdict(serving(server.url))
    assert (status, words in message) == (expected, True), message


def test_an_engine_that_wants_a_key_leaves_no_verdict(serving: Serving, engine: Engine) -> None:
    assert serving(engine({"*": wants_key}).url)["run"]["exit_code"] == 3


def test_the_key_opens_it_and_is_shown_nowhere(gpudoctor: Command, engine: Engine, tmp_path: Path) -> None:
    server = engine({"*": wants_key})
    facts = tmp_path / "facts.json"
    done = gpudoctor("serving", server.url, "--api-key-env", "MY_KEY", "--save", facts, "-vv", MY_KEY="key-314159")
    assert done.returncode == 0
    assert "key-314159" not in done.stdout + done.stderr + facts.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftp://127.0.0.1"], "no address"),
        (["http://user:pw@127.0.0.1:8000"], "holds a user or a password"),
        (["http://127.0.0.1:99999"], "no address"),
        (["http://exa mple:80"], "no address"),
        (["http://127.0.0.1:8000/?a=1"], "more than host, port and path"),
        (["--api-key-env", "MY_KEY"], "a key is sent to an engine that was named"),
        (["http://127.0.0.1:1", "--api-key-env", "sk-THE-KEY-ITSELF"], "no name of a variable"),
        (["http://127.0.0.1:1", "--api-key-env", "UNSET_KEY"], "is not set"),
        (["http://127.0.0.1:1", "--ca-file", "/nonexistent.pem"], "No such file"),
        (["http://127.0.0.1:1", "--ca-file", "/etc/hostname"], "holds no certificate"),
        (["--concurrency", "4"], "is for --live"),
        (["--live", "--concurrency", "1,0"], "no list of numbers"),
        (["--live", "--concurrency", "999"], "too many"),
        (["--snapshot", "/etc/hostname"], "not JSON"),
        (["http://127.0.0.1:1", "--container", "brain"], "choose one"),
    ],
)
def test_bad_input_is_one_clear_line(gpudoctor: Command, arguments: list[str], words: str) -> None:
    done = gpudoctor("serving", *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert words in done.stderr
    assert "THE-KEY" not in done.stderr
    assert ":pw@" not in done.stderr


def test_proxies_of_the_environment_are_not_asked(serving: Serving, engine: Engine) -> None:
    proxy, server = engine({}), engine(OLLAMA)
    serving(server.url, http_proxy=proxy.url, HTTP_PROXY=proxy.url, ALL_PROXY=proxy.url, no_proxy="")
    assert (proxy.asked, server.asked != []) == ([], True)


def test_wrong_types_everywhere_make_no_facts_and_no_crash(serving: Serving, engine: Engine) -> None:
    odd = {"name": 7, "size": "many", "size_vram": -1, "context_length": 10**30, "details": [], "expires_at": {}}
    report = serving(engine({"/api/version": {"version": "0.11.10"}, "/api/ps": {"models": [odd, None, "x", {"name":
                             "a\x1b]0;b\x07", "size": True, "size_vram": 1.5}]}, "/api/tags": {"models": 3},
                             "/api/show": []}).url)  # fmt: skip
    assert [r["message"] for r in report["results"] if "crashed" in r["message"]] == []
    assert verdict(report)[0] in ("info", "pass")


def test_what_an_engine_says_cannot_steer_the_terminal(gpudoctor: Command, engine: Engine) -> None:
    evil = {**VLLM, "/v1/models": {"data": [{"id": "\x1b[2J\u202eevil\x07", "owned_by": "vllm"}]},
            "/version": {"version": "1\x1b]0;x\x07"}}  # fmt: skip
    done = gpudoctor("serving", engine(evil).url, "-v")
    assert [sign for sign in "\x1b\x07\u202e" if sign in done.stdout] == []


def test_a_certificate_of_a_private_authority(serving: Serving, engine: Engine, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl that makes certificates here")
    server = engine(VLLM, (certificate, key))
    refused, trusted = verdict(serving(server.url)), verdict(serving(server.url, "--ca-file", certificate))
    assert (refused[0], "certificate is not trusted" in refused[1], trusted[0]) == ("fail", True, "info")


def test_plain_http_asked_with_tls_is_named(serving: Serving, engine: Engine) -> None:
    status, message = verdict(serving(engine(VLLM).url.replace("http:", "https:")))
    assert (status, "TLS" in message) == ("fail", True)


def test_an_unknown_host_is_named(serving: Serving) -> None:
    status, message = verdict(serving("http://no-such-host.invalid:8000"))
    assert (status, "name of its host is not known" in message) == ("fail", True)


def test_a_port_where_nobody_listens_is_named(serving: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    status, message = verdict(serving(f"http://127.0.0.1:{port}"))
    assert (status, "nobody listens there" in message) == ("fail", True)


def test_an_engine_that_quotes_the_key_gets_it_into_no_report(
    gpudoctor: Command, engine: Engine, tmp_path: Path
) -> None:
    def echo(handler: Any) -> None:
        handler.begin("application/json", 500 if handler.path == "/v1/completions" else 200)
        handler.line({"error": {"message": f"bad {handler.headers.get('Authorization')}"}})

    listing = {"data": [{"id": "model of Bearer key-314159", "owned_by": "vllm"}]}
    server = engine({**VLLM, "/v1/models": listing, "/v1/completions": echo})
    facts = tmp_path / "facts.json"
    done = gpudoctor("serving", server.url, "--api-key-env", "MY_KEY", "--live", "--save", facts, "-vv",
                     MY_KEY="key-314159")  # fmt: skip
    assert done.returncode == 1
    assert "key-314159" not in done.stdout + done.stderr + facts.read_text()


def test_a_model_that_takes_no_completions_is_no_failure(serving: Serving, engine: Engine) -> None:
    def refuse(handler: Any) -> None:
        handler.begin("application/json", 400)
        handler.line({"object": "error", "message": "The model does not support Completions API"})

    report = serving(engine({**VLLM, "/v1/completions": refuse}).url, "--live")
    (found,) = [r for r in report["results"] if r["id"] == "serving.slow"]
    assert (found["status"], "does not support Completions" in found["message"]) == ("info", True)


def test_not_a_number_of_seconds_is_refused(gpudoctor: Command) -> None:
    done = gpudoctor("serving", "--live", "--max-seconds", "nan")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
