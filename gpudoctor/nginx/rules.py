"""What nginx refuses when it reads a configuration: directives where they may not stand, counts, values, duplicates.

Only what its own modules register is judged. A directive that nobody knows may be a module's: it counts as misspelt
only where it is all but one of nginx's own.
"""

import difflib
from collections.abc import Iterator, Sequence

from gpudoctor.facts.proxy import ConfigProblem, ProblemKind
from gpudoctor.matrices.nginx import Known, directives
from gpudoctor.nginx.syntax import Directive
from gpudoctor.nginx.values import seconds, size

#: Blocks whose lines are no directives, or those of modules that are not judged.
_FREE = ("map", "geo", "types", "split_clients", "charset_map", "stream", "mail", "perl", "match", "otherwise")
_CLOSE = 0.9
_MOST = 256
_ONCE = ("proxy_buffering", "proxy_read_timeout", "proxy_send_timeout", "proxy_connect_timeout", "client_max_body_size",
         "proxy_http_version", "keepalive_timeout", "worker_processes", "proxy_pass", "gzip", "sendfile",
         "root")  # fmt: skip
_TIMES = ("proxy_read_timeout", "proxy_send_timeout", "proxy_connect_timeout", "send_timeout", "client_body_timeout",
          "client_header_timeout")  # fmt: skip
_SIZES = ("client_max_body_size", "client_body_buffer_size", "proxy_buffer_size", "proxy_busy_buffers_size")
_OUTER_FIRST = ("main", "events", "http", "server", "location", "upstream", "if in server", "if in location",
                "limit_except")  # fmt: skip
_MODIFIERS = ("=", "~", "~*", "^~")
#: Of releases after the table's: near to older names, and no slips.
_NEWER = ("http2", "http3", "http3_hq", "http3_stream_buffer_size", "http3_max_concurrent_streams", "quic_retry",
          "quic_gso", "quic_host_key", "keepalive_min_timeout", "proxy_pass_trailers", "ssl_key_log",
          "proxy_ssl_key_log", "ssl_certificate_cache", "proxy_ssl_certificate_cache", "early_hints",
          "proxy_limit_rate", "max_headers", "ssl_ech_file")  # fmt: skip


def root_context(found: Sequence[Directive]) -> str:
    """Tell in which block a file's lines stand: a piece of a configuration does not say it itself."""
    names = {each.name for each in found}
    if names & {"http", "events", "stream", "mail", "worker_processes"}:
        return "main"
    if names & {"server", "upstream", "map", "geo"}:
        return "http"
    return "server" if names & {"location", "listen", "server_name"} else ""


def problems(found: Sequence[Directive], context: str = "main", *, piece: bool = False) -> tuple[ConfigProblem, ...]:
    """Return what nginx would refuse, in the order of the files' lines as they are read.

    Args:
        found: The directives of the outermost block.
        context: Which block that is; empty where nobody knows, and then nothing there is judged by its place.
        piece: Zones may be declared in files that are not here.
    """
    judge = _Judge(piece)
    judge.zones = {name for each in _all(found) for name in _declared(each)}
    return tuple(judge.block(found, context))[:_MOST]


def _all(found: Sequence[Directive]) -> Iterator[Directive]:
    for each in found:
        yield each
        yield from _all(each.block or ())


def _declared(each: Directive) -> Iterator[str]:
    if each.name in ("limit_req_zone", "limit_conn_zone"):
        for word in each.words:
            if word.startswith("zone="):
                yield word[5:].partition(":")[0]


class _Judge:
    def __init__(self, piece: bool) -> None:
        self._known, self._piece = directives(), piece
        self.zones: set[str] = set()

    def block(self, found: Sequence[Directive], context: str) -> Iterator[ConfigProblem]:
        once: set[str] = set()
        places: set[tuple[str, str]] = set()
        for each in found:
            known = self._known.get(each.name)
            if each.name in _FREE:
                if known is not None and context and context not in known.contexts:
                    yield _problem(each, "context", context, _listed(known))
                continue
            if known is None:
                yield from self._unknown(each, context)
                continue
            problem = self._form(each, known, context)
            if problem is not None:
                yield problem
                continue
            if each.name in _ONCE and each.name in once:
                yield _problem(each, "duplicate", context)
            once.add(each.name)
            if each.name == "location":
                place = _place(each)
                if place in places:
                    yield _problem(each, "duplicate-location", context, " ".join(each.words))
                if place[0] != "regular expression":
                    places.add(place)
            yield from self._values(each, context)
            if each.block is not None:
                yield from self.block(each.block, _inside(each, context))

    def _unknown(self, each: Directive, context: str) -> Iterator[ConfigProblem]:
        if each.name in _NEWER or each.raw:
            return
        close = difflib.get_close_matches(each.name[:60], self._known, 1, _CLOSE)
        if close:
            yield _problem(each, "misspelt", context, close[0])

    def _form(self, each: Directive, known: Known, context: str) -> ConfigProblem | None:
        if context and context not in known.contexts:
            return _problem(each, "context", context, _listed(known))
        ended_well = (each.block is None or known.block) and (each.block is not None or known.arguments != {"block"})
        needs_block = known.block and each.name != "server" and each.block is None
        if ended_well and not needs_block and (known.takes(len(each.arguments)) or known.arguments == {"block"}):
            return None
        later = [word for word in each.arguments if word.line > each.line and word.text in self._known]
        if later:
            return _problem(each, "semicolon", context, later[0].text)
        return _problem(each, "arguments", context, " ".join(sorted(known.arguments)))

    def _values(self, each: Directive, context: str) -> Iterator[ConfigProblem]:
        first = each.words[0] if each.words else ""
        known = self._known[each.name]
        if known.arguments == {"flag"} and first.lower() not in ("on", "off"):
            yield _problem(each, "value", context, "on, off")
        elif each.name in _TIMES and seconds(first) is None:
            yield _problem(each, "value", context, "300s")
        elif each.name in _SIZES and size(first) is None:
            yield _problem(each, "value", context, "20m")
        elif each.name == "proxy_pass" and "$" not in first and not first.startswith(("http://", "https://")):
            yield _problem(each, "value", context, f"http://{first[:80]}")
        elif each.name == "location" and len(each.words) == 2 and first not in _MODIFIERS:
            yield _problem(each, "value", context, "= ~ ~* ^~")
        elif each.name in ("limit_req", "limit_conn") and not self._piece:
            named = [word[5:] for word in each.words if word.startswith("zone=")]
            for zone in named if each.name == "limit_req" else [first]:
                if zone not in self.zones:
                    yield _problem(each, "no-zone", context, zone[:80])


def _inside(each: Directive, context: str) -> str:
    if each.name == "if":
        return "if in server" if context == "server" else "if in location"
    return each.name if each.name in ("events", "http", "server", "location", "upstream", "limit_except") else ""


def _place(each: Directive) -> tuple[str, str]:
    """Return what makes a location the same as another: prefixes are one kind, with or without ``^~``."""
    *modifier, path = each.words or ("",)
    kind = {"=": "exact", "~": "regular expression", "~*": "regular expression"}.get("".join(modifier), "prefix")
    return (kind, path)


def _listed(known: Known) -> str:
    return ", ".join(name for name in _OUTER_FIRST if name in known.contexts)


def _problem(each: Directive, kind: ProblemKind, context: str, hint: str = "") -> ConfigProblem:
    return ConfigProblem(kind=kind, file=each.file, line=each.line, directive=each.name[:80], context=context,
                         hint=hint)  # fmt: skip
