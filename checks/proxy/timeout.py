"""nginx gives up on an engine that is silent for longer than its read timeout: 504 Gateway Time-out.

## Why it matters
`proxy_read_timeout` is 60 seconds by default, between one piece of the answer and the next. An engine that loads a
model first, reads a long prompt, or answers without streaming says nothing for longer. Ollama alone lets a model take
five minutes to load.

## How to fix
`proxy_read_timeout 600s;` in the location that leads to the engine, then `nginx -t` and reload.

## References
- https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_read_timeout
- https://github.com/ollama/ollama/blob/main/envconfig/config.go
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, passed, skipped, unknown, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.network import Processes
from gpudoctor.facts.proxy import Proxy
from gpudoctor.facts.serving import Serving
from gpudoctor.judging.proxied import engine_routes


@check()
def timeout(
    proxy: Proxy | Unavailable, processes: Processes | Unavailable, containers: Containers | Unavailable,
    serving: Serving | Unavailable, policy: Policy,
) -> Iterator[Finding]:
    """Judge each location that leads to an engine."""
    found = engine_routes(proxy, processes, containers, serving)
    least = policy["proxy_read_timeout_seconds"]
    if not found:
        yield skipped("host", "no location of nginx leads to an engine")
    for each in found:
        route = each.route
        seen = each.seen("proxy_read_timeout", route.read_timeout)
        told = route.read_timeout_seconds
        if told is None:
            yield unknown(each.subject, "proxy_read_timeout {value} is no time", value=route.read_timeout.value,
                          evidence=seen, fix=each.write("proxy_read_timeout 600s;"))
        elif told < least:
            finding = warned(each.subject, "nginx answers 504 when {engine} is silent for {told:g} s in location "
                             "{location}; loading a model or reading a long prompt takes longer", engine=each.engine,
                             told=told, location=route.location or "/", evidence=seen,
                             fix=each.write("proxy_read_timeout 600s;"))  # fmt: skip
            yield each.at(finding, route.read_timeout)
        else:
            yield passed(each.subject, "nginx waits {told:g} s for {engine}", told=told, engine=each.engine,
                         evidence=seen)
