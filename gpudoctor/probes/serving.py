"""Asking the engines that serve here. Each endpoint is a step of its own: one that hangs costs no other.

The parent names the addresses (``judging.endpoints``); the only questions to other machines are to a URL that the
user named.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from gpudoctor.facts.serving import Endpoint
from gpudoctor.judging.endpoints import Candidate
from gpudoctor.probes.http_client import HttpClient, NoAnswer
from gpudoctor.probes.read_speed import read_models
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root
from gpudoctor.probes.serving_engines import Found, Questions, identify
from gpudoctor.probes.serving_live import Bounds, measure
from gpudoctor.probes.serving_process import Behind

SECTIONS = ("serving",)
OPTIONS = ("candidates", "key_env", "ca_file", "live", "read")
_SECOND_LOOK_SECONDS = 1.0
#: What is shorter ("EMPTY", "none") is a stand-in for a key, and a word that other facts may hold.
_SHORTEST_KEY = 6
_BRIDGES = re.compile(r"docker\d+$|br-[0-9a-f]{12}$|podman\d+$|cni-podman\d+$")
#: What a network that this machine does not reach looks like.
_NOT_THERE = ("refused", "timeout", "reset", "error", "name")


def probe(
    out: Reporter,
    root: Root,
    candidates: Sequence[Mapping[str, Any]] = (),
    key_env: str | None = None,
    ca_file: str | None = None,
    live: Mapping[str, Any] | None = None,
    read: Mapping[str, Any] | None = None,
) -> None:
    """Fill ``serving``.

    Args:
        out: Where facts go.
        root: This machine.
        candidates: Addresses to ask, as ``Candidate``.
        key_env: Name of the variable with the key; its value never leaves this process but in the request.
        ca_file: PEM file of a private authority.
        live: ``concurrency``, ``seconds`` and ``tokens`` of --live.
        read: ``paths``, ``bytes`` and ``seconds`` of --measure-load.
    """
    out.set("serving")
    key = os.environ.get(key_env) if key_env else None
    bounds = Bounds(tuple(live["concurrency"]), live["seconds"], live["tokens"]) if live else None
    for each in candidates:
        candidate = msgspec.convert(each, Candidate)
        if not out.left_out(candidate.url):
            _ask(out, root, candidate, key, ca_file, bounds)
    if read:
        read_models(out, read["paths"], read["bytes"], read["seconds"])


def _ask(
    out: Reporter, root: Root, candidate: Candidate, key: str | None, ca_file: str | None, bounds: Bounds | None
) -> None:
    behind = Behind(root, candidate.pid)
    known = Endpoint(
        url=candidate.url, origin=candidate.origin, addresses=candidate.addresses, local=candidate.local,
        container=candidate.container, container_id=candidate.container_id, pids=behind.pids,
        settings=behind.settings(), environment=behind.environment(),
    )  # fmt: skip
    if candidate.failure is not None:
        # "default" stands for a port that should be there: the container itself is gone.
        kind = "refused" if candidate.default else "unpublished"
        out.append("serving", "endpoints", _changed(known, kind=kind, failure=candidate.failure))
        return
    if candidate.origin == "process" and not (candidate.default or behind.listens_by_choice(candidate.port)):
        return
    if candidate.origin == "inside" and not _on_own_bridge(candidate.url):
        # A network on the wire (macvlan) might have the question leave this machine.
        if candidate.sure:
            reason = "the container publishes no port, and its network is no bridge of the engine's on this machine"
            out.append("serving", "endpoints", _changed(known, kind="unpublished", failure=reason))
        return
    # Should the child hang in there: who is not sure to be an engine is left out then, too.
    silent = "unpublished" if candidate.origin == "inside" else "timeout"
    spare = _changed(known, kind=silent) if candidate.sure else None

    def doing(what: str, patience: float | None = None) -> None:
        out.start(candidate.url, doing=what, patience=patience, section="serving", field="endpoints",
                  placeholder=spare, promised=candidate.sure)

    def client() -> HttpClient:
        return HttpClient(candidate.url, key=key, ca_file=ca_file)

    try:
        facts = _facts(client, doing)
    except NoAnswer as problem:
        if candidate.sure or problem.by_an_engine:
            refused = _changed(known, kind=problem.kind, failure=problem.words)
            if candidate.origin == "inside" and problem.kind in _NOT_THERE:
                # Rootless engines and virtual machines keep their networks to themselves.
                words = f"it publishes no port, and at its own address {candidate.url} {problem.words}"
                refused = _changed(known, kind="unpublished", failure=words)
            out.append("serving", "endpoints", _without(refused, key))
        return
    settings = {**known.settings, **facts.facts.pop("settings", {})}
    endpoint = _changed(known, engine=facts.engine, settings=settings, **facts.facts)
    if bounds is not None:
        endpoint = _changed(endpoint, live=tuple(measure(client, endpoint, bounds, doing)))
    out.append("serving", "endpoints", _without(endpoint, key))


def _on_own_bridge(url: str) -> bool:
    """True for an address in the network of a bridge that Docker or podman made here."""
    host = ip_address(urlsplit(url).hostname or "")
    for name, told in psutil.net_if_addrs().items():
        for each in told if _BRIDGES.match(name) else ():
            try:
                network = ip_interface(f"{each.address.partition('%')[0]}/{each.netmask}").network
            except ValueError:
                continue  # a hardware address, or an IPv6 one: a container has an IPv4 one beside it
            if host.version == network.version and host in network:
                return True
    return False


def _facts(client: Callable[[], HttpClient], doing: Callable[[str], None]) -> Found:
    doing("connect")
    found = identify(Questions(client(), doing))
    waiting = found.facts.get("waiting")
    if waiting:
        # A queue that is gone a moment later was none.
        time.sleep(_SECOND_LOOK_SECONDS)
        again = identify(Questions(client(), doing)).facts.get("waiting")
        found.facts["waiting"] = min(waiting, again or 0)
    return found


def _without(endpoint: Endpoint, key: str | None) -> Endpoint:
    """Take the key out of whatever a service echoes: messages about a wrong key like to quote it."""
    if not key or len(key) < _SHORTEST_KEY:
        return endpoint
    return msgspec.convert(_hidden(msgspec.to_builtins(endpoint), key), Endpoint)


def _hidden(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _hidden(inner, key) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(inner, key) for inner in value]
    return value.replace(key, "***") if isinstance(value, str) else value


def _changed(endpoint: Endpoint, **changes: Any) -> Endpoint:
    return msgspec.structs.replace(endpoint, **changes)
