"""A server cannot be reached from where it is needed.

## Why it matters
It listens on loopback only, the container's port is not published, it wants a key, or a firewall or router stands
between. To users every one of these looks like "the model is down".

`gpudoctor serving` asks each engine itself. Where one runs and gives no answer that can be judged, this says why; where
nothing was found to ask, it says so, because silence is not health.

## How to fix
See where it listens, publish the port, open the firewall, and forward to the host's port.

## References
- https://docs.ollama.com/faq
- https://docs.docker.com/engine/network/port-publishing/
- https://docs.vllm.ai/en/latest/serving/openai_compatible_server/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, noted, passed, saw, step, unknown
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.serving import Endpoint, Serving
from gpudoctor.judging.presence import closed_gate


@check(gatekeeper_of="serving")
def unreachable(serving: Serving | Unavailable) -> Iterator[Finding]:
    """Judge each address at which an engine answers, or should."""
    if isinstance(serving, Unavailable):
        yield closed_gate("engine at work", serving)
        return
    if not serving.endpoints:
        yield unknown("host", "no engine was found that serves here",
                      evidence=saw("looked at", "listening ports, processes, containers", "/proc, Docker"),
                      fix=step("If one runs, name its address.", "gpudoctor serving http://127.0.0.1:8000"))
    for each in serving.endpoints:
        yield _judge(each)


def _judge(each: Endpoint) -> Finding:
    seen = (saw("asked", each.url, each.origin),
            *([saw("listens on", each.addresses, "/proc/net/tcp")] if each.addresses else []))
    if each.kind == "key":
        return unknown(each.subject, "{url} could not be asked: {failure}", url=each.url, failure=each.failure,
                       evidence=seen, fix=step("Name the variable that holds its key.",
                                               "gpudoctor serving {url} --api-key-env NAME"))  # fmt: skip
    if each.kind == "unpublished":
        return unknown(each.subject, "the engine in {container} was not asked: {failure}", container=each.container,
                       failure=each.failure, evidence=seen, fix=_ways(each))
    if each.kind == "loading":
        return passed(each.subject, "{url} answers", url=each.url, evidence=seen)
    if each.kind in ("html", "no-engine", "redirect"):
        return failed(each.subject, "what answers at {url} is no engine: {failure}", url=each.url,
                      failure=each.failure, evidence=seen,
                      fix=step("Name the engine's own address and port, not that of a page or proxy in front of it."))
    if each.failure is not None:
        return failed(each.subject, "{url} cannot be asked: {failure}", url=each.url, failure=each.failure,
                      evidence=seen, fix=_ways(each))
    own = all(address.startswith("127.") or address == "::1" for address in each.addresses)
    if each.local and each.addresses and own:
        return noted(each.subject, "{engine} at {url} listens on this machine's loopback only: no other machine and "
                     "no container reaches it", engine=each.engine, url=each.url, evidence=seen, fix=_open(each))
    return passed(each.subject, "{engine} answers at {url}", engine=each.engine, url=each.url, evidence=seen)


def _ways(each: Endpoint) -> tuple[Step, ...]:
    if each.kind in ("unpublished", "refused") and each.container is not None:
        return (step("See its state and its ports.", "docker ps -a --filter name={container}",
                     container=each.container),
                step("If others shall reach it, publish its port; for this machine alone, on loopback: "
                     "ports: [\"127.0.0.1:8000:8000\"].", None, risk="recreates the container"))  # fmt: skip
    if each.kind == "tls":
        return (step("Name the authority that signed its certificate.", "gpudoctor serving {url} --ca-file CA.pem"),
                step("Or, where it speaks plain HTTP, write http://."))
    if each.kind == "name":
        return (step("See what the name means here.", "getent hosts HOST"),)
    if each.kind == "refused":
        return (step("See who listens where.", "ss -ltnp"), step("See whether the engine runs.", "gpudoctor serving"))
    return (step("See what its log says.", "gpudoctor diagnose LOG"), step("See who listens there.", "ss -ltnp"))


def _open(each: Endpoint) -> tuple[Step, ...]:
    if each.engine == "ollama":
        return (step("If others shall reach it: OLLAMA_HOST=0.0.0.0 for its service. Ollama has no login: let only "
                     "those in who may use it.", "sudo systemctl edit ollama.service", risk="restarts the service"),)
    return (step("If others shall reach it, start it with --host 0.0.0.0, and let only those in who may use it."),)
