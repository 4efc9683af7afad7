"""nginx refuses long prompts and pictures: 413 Request Entity Too Large.

## Why it matters
`client_max_body_size` is 1 MiB by default. A long conversation, a document in JSON's escapes (six bytes for a Korean
character) or one photo in base64 is larger. The engine never sees the request.

## How to fix
`client_max_body_size 50m;` in the location that leads to the engine, then `nginx -t` and reload.

## References
- https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.network import Processes
from gpudoctor.facts.proxy import Proxy
from gpudoctor.facts.serving import Serving
from gpudoctor.judging.proxied import engine_routes

#: What nginx takes when nobody says anything.
_DEFAULT_BYTES = 1 << 20


@check()
def body_too_small(
    proxy: Proxy | Unavailable, processes: Processes | Unavailable, containers: Containers | Unavailable,
    serving: Serving | Unavailable,
) -> Iterator[Finding]:
    """Judge each location that leads to an engine."""
    found = engine_routes(proxy, processes, containers, serving)
    if not found:
        yield skipped("host", "no location of nginx leads to an engine")
    for each in found:
        route = each.route
        seen = each.seen("client_max_body_size", route.body)
        if route.body_bytes is None:
            yield unknown(each.subject, "client_max_body_size {value} is no size", value=route.body.value,
                          evidence=seen, fix=each.write("client_max_body_size 50m;"))
        elif 0 < route.body_bytes <= _DEFAULT_BYTES:
            finding = warned(each.subject, "nginx answers 413 to requests of more than {most} for {engine} in location "
                             "{location}: long prompts and pictures are larger", most=route.body.value,
                             engine=each.engine, location=route.location or "/", evidence=seen,
                             fix=each.write("client_max_body_size 50m;"))  # fmt: skip
            yield each.at(finding, route.body)
        else:
            yield passed(each.subject, "nginx lets requests of {most} through to {engine}", most=route.body.value,
                         engine=each.engine, evidence=seen)
