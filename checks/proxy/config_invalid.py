"""nginx refuses this configuration: it does not start, or goes on with the old one.

## Why it matters
`nginx -s reload` with a configuration that is refused changes nothing, and says so only in the log: settings for the
engine seem to do nothing. At the next start of the machine nginx stays down. A rate-limit zone (`limit_req_zone`)
declared inside `server` or `location` is the usual one: it may stand in `http` only, `limit_req` where it is used.

What is judged: directives of nginx's own modules in blocks where they may not stand, numbers of arguments, missing
semicolons and braces, locations and settings given twice, zones that nobody declares, files that are not there. Names,
certificates and addresses are not tried: `nginx -t` has the last word. Of other proxies (Caddy, Traefik, HAProxy,
Envoy) nothing is read: where one runs beside an engine, that is said.

## How to fix
Change the line that is named, then `sudo nginx -t`.

## References
- https://nginx.org/en/docs/http/ngx_http_limit_req_module.html
- https://nginx.org/en/docs/dirindex.html
- https://nginx.org/en/docs/switches.html
- https://caddyserver.com/docs/caddyfile/directives/reverse_proxy
- https://doc.traefik.io/traefik/routing/entrypoints/
- https://docs.haproxy.org/3.0/configuration.html#4.2-timeout%20server
- https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts
"""

from collections.abc import Iterator

import msgspec

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, unknown
from gpudoctor.checking.finding import Evidence, Location
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.network import Processes
from gpudoctor.facts.proxy import ConfigProblem, Configuration, OtherProxy, Proxy
from gpudoctor.facts.serving import Serving
from gpudoctor.judging.presence import closed_gate
from gpudoctor.judging.proxied import engine_ports

_MOST = 20
_TEST = step("Then let nginx test it.", "sudo nginx -t")


#: What cuts long answers in each of them, by its own name.
_LIMITS = {
    "caddy": "flush_interval, read_timeout", "traefik": "respondingTimeouts, forwardingTimeouts",
    "haproxy": "timeout server, timeout tunnel", "envoy": "timeout (15 s for a route), stream_idle_timeout",
}  # fmt: skip


@check(gatekeeper_of="proxy")
def config_invalid(
    proxy: Proxy | Unavailable, processes: Processes | Unavailable, containers: Containers | Unavailable,
    serving: Serving | Unavailable,
) -> Iterator[Finding]:  # fmt: skip
    """Judge each configuration."""
    if isinstance(proxy, Unavailable):
        yield closed_gate("nginx configuration", proxy)
        return
    # Before a plain web page nobody waits for a minute.
    others = proxy.others if engine_ports(processes, containers, serving) else ()
    for other in others:
        yield _unread(other, containers)
    if not proxy.configurations and not others:
        yield skipped("host", "no nginx configuration is here")
    for each in proxy.configurations:
        subject = f"file:{each.path}"
        if each.failure is not None:
            yield unknown(subject, "the nginx configuration {path} was not read: {reason}", path=each.path,
                          reason=each.failure, fix=step("Read it as root.", "sudo gpudoctor check --only proxy"))
            continue
        for problem in each.problems[:_MOST]:
            yield _located(_refused(problem, f"file:{problem.file}"), problem)
        if each.unread:
            yield unknown(subject, "{count} files of {path} were not read: {files}", count=len(each.unread),
                          path=each.path, files=each.unread[:5], evidence=_read(each),
                          fix=step("Read them as root.", "sudo gpudoctor check --only proxy"))
        elif not each.problems:
            yield passed(subject, "nothing was found in {path} that nginx would refuse", path=each.path,
                         evidence=_read(each))


def _unread(other: OtherProxy, containers: Containers | Unavailable) -> Finding:
    known = containers.named(other.container) if other.container and isinstance(containers, Containers) else None
    seen = (saw("process", f"{other.name} ({other.pid})", "/proc"),
            *([saw("container", known.name, "Docker")] if known is not None else []))
    return unknown(f"proxy:{other.name}", "{name} runs here and may stand before an engine; its configuration was not "
                   "read: whether it cuts long answers is not known", name=other.name, evidence=seen,
                   fix=step("See what limits it sets: {limits}.", limits=_LIMITS.get(other.name, "")))  # fmt: skip


def _located(finding: Finding, problem: ConfigProblem) -> Finding:
    return msgspec.structs.replace(finding, location=Location(problem.file, problem.line))


def _read(each: Configuration) -> tuple[Evidence, ...]:
    return (saw("files read", each.files, each.path), saw("ways to other servers", len(each.routes), each.path))


def _refused(problem: ConfigProblem, subject: str) -> Finding:
    name, line, block, hint = problem.directive, problem.line, problem.context, problem.hint
    if problem.kind == "context":
        return failed(subject, "line {line}: {name} may not stand in {block}, only in {allowed}", line=line, name=name,
                      block=block, allowed=hint,
                      fix=(step("Move line {line} to where it may stand: {allowed}.", line=line, allowed=hint), _TEST))
    if problem.kind == "misspelt":
        return failed(subject, "line {line}: nginx knows no {name}; {right} is one letter away or two", line=line,
                      name=name, right=hint, fix=(step("Write {right}.", right=hint), _TEST))
    if problem.kind == "semicolon":
        return failed(subject, "line {line}: no semicolon ends {name}, so that {next} after it counts as its value",
                      line=line, name=name, next=hint, fix=(step("End line {line} with ;", line=line), _TEST))
    if problem.kind == "arguments":
        return failed(subject, "line {line}: {name} has a wrong number of values, or lacks its braces or semicolon",
                      line=line, name=name, fix=(step("See what {name} takes: https://nginx.org/r/{name}", name=name),
                                                 _TEST))  # fmt: skip
    if problem.kind == "duplicate":
        return failed(subject, "line {line}: {name} stands twice in one block", line=line, name=name,
                      fix=(step("Keep one of the two."), _TEST))
    if problem.kind == "duplicate-location":
        return failed(subject, "line {line}: location {path} stands twice in one server", line=line, path=hint,
                      fix=(step("Join the two."), _TEST))
    if problem.kind == "no-zone":
        return failed(subject, "line {line}: {name} uses the zone {zone}, which nothing declares", line=line, name=name,
                      zone=hint, fix=(step("Declare it in http, outside every server: {name}_zone $binary_remote_addr "
                                           "zone={zone}:10m ...;", name=name, zone=hint), _TEST))  # fmt: skip
    if problem.kind == "no-file":
        return failed(subject, "line {line}: the file {path} is not there", line=line, path=hint,
                      fix=(step("Make it, or take the include away."), _TEST))
    if problem.kind == "value":
        return failed(subject, "line {line}: the value of {name} is none that nginx takes", line=line, name=name,
                      fix=(step("For example: {right}", right=hint), _TEST))
    return failed(subject, "line {line}: {reason}", line=line, reason=hint, fix=(step("Mend it there."), _TEST))
