"""nginx in front of engines: what its configuration says of the way there.

Gatekeeper: ``proxy.config-invalid``.
"""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import Item, Section

ProblemKind = Literal[
    "context",  # the directive may not stand in this block
    "misspelt",  # no directive, and close to one
    "arguments",  # a wrong number of arguments
    "semicolon",  # likewise, because the next line's directive was taken for arguments
    "syntax",  # braces or quotes that do not close
    "duplicate",  # twice in one block
    "duplicate-location",
    "no-zone",  # limit_req or limit_conn by a zone that nobody declares
    "no-file",  # include of a file that is not there
    "value",  # no time, size, on or off
]


class Setting(Item, frozen=True, kw_only=True):
    """The value that holds for a location, and where it stands; ``line`` None for nginx's default."""

    value: str
    file: str | None = None
    line: int | None = None


class Route(Item, frozen=True, kw_only=True):
    """One ``proxy_pass``.

    Attributes:
        location: As written, ``/v1/``.
        server: The server block's first name, or where it listens.
        target: As written, ``http://127.0.0.1:8000``.
        hosts: Where that leads, through ``upstream``: ``127.0.0.1:8000``; empty where a variable decides.
        read_timeout_seconds: None where its text is no time.
        body_bytes: The most that a request may send, 0 for no limit; None where its text is no size.
        ignores_engine: ``proxy_ignore_headers X-Accel-Buffering``: the engine cannot switch buffering off.
    """

    file: str
    line: int
    location: str
    target: str
    server: str = ""
    hosts: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    buffering: Setting = Setting(value="on")
    read_timeout: Setting = Setting(value="60s")
    read_timeout_seconds: float | None = 60.0
    body: Setting = Setting(value="1m")
    body_bytes: int | None = 1 << 20
    ignores_engine: bool = False


class ConfigProblem(Item, frozen=True, kw_only=True):
    """What nginx refuses. ``context`` is the block it stands in; ``hint`` what would be right, where that is known."""

    kind: ProblemKind
    file: str
    line: int
    directive: str = ""
    context: str = ""
    hint: str = ""


class Configuration(Item, frozen=True, kw_only=True):
    """One nginx's configuration with all that it includes.

    ``unread`` names files that could not be read, ``failure`` says why nothing was. ``container``: the nginx runs in
    one. ``piece``: only some of the files, so that what is missing may stand elsewhere.
    """

    path: str
    container: str | None = None
    piece: bool = False
    files: int = 1
    routes: Annotated[tuple[Route, ...], Meta(max_length=4096)] = ()
    problems: Annotated[tuple[ConfigProblem, ...], Meta(max_length=256)] = ()
    unread: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    failure: str | None = None


class OtherProxy(Item, frozen=True, kw_only=True):
    """A proxy that is no nginx (``caddy``, ``traefik``, ``haproxy``, ``envoy``); ``container`` is its whole id."""

    name: str
    pid: int
    container: str | None = None


class Proxy(Section, frozen=True, kw_only=True):
    """Every nginx configuration that was found or named; ``others``: proxies at work whose own is not read."""

    configurations: Annotated[tuple[Configuration, ...], Meta(max_length=64)] = ()
    others: Annotated[tuple[OtherProxy, ...], Meta(max_length=64)] = ()
