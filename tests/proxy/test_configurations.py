"""Story N3 through the command line: from nginx's files to the lines to write."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpudoctor.facts.proxy import Configuration
from gpudoctor.nginx.configuration import read_configuration
from gpudoctor.nginx.values import seconds, size

Command = Callable[..., subprocess.CompletedProcess[str]]
Tree = Callable[..., Path]
FIXTURES = Path(__file__).parents[2] / "fixtures"
SITE = "server { listen 80; location /v1/ { proxy_pass http://127.0.0.1:11434; } }\n"


def results(done: subprocess.CompletedProcess[str], area: str = "proxy") -> dict[str, dict[str, Any]]:
    assert "Traceback" not in done.stderr
    return {each["id"]: each for each in json.loads(done.stdout)["results"] if each["id"].startswith(f"{area}.")}


def checked(gpudoctor: Command, root: Path) -> dict[str, dict[str, Any]]:
    return results(gpudoctor("check", "--root", root, "--only", "proxy.*", "--json"))


def replayed(gpudoctor: Command, machine: str) -> dict[str, dict[str, Any]]:
    facts = FIXTURES / machine / "snapshot.json"
    return results(gpudoctor("check", "--snapshot", facts, "--only", "proxy.*", "--json"))


def installed(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / "etc" / "nginx" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def read(files: dict[str, str], first: str = "/nginx.conf") -> Configuration:
    def names(pattern: str) -> list[str]:
        return sorted(files) if "*" in pattern else [name for name in files if name == pattern]

    return read_configuration(first, names, files.get)


@pytest.mark.parametrize(("check", "line"), [("proxy.buffering", "proxy_buffering off;"),
                                             ("proxy.timeout", "proxy_read_timeout 600s;"),
                                             ("proxy.body-too-small", "client_max_body_size 50m;")])  # fmt: skip
def test_n3_the_line_to_write_and_where(gpudoctor: Command, check: str, line: str) -> None:
    found = replayed(gpudoctor, "rtx8000x4-nginx-by-default")[check]
    assert found["status"] == "warn"
    assert found["location"] == {"file": "/etc/nginx/nginx.conf", "line": 8}
    assert found["fix"][0]["text"] == f"In /etc/nginx/nginx.conf, in location /v1/ beside line 8, write: {line}"


def test_n3_a_zone_in_the_wrong_block(gpudoctor: Command) -> None:
    found = replayed(gpudoctor, "rtx8000x4-nginx-zone-in-server")["proxy.config-invalid"]
    assert (found["status"], found["location"]["line"]) == ("fail", 6)
    assert found["message"] == "line 6: limit_req_zone may not stand in server, only in http"


def test_n3_what_is_made_for_streaming_is_accused_of_nothing(gpudoctor: Command) -> None:
    assert {each["status"] for each in replayed(gpudoctor, "rtx8000x4-nginx-made-for-streaming").values()} == {"pass"}


def test_files_below_root_are_read_with_their_includes(gpudoctor: Command, tmp_path: Path) -> None:
    whole = "events {}\nhttp {\n  include conf.d/*.conf;\n}\n"
    root = installed(tmp_path, {"nginx.conf": whole, "conf.d/a.conf": SITE})
    found = checked(gpudoctor, root)["proxy.buffering"]
    assert (found["status"], found["location"]["file"]) == ("warn", "/etc/nginx/conf.d/a.conf")


def test_without_nginx_there_is_nothing_to_judge(gpudoctor: Command, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert {each["status"] for each in checked(gpudoctor, tmp_path).values()} == {"skip"}


def test_another_web_service_is_no_engine(gpudoctor: Command, tmp_path: Path) -> None:
    site = "server { location / { proxy_pass http://127.0.0.1:3000; } location /app { proxy_pass http://web:8000; } }"
    root = installed(tmp_path, {"nginx.conf": f"events {{}}\nhttp {{ {site} }}\n"})
    assert checked(gpudoctor, root)["proxy.buffering"]["status"] == "skip"


@pytest.mark.parametrize("target", ["http://vllm:8000", "http://my-ollama-1:80/", "http://llm_backend",
                                    "http://text-generation-inference:80"])  # fmt: skip
def test_an_engine_is_known_by_its_name(target: str, gpudoctor: Command, tmp_path: Path) -> None:
    site = f"server {{ location / {{ proxy_pass {target}; }} }}"
    root = installed(tmp_path, {"nginx.conf": f"events {{}}\nhttp {{ {site} }}\n"})
    assert checked(gpudoctor, root)["proxy.timeout"]["status"] == "warn"


def test_settings_are_inherited_and_the_inner_one_wins() -> None:
    text = (
        "events {}\nhttp {\n  proxy_buffering off;\n  proxy_read_timeout 5m;\n  upstream x { server 10.0.0.1; }\n"
        "  server {\n    proxy_read_timeout 10m;\n    location /a { location /a/b { proxy_pass http://x; } }\n  }\n}\n"
    )
    (route,) = read({"/nginx.conf": text}).routes
    assert (route.buffering.line, route.read_timeout_seconds, route.read_timeout.line) == (3, 600.0, 7)
    assert (route.hosts, route.location) == (("10.0.0.1:80",), "/a/b")


def test_an_include_of_itself_ends_and_is_told() -> None:
    found = read({"/nginx.conf": "events {}\ninclude /nginx.conf;\n"})
    assert [(each.kind, each.line) for each in found.problems] == [("syntax", 2)]


def test_a_ring_of_includes_ends_and_is_told() -> None:
    found = read({"/nginx.conf": "events {}\ninclude /a;\n", "/a": "include /b;", "/b": "include /a;"})
    assert [(each.kind, each.file) for each in found.problems] == [("syntax", "/b")]


def test_files_that_include_many_of_each_other_end_soon() -> None:
    files = {f"/{n}": f"include /{n + 1};\n" * 3 for n in range(15)} | {"/15": ""}
    started = time.process_time()
    found = read({"/nginx.conf": "events {}\ninclude /0;\n", **files})
    assert found.unread != ()
    assert time.process_time() - started < 20


@pytest.mark.parametrize("text", [
    "{" * 5000, "a {" * 5000, "}" * 10, ";" * 10, '"' + "a" * 100_000, "a " * 300_000, "\\", "${", "a\\", "'", "\x00;",
    "location {}", "server {", "if { } ", "upstream { server; }", "limit_req ;", "include ;", "proxy_pass;",
    "x_by_lua_block { a = '}' ", "events {} http { server { location / { proxy_pass $; } } }", "# only a comment",
])  # fmt: skip
def test_whatever_stands_in_the_file_reading_ends(text: str) -> None:
    found = read({"/nginx.conf": text})
    assert found.files + len(found.unread) == 1


@pytest.mark.parametrize("text", ["{" * 5000, "\x00;", "server {"])
def test_whatever_stands_in_the_file_one_answer_comes(gpudoctor: Command, tmp_path: Path, text: str) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(text)
    done = gpudoctor("serving", "http://127.0.0.1:9", "--proxy", path, "--json")
    assert results(done)["proxy.config-invalid"]["status"] in ("fail", "pass", "unknown")


def test_lua_between_braces_is_passed_over() -> None:
    text = "events {}\nhttp { server { location /l { content_by_lua_block { local t = { a = 1 }; say(t) } }\n" \
           "location /v1 { proxy_pass http://ollama:11434; } } }\n"  # fmt: skip
    found = read({"/nginx.conf": text})
    assert ([each.location for each in found.routes], found.problems) == (["/v1"], ())


def test_a_file_that_may_not_be_read_is_no_pass() -> None:
    def names(pattern: str) -> list[str]:
        return [pattern]

    found = read_configuration("/n", names, {"/n": "events {}\nhttp { include /closed.conf; }\n"}.get)
    assert found.unread == ("/closed.conf",)


def test_a_name_that_is_not_there_is_one_clear_line(gpudoctor: Command) -> None:
    done = gpudoctor("serving", "--proxy", "/nowhere/nginx.conf")
    assert (done.returncode, "--proxy /nowhere/nginx.conf" in done.stderr) == (2, True)


def test_a_pasted_configuration_is_read_at_its_lines(gpudoctor: Command, tmp_path: Path) -> None:
    paste = tmp_path / "paste.txt"
    paste.write_text("It stalls. My site:\n\n```\nserver {\n  location /v1/ {\n    proxy_pass http://localhost:11434;\n"
                     "  }\n}\n```\nthanks!\n")  # fmt: skip
    found = results(gpudoctor("diagnose", paste, "--json"))
    assert (found["proxy.buffering"]["status"], found["proxy.buffering"]["location"]["line"]) == ("warn", 6)


def test_talk_about_nginx_is_no_configuration(gpudoctor: Command, tmp_path: Path) -> None:
    paste = tmp_path / "paste.txt"
    paste.write_text("server {\n  name: llm\n  port: 8000\n}\nproxy_pass http://x is what I wrote\nI use nginx.\n")
    assert {each["status"] for each in results(gpudoctor("diagnose", paste, "--json")).values()} == {"skip"}


@pytest.mark.parametrize(("text", "value"), [("60", 60), ("60s", 60), ("1m", 60), ("1h30m", 5400), ("500ms", 0.5),
                                             ("1d", 86400), ("", None), ("x", None), ("1x", None), ("s", None),
                                             ("-1", None), ("1e3", None)])  # fmt: skip
def test_times(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("1m", 1 << 20), ("1M", 1 << 20), ("8k", 8192), ("1g", 1 << 30),
                                             ("", None), ("50MB", None), ("-1", None), ("1.5m", None)])  # fmt: skip
def test_sizes(text: str, value: int | None) -> None:
    assert size(text) == value
