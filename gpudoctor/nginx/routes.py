"""Where requests go: every ``proxy_pass`` with the settings that hold there, inherited from the blocks around it."""

from collections.abc import Iterator, Mapping, Sequence

from gpudoctor.facts.proxy import Route, Setting
from gpudoctor.nginx.syntax import Directive
from gpudoctor.nginx.values import seconds, size

_DEFAULTS = {"proxy_buffering": "on", "proxy_read_timeout": "60s", "client_max_body_size": "1m",
             "proxy_ignore_headers": ""}  # fmt: skip
_BLOCKS = ("http", "server", "location", "if", "limit_except")
_MOST = 4096
Settings = Mapping[str, Setting]


def routes(found: Sequence[Directive]) -> tuple[Route, ...]:
    """Return every route of a configuration, or of a piece of one."""
    upstreams = {name: hosts for each in _everywhere(found) for name, hosts in _upstream(each)}
    defaults = {name: Setting(value=value) for name, value in _DEFAULTS.items()}
    return tuple(_walk(found, defaults, "", "", upstreams))[:_MOST]


def _everywhere(found: Sequence[Directive]) -> Iterator[Directive]:
    for each in found:
        yield each
        if each.name == "http":
            yield from each.block or ()


def _upstream(each: Directive) -> Iterator[tuple[str, tuple[str, ...]]]:
    if each.name == "upstream" and each.words and each.block is not None:
        servers = (inner.words[0] for inner in each.block if inner.name == "server" and inner.words)
        yield each.words[0], tuple(_with_port(server, "80") for server in servers)[:256]


def _walk(
    found: Sequence[Directive], settings: Settings, server: str, location: str,
    upstreams: Mapping[str, tuple[str, ...]],
) -> Iterator[Route]:  # fmt: skip
    own = {each.name: Setting(value=" ".join(each.words)[:200], file=each.file, line=each.line) for each in found
           if each.name in _DEFAULTS and each.words}  # fmt: skip
    settings = {**settings, **own}
    for each in found:
        if each.name == "proxy_pass" and each.words:
            yield _route(each, settings, server, location, upstreams)
        elif each.name in _BLOCKS and each.block is not None:
            name = _server_name(each.block) if each.name == "server" else server
            path = " ".join(each.words) if each.name == "location" else location
            yield from _walk(each.block, settings, name, path, upstreams)


def _route(
    each: Directive, settings: Settings, server: str, location: str, upstreams: Mapping[str, tuple[str, ...]]
) -> Route:
    timeout, body = settings["proxy_read_timeout"], settings["client_max_body_size"]
    ignored = settings["proxy_ignore_headers"].value.lower().split()
    return Route(
        file=each.file, line=each.line, location=location[:200], target=each.words[0][:300], server=server[:200],
        hosts=_hosts(each.words[0], upstreams), buffering=settings["proxy_buffering"], read_timeout=timeout,
        read_timeout_seconds=seconds(timeout.value), body=body, body_bytes=size(body.value),
        ignores_engine="x-accel-buffering" in ignored,
    )  # fmt: skip


def _server_name(block: Sequence[Directive]) -> str:
    named = (each for each in reversed(block) if each.name in ("server_name", "listen") and each.words)
    told = {each.name: each.words[0] for each in named}
    return told.get("server_name") or told.get("listen", "80")


def _hosts(target: str, upstreams: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    scheme, _, rest = target.partition("://")
    host = rest.partition("/")[0]
    if "$" in host or not host:
        return ()
    if host.startswith("unix:"):
        return (rest.rpartition(":")[0][:200],)
    return upstreams.get(host) or (_with_port(host, "443" if scheme == "https" else "80"),)


def _with_port(host: str, default: str) -> str:
    name, _, port = host.rpartition(":")
    named = port.isdigit() and (name.endswith("]") or ":" not in name) and name != ""
    return host[:200] if named or host.startswith("unix:") else f"{host[:200]}:{default}"
