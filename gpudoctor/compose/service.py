"""A merged service as facts: what it asks for, publishes, mounts and sets, each with its place."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gpudoctor.compose.canonical import expect
from gpudoctor.compose.dotenv import read_variables
from gpudoctor.compose.gpu_requests import requests_of
from gpudoctor.compose.secrets import has_password, is_secret, shown, shown_words
from gpudoctor.compose.tree import ComposeError, Node, text_of
from gpudoctor.facts.compose import InlineSecret, Place, Port, Service, Variable, Volume

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?) ?([kmgtp])?i?b?", re.IGNORECASE | re.ASCII)
_MAX_PLACES = 512
_TEXT = (str, int, float, bool)


class Outside(NamedTuple):
    """What a service may take from outside its file."""

    environment: Mapping[str, str]
    folder: str


def service_facts(name: str, node: Node, outside: Outside) -> Service:
    """Return a merged, canonical service as facts.

    Raises:
        ComposeError: A value has a type or form that Compose refuses.
    """
    keys: dict[str, Node] = {key: value for key, value in node.value.items() if value.value is not None}
    nodes = [*_list(keys, "entrypoint"), *_list(keys, "command")]
    words, hidden = shown_words([str(each.value) for each in nodes])
    variables, secrets = _variables(keys, outside)
    secrets += [InlineSecret(name=flag, where="command", place=nodes[at].place)
                for at, flag in hidden if "$" not in (nodes[at].written or "").replace("$$", "")]
    secrets += list(_build_secrets(keys))
    runtime = _text(keys, "runtime")
    return Service(
        name=name,
        place=node.place,
        image=_text(keys, "image"),
        build="build" in keys,
        command=words,
        runtime=runtime,
        requests=tuple(requests_of(keys, variables)),
        variables=tuple(variables.values()),
        ports=tuple(_port(each) for each in _list(keys, "ports")),
        volumes=tuple(_volume(each) for each in _list(keys, "volumes")),
        ipc=_text(keys, "ipc"),
        shm_size_bytes=_size(keys, "shm_size"),
        memory_limit_bytes=_memory(keys),
        memlock_unlimited=_memlock(keys),
        network_mode=_text(keys, "network_mode"),
        user=_text(keys, "user"),
        privileged=keys["privileged"].value is True if "privileged" in keys else False,
        restart=_text(keys, "restart") or _restart_policy(keys),
        healthcheck=_healthcheck(keys),
        container_name=_text(keys, "container_name"),
        profiles=tuple(str(each.value) for each in _list(keys, "profiles")),
        depends_on=tuple(expect(keys["depends_on"], dict, "depends_on", "a mapping").value)
        if "depends_on" in keys else (),
        inline_secrets=tuple(secrets),
        places=_places(node),
    )


def _text(keys: dict[str, Node], key: str) -> str | None:
    if key not in keys:
        return None
    return text_of(expect(keys[key], _TEXT, key, "text").value) or None


def _list(keys: dict[str, Node], key: str) -> list[Node]:
    if key not in keys:
        return []
    found: list[Node] = expect(keys[key], list, key, "a list").value
    return found


def inner(keys: dict[str, Node], *path: str) -> Node | None:
    """Return what stands below keys, None where it is not written.

    Raises:
        ComposeError: Something on the way is no mapping.
    """
    node: Node | None = None
    here = keys
    for at, key in enumerate(path):
        node = here.get(key)
        if node is None or node.value is None:
            return None
        if at < len(path) - 1:
            here = expect(node, dict, ".".join(path[: at + 1]), "a mapping").value
    return node


def _bytes(node: Node, key: str) -> int:
    text = text_of(expect(node, (str, int, float), key, "a size").value).strip()
    if text == "-1":
        return -1
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ComposeError(f"{text[:40]!r} in {key} is no size", node.place, "write it as 16gb or 512m")
    return int(float(match[1]) * 1024 ** "bkmgtp".index((match[2] or "b").lower()))


def _size(keys: dict[str, Node], key: str) -> int | None:
    return _bytes(keys[key], key) if key in keys else None


def _memory(keys: dict[str, Node]) -> int | None:
    node = inner(keys, "deploy", "resources", "limits", "memory")
    found = _bytes(node, "deploy.resources.limits.memory") if node is not None else _size(keys, "mem_limit")
    return found if found is not None and found > 0 else None


def _memlock(keys: dict[str, Node]) -> bool:
    node = inner(keys, "ulimits", "memlock")
    if node is None:
        return False
    value = node.value.get("hard", Node(None, node.place)).value if isinstance(node.value, dict) else node.value
    return text_of(value) == "-1" if not isinstance(value, dict | list) else False


def _restart_policy(keys: dict[str, Node]) -> str | None:
    node = inner(keys, "deploy", "restart_policy", "condition")
    return text_of(expect(node, _TEXT, "deploy.restart_policy.condition", "text").value) if node is not None else None


def _healthcheck(keys: dict[str, Node]) -> bool:
    if "healthcheck" not in keys:
        return False
    fields = expect(keys["healthcheck"], dict, "healthcheck", "a mapping").value
    test = fields.get("test")
    none = test is not None and isinstance(test.value, list) and test.value and test.value[0].value == "NONE"
    return not none and not ("disable" in fields and fields["disable"].value is True)


def _variables(keys: dict[str, Node], outside: Outside) -> tuple[dict[str, Variable], list[InlineSecret]]:
    found: dict[str, Variable] = {}
    secrets: list[InlineSecret] = []
    for each in _list(keys, "env_file"):
        required = each.value.get("required")
        path = Path(str(each.value["path"].value))
        if not path.exists():
            if required is not None and required.value is False:
                continue
            raise ComposeError(f"its env_file {path} is missing", each.place, "Compose refuses it, too")
        for name, (value, place) in read_variables(path, outside.environment).items():
            found[name] = _variable(name, value, place)
    if "environment" in keys:
        for name, node in expect(keys["environment"], dict, "environment", "a mapping").value.items():
            value = outside.environment.get(name) if node.value is None else str(node.value)
            found[name] = _variable(name, value, node.place)
            written = node.written or ""
            # What comes from a variable ($$ is a dollar sign) is not in the file.
            hidden = found[name].secret or has_password(value)
            if node.value is not None and hidden and "$" not in written.replace("$$", ""):
                secrets.append(InlineSecret(name=name, where="environment", place=node.place))
    return found, secrets


def _variable(name: str, value: str | None, place: Place) -> Variable:
    return Variable(name=name, value=shown(name, value), place=place, secret=is_secret(name, value))


def _build_secrets(keys: dict[str, Node]) -> Iterator[InlineSecret]:
    build = keys.get("build")
    arguments = build.value.get("args") if build is not None and isinstance(build.value, dict) else None
    if arguments is None:
        return
    pairs = arguments.value.items() if isinstance(arguments.value, dict) else (
        (str(each.value).partition("=")[0], each._replace(value=str(each.value).partition("=")[2]))
        for each in arguments.value) if isinstance(arguments.value, list) else ()  # fmt: skip
    for name, node in pairs:
        if isinstance(node.value, str) and is_secret(name, node.value) and "$" not in (node.written or ""):
            yield InlineSecret(name=name, where="build.args", place=node.place)


def _port(node: Node) -> Port:
    fields = node.value
    return Port(container_port=fields["target"].value, place=node.place, host_port=fields["published"].value,
                address=fields["host_ip"].value, protocol=fields["protocol"].value)


def _volume(node: Node) -> Volume:
    fields: dict[str, Node] = node.value

    def word(key: str) -> str | None:
        value = fields[key].value if key in fields else None
        return value if isinstance(value, str) else None

    return Volume(target=word("target") or "", place=node.place, source=word("source"), kind=word("type") or "volume",
                  read_only="read_only" in fields and fields["read_only"].value is True)


def _places(node: Node) -> dict[str, Place]:
    found: dict[str, Place] = {}

    def walk(value: object, path: str) -> None:
        for name, each in value.items() if isinstance(value, dict) else ():
            if len(found) >= _MAX_PLACES:
                return
            key = f"{path}.{name}" if path else name
            # Variables have a place of their own.
            found[key] = each.place
            if key not in ("environment", "labels"):
                walk(each.value, key)

    walk(node.value, "")
    return found
