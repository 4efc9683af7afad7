"""A project from its files: variables, ``include``, ``extends``, merging, profiles; then facts of each service."""

import itertools
import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gpudoctor.compose import canonical, known_keys
from gpudoctor.compose.dotenv import read_variables
from gpudoctor.compose.interpolation import Interpolator
from gpudoctor.compose.merging import merge_service, merge_services, without_tags
from gpudoctor.compose.service import Outside, service_facts
from gpudoctor.compose.tree import ComposeError, Node, clean, documents, read_text, whole
from gpudoctor.facts.compose import ComposeProject, Place, Service, UnknownKey

#: Compose looks for these in this order, and for an override beside the one it finds.
DEFAULT_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_MAX_FILES = 64
_MAX_SERVICES = 1024
_MAX_EXTENDS = 32


class Wishes(NamedTuple):
    """What the command line says: the shell's environment, ``--profile``, ``--env-file``, the project's folder."""

    environment: Mapping[str, str] = {}
    profiles: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    folder: str | None = None
    #: Text by file name, read in place of what stands in the file.
    texts: Mapping[str, str] = {}


def found_files(folder: Path) -> tuple[str, ...]:
    """Return the files that Compose takes when none is named: its default one, and the override beside it."""
    for name in DEFAULT_FILES:
        if (folder / name).exists():
            stem = name.rpartition(".")[0]
            beside = [f"{stem}.override.{other}" for other in ("yml", "yaml")]
            override = next((each for each in beside if (folder / each).exists()), None)
            return tuple(str(folder / each) for each in (name, override) if each)
    return ()


def read_project(files: Sequence[str], wishes: Wishes = Wishes()) -> ComposeProject:  # noqa: B008 - immutable
    """Read files as one project, the later over the earlier.

    Raises:
        ComposeError: Compose would refuse the files, too, or they are no Compose files.
    """
    folder = wishes.folder or os.path.dirname(os.path.abspath(files[0]))  # noqa: PTH100, PTH120 - text, may not exist
    environment = _outside(folder, wishes.environment, wishes.env_files)
    reader = _Reader(environment, wishes.texts)
    services: dict[str, Node] = {}
    for name in files:
        services = merge_services(services, reader.file(name, folder, environment))
    if not services and not reader.seen_services:
        raise ComposeError("it has no services", Place(file=files[0], line=1), "name a Compose file")
    if len(services) > _MAX_SERVICES:
        raise ComposeError(f"it has more than {_MAX_SERVICES} services", Place(file=files[0], line=1))
    chosen = {*wishes.profiles, *(each.strip() for each in environment.get("COMPOSE_PROFILES", "").split(",") if each)}
    outside = Outside(environment, folder)
    unknown = (known_keys.of_service(name, without_tags(node)) for name, node in services.items())
    active: list[Service] = []
    inactive: dict[str, tuple[str, ...]] = {}
    for name, node in services.items():
        facts = service_facts(name, without_tags(node), outside)
        if facts.profiles and "*" not in chosen and not chosen & set(facts.profiles):
            inactive[name] = facts.profiles
            continue
        if facts.image is None and not facts.build:
            raise ComposeError(f"the service {name[:60]!r} has neither image nor build", facts.place,
                               "Compose refuses it, too")
        active.append(facts)
    return ComposeProject(
        files=tuple(map(clean, reader.files))[:_MAX_FILES],
        name=clean(reader.name or os.path.basename(folder)) or None,  # noqa: PTH119 - text
        services=tuple(active),
        version_place=reader.version_place,
        unknown_keys=tuple(itertools.islice(itertools.chain(reader.unknown, *unknown), known_keys.MOST)),
        unset=dict(list(reader.unset.items())[:_MAX_SERVICES]),
        inactive=inactive,
    )


def _outside(folder: str, shell: Mapping[str, str], env_files: Sequence[str]) -> dict[str, str]:
    """Return the variables for interpolation: the shell's win over those of files."""
    found: dict[str, str] = {}
    paths = [Path(each) for each in env_files]
    usual = Path(folder) / ".env"
    if not paths and usual.is_file():
        paths = [usual]
    for path in paths:
        entries = read_variables(path, {**found, **shell})
        found.update({name: value for name, (value, _) in entries.items() if value is not None})
    return {**found, **{name: clean(value) for name, value in shell.items()}}


class _Reader:
    """Reads files once each, follows ``include`` and ``extends``, and remembers what belongs to the project."""

    def __init__(self, environment: Mapping[str, str], texts: Mapping[str, str]) -> None:
        self.environment = environment
        self._texts = texts
        self.files: list[str] = []
        self.name: str | None = None
        self.version_place: Place | None = None
        self.unset: dict[str, Place] = {}
        self.unknown: list[UnknownKey] = []
        self.seen_services = False
        self._open: list[str] = []
        self._read: dict[tuple[str, str], list[Node]] = {}

    def file(self, name: str, folder: str, environment: Mapping[str, str]) -> dict[str, Node]:
        """Return the canonical services of one file, with what it includes."""
        real = os.path.abspath(name)  # noqa: PTH100 - text
        if real in self._open:
            raise ComposeError("it includes itself", Place(file=name, line=1), "break the circle")
        self._open.append(real)
        services: dict[str, Node] = {}
        for document in self._documents(name, environment):
            top = document.value
            self._note(top)
            self.unknown += itertools.islice(known_keys.of_project(top), known_keys.MOST)
            own = self._included(top, name, folder, environment)
            raw = _services(document, name)
            own = merge_services(own, {each: self._extended(each, raw, name, folder, environment, ()) for each in raw})
            services = merge_services(services, own)
        self._open.pop()
        return services

    def _documents(self, name: str, environment: Mapping[str, str]) -> list[Node]:
        key = (name, str(id(environment)))
        if key not in self._read:
            if len(self._read) >= _MAX_FILES:
                raise ComposeError(f"more than {_MAX_FILES} files belong together", Place(file=name, line=1))
            interpolator = Interpolator(environment)
            found = []
            edited = self._texts.get(name)
            for document in documents(read_text(Path(name)), name) if edited is None else whole(edited, name):
                if document.value is None:
                    continue
                if not isinstance(document.value, dict):
                    raise ComposeError(f"it must be a mapping with services, and is {document.kind}", document.place,
                                       "name a Compose file")
                found.append(interpolator.tree(document))
            self._read[key] = found
            self.unset = {**interpolator.unset, **self.unset}
            if name not in self.files:
                self.files.append(name)
        return self._read[key]

    def _note(self, top: dict[str, Node]) -> None:
        if "version" in top and self.version_place is None:
            self.version_place = top["version"].place
        if "name" in top and isinstance(top["name"].value, str) and len(self._open) == 1:
            self.name = top["name"].value
        self.seen_services = self.seen_services or "services" in top

    def _included(
        self, top: dict[str, Node], name: str, folder: str, environment: Mapping[str, str]
    ) -> dict[str, Node]:
        found: dict[str, Node] = {}
        wanted = top.get("include")
        if wanted is None or wanted.value is None:
            return found
        for each in canonical.expect(wanted, list, "include", "a list").value:
            fields = each.value if isinstance(each.value, dict) else {"path": each}
            given = fields.get("path", Node(None, each.place))
            paths = given.value if isinstance(given.value, list) else [given]
            names = [_beside(name, folder, canonical.expect(p, str, "include", "a file's name").value) for p in paths]
            if not names:
                raise ComposeError("include names no file", each.place)
            home = fields.get("project_directory")
            home_name = canonical.expect(home, str, "project_directory", "a folder").value if home else None
            inner = os.path.join(folder, home_name) if home_name else os.path.dirname(os.path.abspath(names[0]))  # noqa: PTH100, PTH118, PTH120
            listed = fields.get("env_file")
            own = [] if listed is None else listed.value if isinstance(listed.value, list) else [listed]
            env_files = [os.path.join(folder, canonical.expect(e, str, "env_file", "text").value) for e in own]  # noqa: PTH118
            variables = _outside(inner, environment, env_files)
            part: dict[str, Node] = {}
            for path in names:
                part = merge_services(part, self.file(path, inner, variables))
            for service, node in part.items():
                if service in found:
                    raise ComposeError(f"the service {service[:60]!r} is included twice", each.place)
                found[service] = node
        return found

    def _extended(
        self, service: str, raw: dict[str, Node], name: str, folder: str, environment: Mapping[str, str],
        chain: tuple[tuple[str, str], ...],
    ) -> Node:  # fmt: skip
        node = canonical.service(raw[service], service, canonical.Paths(folder, environment)) \
            if raw[service].tag != "!reset" else raw[service]
        wanted = node.value.get("extends") if isinstance(node.value, dict) else None
        if wanted is None or wanted.value is None:
            return node
        fields = wanted.value if isinstance(wanted.value, dict) else {"service": wanted}
        base = canonical.expect(fields.get("service", Node(None, wanted.place)), str, "extends.service", "a name").value
        file = fields.get("file")
        mark = (name, service)
        if mark in chain or len(chain) > _MAX_EXTENDS:
            raise ComposeError(f"{service[:60]!r} extends itself", wanted.place, "break the circle")
        if file is not None and file.value is not None:
            other = _beside(name, folder, canonical.expect(file, str, "extends.file", "a file's name").value)
            parts: dict[str, Node] = {}
            for document in self._documents(other, environment):
                parts.update(_services(document, other))
            inner = os.path.dirname(os.path.abspath(other))  # noqa: PTH100, PTH120 - text
        else:
            other, parts, inner = name, raw, folder
        if base not in parts:
            raise ComposeError(f"it extends {base[:60]!r}, which {other} does not have", wanted.place)
        below = self._extended(base, parts, other, inner, environment, (*chain, mark))
        kept = {key: value for key, value in node.value.items() if key != "extends"}
        return merge_service(below, node._replace(value=kept))


def _services(document: Node, name: str) -> dict[str, Node]:
    node = document.value.get("services")
    if node is None or node.value is None:
        if not any(key in document.value or key.startswith("x-") for key in (
                "services", "include", "volumes", "networks", "name", "configs", "secrets", "models")):
            raise ComposeError("it has no services", Place(file=name, line=1), "name a Compose file")
        return {}
    services: dict[str, Node] = canonical.expect(node, dict, "services", "a mapping").value
    return services


def _beside(name: str, folder: str, path: str) -> str:
    """Return a path of a file relative to its project's folder, shown as near to what was typed as it can be."""
    if path.startswith(("oci://", "https://", "http://", "git@", "git://", "ssh://")):
        raise ComposeError(f"{path[:80]} is remote, and is not fetched", Place(file=name, line=1),
                           "lint a copy of it, or docker compose config > whole.yml")
    if os.path.isabs(path):  # noqa: PTH117 - text
        return path
    whole = os.path.normpath(os.path.join(folder, path))  # noqa: PTH118 - text
    shown = os.path.relpath(whole)
    return whole if os.path.isabs(name) or shown.startswith("..") else shown  # noqa: PTH117 - text
