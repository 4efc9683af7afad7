"""The container engine through its socket, and its containers as the engine and the host's files show them."""

import os
from typing import Any

from gpudoctor.facts.base import Unavailable
from gpudoctor.probes.compose_plugin import compose_facts
from gpudoctor.probes.docker_answer import Answer, Unexpected
from gpudoctor.probes.docker_client import EngineClient, NoAnswer
from gpudoctor.probes.docker_containers import LIST, LIST_PATH, ContainerReader
from gpudoctor.probes.docker_facts import daemon_facts, info_facts, room, version_facts
from gpudoctor.probes.engine_socket import EngineSocket, find_engine
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

SECTIONS = ("docker", "containers")
OPTIONS: tuple[str, ...] = ()

_INFO = "the engine's /info"
_SOCKET = "the container engine's socket"


def probe(out: Reporter, root: Root) -> None:
    """Fill ``docker`` and ``containers``, where a local engine answers."""
    if not root.live:
        reason = "an engine belongs to the running system, not to a tree of files"
        _both(out, Unavailable(reason, "not-applicable"))
        return
    if out.left_out(_SOCKET):
        # What is said of "docker" is known: in which call an earlier child was lost.
        out.unavailable("containers", f"{_SOCKET} did not answer in time", "timeout")
        return
    out.start(_SOCKET, section="docker")
    engine = find_engine(root, os.environ)
    if isinstance(engine, Unavailable):
        _both(out, engine)
        return
    _ask(out, root, engine)


def _both(out: Reporter, why: Unavailable) -> None:
    for section in SECTIONS:
        out.unavailable(section, why.reason, why.kind)


def _ask(out: Reporter, root: Root, engine: EngineSocket) -> None:
    item = f"the engine at {engine.address}"[:300]
    if out.left_out(item):
        out.unavailable("containers", f"{item} did not answer in time", "timeout")
        return
    out.start(item, doing="GET /version", section="docker")
    try:
        client = EngineClient(engine.address)
        second = client.another()
        # An engine starts programs for each of these two answers: it may do so at the same time.
        client.ahead("/version")
        if not out.left_out(_INFO):
            second.ahead("/info")
        told = client.get("/version", then=None if out.left_out(LIST) else LIST_PATH)
        facts = version_facts(engine.address, Answer(told))
    except (NoAnswer, Unexpected) as error:
        _both(out, Unavailable(f"{item}: {error}"))
        return
    out.set("docker", **facts)
    info = _info(out, second, str(facts["api_version"]))
    out.set("docker", **info)
    ContainerReader(out, root, client, second, info).send()
    late = Unavailable("it did not answer in time", "timeout")
    if out.left_out("the daemon's process"):
        out.set("docker", pid=engine.pid, started=late, daemon_path=late)
    else:
        out.start("the daemon's process")
        out.set("docker", **daemon_facts(root, engine.pid))
    if out.left_out("Docker Compose"):
        out.set("docker", compose_version=late, compose_v1_path=late)
    else:
        out.start("Docker Compose", doing="docker-compose docker-cli-plugin-metadata")
        out.set("docker", **compose_facts(root, os.environ))
    root_dir = info.get("root_dir")
    place = f"the engine's data in {root_dir}"
    if out.left_out(place):
        out.set("docker", root_dir_total_bytes=late, root_dir_free_bytes=late)
    elif isinstance(root_dir, str):
        out.start(place)
        out.set("docker", **room(root, root_dir, str(info.get("kind"))))


def _info(out: Reporter, client: EngineClient, api: str) -> dict[str, Any]:
    why = Unavailable("the engine did not answer GET /info in time", "timeout")
    if not out.left_out(_INFO):
        out.start(_INFO, doing="GET /info")
        try:
            return info_facts(Answer(client.get("/info")), api)
        except (NoAnswer, Unexpected) as error:
            why = Unavailable(str(error))
    fields = ("operating_system", "cgroup_driver", "cgroup_version", "runtimes", "default_runtime", "cdi_spec_dirs",
              "cdi_devices", "storage_driver", "root_dir", "root_dir_total_bytes", "root_dir_free_bytes")
    return dict.fromkeys(fields, why)
