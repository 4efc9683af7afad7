"""nginx collects an engine's answer before it passes it on, so that streaming stalls.

## Why it matters
With `proxy_buffering on`, which is nginx's default, an answer waits until a buffer is full (4 or 8 KiB) or the engine
is done. Tokens are small: people see nothing for a long time, then everything at once. An engine may switch it off for
its answers with the header `X-Accel-Buffering: no`, as TGI does.

## How to fix
`proxy_buffering off;` in the location that leads to the engine, then `nginx -t` and reload.

## References
- https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
- https://github.com/huggingface/text-generation-inference/blob/main/router/src/server.rs
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, passed, skipped, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.network import Processes
from gpudoctor.facts.proxy import Proxy
from gpudoctor.facts.serving import Serving
from gpudoctor.judging.proxied import engine_routes


@check()
def buffering(
    proxy: Proxy | Unavailable, processes: Processes | Unavailable, containers: Containers | Unavailable,
    serving: Serving | Unavailable,
) -> Iterator[Finding]:
    """Judge each location that leads to an engine."""
    found = engine_routes(proxy, processes, containers, serving)
    if not found:
        yield skipped("host", "no location of nginx leads to an engine")
    for each in found:
        route = each.route
        seen = each.seen("proxy_buffering", route.buffering)
        if route.buffering.value.lower() == "off":
            yield passed(each.subject, "answers of {engine} pass nginx as they come", engine=each.engine, evidence=seen)
        elif each.engine == "tgi" and not route.ignores_engine:
            yield passed(each.subject, "{engine} switches nginx's buffering off for its streams", engine=each.engine,
                         evidence=seen)
        else:
            finding = warned(each.subject, "nginx buffers the answers of {engine} in location {location}: streaming "
                             "stalls", engine=each.engine, location=route.location or "/", evidence=seen,
                             fix=each.write("proxy_buffering off;"))  # fmt: skip
            yield each.at(finding, route.buffering)
