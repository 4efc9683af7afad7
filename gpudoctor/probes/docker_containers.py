"""The engine's containers one by one: what it says of them, and what the host's files and systemd show."""

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container, ImageFacts
from gpudoctor.probes import container_host, container_scopes
from gpudoctor.probes.container_facts import asks_for_gpus, container, container_name, image_facts
from gpudoctor.probes.docker_answer import Answer, Unexpected
from gpudoctor.probes.docker_client import EngineClient, NoAnswer
from gpudoctor.probes.places import Places
from gpudoctor.probes.reporter import Reporter
from gpudoctor.probes.root import Root

LIST, LIST_PATH = "the list of containers", "/containers/json?all=1"
_MAX_CONTAINERS = 4000
#: Of containers that ended, the newest are looked at.
_MAX_ENDED = 100
_MAX_RECORDED_BYTES = 12 << 20
_ALIVE = ("running", "restarting", "paused")


class _Listed(NamedTuple):
    id: str
    name: str
    alive: bool
    created: str
    placeholder: Container


class ContainerReader:
    """Reads the containers one by one: each is an item, so that one that hangs costs itself alone."""

    def __init__(
        self, out: Reporter, root: Root, client: EngineClient, second: EngineClient, info: Mapping[str, Any]
    ) -> None:
        self._out, self._root, self._client, self._second = out, root, client, second
        self._here = info.get("kind") != "desktop"
        self._systemd = info.get("cgroup_driver") == "systemd" and container_scopes.manages(root)
        self._images: dict[str, ImageFacts | Unavailable] = {}
        self._sources: dict[str, Any] = {}
        self._places: Places | None = None
        self._bytes = 0

    def send(self) -> None:
        """Fill ``containers``."""
        if self._out.left_out(LIST):
            self._out.unavailable("containers", "the engine did not list its containers in time", "timeout")
            return
        self._out.start(LIST, doing="GET /containers/json", section="containers")
        try:
            listed, more = _listed(self._client.get(LIST_PATH))
        except (NoAnswer, Unexpected) as error:
            self._out.unavailable("containers", str(error))
            return
        self._out.set("containers", not_recorded=more)
        wanted = [each for each in listed if each.alive]
        for each in wanted:
            if not self._out.left_out(_item(each)):
                self._announce(each)
        ended = [each for each in listed if not each.alive][:_MAX_ENDED]
        todo = [each for each in (*wanted, *ended) if not self._out.left_out(_item(each))]
        if todo:
            self._client.ahead(_path(todo[0]))
        updated = self._updates(wanted)
        allowed = self._device_allow(wanted)
        for each, following in itertools.zip_longest(todo, todo[1:]):
            self._one(each, following, allowed, updated)
        self._reloads(wanted)

    def _announce(self, each: _Listed, *, again: bool = False) -> None:
        if again:
            self._out.start(_item(each), doing="GET /containers/ID/json")
            return
        self._out.start(_item(each), doing="GET /containers/ID/json", section="containers", field="containers",
                        placeholder=each.placeholder, promised=each.alive)

    def _one(
        self, each: _Listed, following: _Listed | None, allowed: Mapping[str, Any], updated: Mapping[str, str]
    ) -> None:
        if self._bytes > _MAX_RECORDED_BYTES:
            self._fail(each, f"the containers' facts fill more than {_MAX_RECORDED_BYTES >> 20} MiB")
            return
        self._announce(each, again=each.alive)
        try:
            told = Answer(self._client.get(_path(each), then=_path(following) if following else None))
            facts = container(each.name, told)
            image = told.text("Image")
        except NoAnswer as error:
            if error.status != 404:
                self._fail(each, str(error))
            elif each.alive:
                self._fail(each, "it was removed meanwhile")
            return
        except Unexpected as error:
            self._fail(each, f"the engine's answer has another form: {error}")
            return
        facts = msgspec.structs.replace(facts, image_facts=self._image(image), updated=updated.get(each.id))
        if not (facts.running or asks_for_gpus(facts)):
            return
        facts = self._with_owners(each, facts)
        if facts.pid is not None and self._here:
            seen = container_host.look(self._root, facts.pid, facts.environment)
            facts = msgspec.structs.replace(facts, **seen._asdict(), device_allow=self._scope(facts, seen, allowed))
        self._bytes += len(msgspec.json.encode(facts))
        self._out.append("containers", "containers", facts)

    def _fail(self, each: _Listed, why: str) -> None:
        if each.alive:
            self._out.start(_item(each))
            self._out.append("containers", "containers", msgspec.structs.replace(each.placeholder, failure=why[:500]))

    def _image(self, name: str) -> ImageFacts | Unavailable:
        if name not in self._images:
            try:
                # On the first connection, the engine is at the next container.
                self._images[name] = image_facts(Answer(self._second.get(f"/images/{_quoted(name)}/json")))
            except (NoAnswer, Unexpected) as error:
                self._images[name] = Unavailable(str(error))
        return self._images[name]

    def _with_owners(self, each: _Listed, facts: Container) -> Container:
        """Say who owns what is mounted. A volume that hangs is an item of its own."""
        if not self._here or not facts.mounts:
            return facts
        places = self._places = self._places or Places(self._out, self._root)
        mounts = []
        for mount in facts.mounts:
            if not mount.source.startswith("/"):
                mounts.append(mount)
                continue
            if mount.source not in self._sources:
                self._sources[mount.source] = (
                    container_host.source_status(self._root, mount.source)
                    if places.enter(mount.source)
                    else Unavailable("its file system did not answer in time", "timeout")
                )
            status = self._sources[mount.source]
            uid, gid, mode = (status,) * 3 if isinstance(status, Unavailable) else status
            mounts.append(msgspec.structs.replace(mount, owner_uid=uid, owner_gid=gid, mode=mode))
        self._announce(each, again=True)
        return msgspec.structs.replace(facts, mounts=tuple(mounts))

    def _device_allow(self, alive: Sequence[_Listed]) -> Mapping[str, Any]:
        """Return ``DeviceAllow`` by scope, for engines whose containers are scopes of systemd."""
        if not self._systemd or not alive:
            return {}
        scopes = [f"{kind}-{each.id}.scope" for each in alive for kind in ("docker", "libpod")]
        late = Unavailable("systemctl did not answer in time", "timeout")
        if self._out.left_out("the containers' scopes"):
            return dict.fromkeys(scopes, late)
        self._out.start("the containers' scopes", doing="systemctl show")
        return container_scopes.device_allow(scopes)

    def _scope(self, facts: Container, seen: container_host.Seen, allowed: Mapping[str, Any]) -> Any:
        if not self._systemd:
            return Unavailable("systemd does not manage this engine's control groups", "not-applicable")
        scope = container_host.scope_of(seen.cgroup) if isinstance(seen.cgroup, str) else f"docker-{facts.id}.scope"
        missing = Unavailable(f"its control group {seen.cgroup} is no scope of systemd", "not-applicable")
        return missing if scope is None else allowed.get(scope, Unavailable(f"systemd was not asked for {scope}"))

    def _updates(self, alive: Sequence[_Listed]) -> dict[str, str]:
        """Return when ``docker update`` last changed each container, as far as the engine remembers."""
        item = "the engine's events"
        if not alive or self._out.left_out(item):
            return {}
        self._out.start(item, doing="GET /events")
        return last_updates(self._second, time.time())

    def _reloads(self, alive: Iterable[_Listed]) -> None:
        found: Any = Unavailable("no container runs under systemd's control groups", "not-applicable")
        if self._systemd and (created := [each.created for each in alive]):
            found = Unavailable("journalctl did not answer in time", "timeout")
            if not self._out.left_out("the journal"):
                self._out.start("the journal", doing="journalctl")
                found = container_scopes.reloads(min(created))
        self._out.set("containers", reloads=found)


def _item(each: _Listed) -> str:
    return f"container {each.name}"


def _path(each: _Listed) -> str:
    return f"/containers/{each.id}/json"


def _quoted(name: str) -> str:
    return name if all(c.isalnum() or c in ":._-" for c in name) and name else "unnamed"


def _listed(answer: object) -> tuple[list[_Listed], int]:
    """Read ``/containers/json``: what runs first, newest first; and how many are beyond the bound."""
    if not isinstance(answer, list):
        raise Unexpected("the list of containers is no list")
    found: list[_Listed] = []
    for raw in answer:
        told = Answer(raw)
        identity, state = told.text("Id"), told.text("State")
        if not (identity.isalnum() and identity.isascii() and len(identity) <= 128):
            raise Unexpected("a container's Id is no hexadecimal number")
        name = container_name(told)
        stand_in = Container(id=identity[:64], name=name, image=told.text("Image")[:512], state=state[:32] or "running")
        found.append(_Listed(identity[:64], name, state in _ALIVE, _stamp(told.number("Created") or 0), stand_in))
    found.sort(key=lambda each: not each.alive)
    return found[:_MAX_CONTAINERS], max(0, len(found) - _MAX_CONTAINERS)


def last_updates(client: EngineClient, now: float) -> dict[str, str]:
    """Return the time of each container's last update, from the engine's memory of its last events."""
    filters = msgspec.json.encode({"type": ["container"], "event": ["update"]}).decode()
    found: dict[str, str] = {}
    for event in client.lines("/events", since="0", until=f"{now:.6f}", filters=filters):
        try:
            told = Answer(event)
            stamp, identity = told.number("time"), told.part("Actor").text("ID")
        except Unexpected:
            continue
        if stamp is not None and 0 < stamp < 1 << 33:
            found[identity[:64]] = _stamp(stamp)
    return found


def _stamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(max(seconds, 0), 1 << 33)))
