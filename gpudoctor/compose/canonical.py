"""The short forms of a service's keys made long, so that files can be merged key by key, paths absolute."""

import os.path
import re
import shlex
from collections.abc import Callable, Mapping

from gpudoctor.compose.tree import ComposeError, Node, clean, text_of
from gpudoctor.facts.compose import Place

_MAX_PORTS = 4096
_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Paths:
    """Makes paths of a file absolute: relative to the project's folder, ``~`` is the user's home."""

    def __init__(self, folder: str, environment: Mapping[str, str]) -> None:
        self.folder, self._home = clean(folder), environment.get("HOME", "~")

    def absolute(self, path: str) -> str:
        """Return the path as Compose would hand it to the engine."""
        if path == "~" or path.startswith("~/"):
            path = self._home + path[1:]
        return os.path.normpath(os.path.join(self.folder, path))  # noqa: PTH118 - text, not a file here


def service(node: Node, name: str, paths: Paths) -> Node:
    """Return a service with its keys in their long forms.

    Raises:
        ComposeError: A key has another type than Compose takes.
    """
    if not _NAME.fullmatch(name):
        raise ComposeError(f"{name[:60]!r} is no name of a service", node.place, "letters, digits, dots, _ and - only")
    if not isinstance(node.value, dict):
        raise ComposeError(f"the service {name[:60]!r} must be a mapping, and is {node.kind}", node.place)
    found: dict[str, Node] = {}
    for key, value in node.value.items():
        change = _FORMS.get(key)
        untouched = change is None or value.value is None or value.tag == "!reset"
        found[key] = value if untouched or change is None else change(value, key, paths)._replace(tag=value.tag)
    return node._replace(value=found)


def expect(node: Node, kinds: type | tuple[type, ...], key: str, wanted: str) -> Node:
    """Return the node when it is of these kinds.

    Raises:
        ComposeError: It is not.
    """
    if not isinstance(node.value, kinds) or (isinstance(node.value, bool) and kinds is not bool and bool not in
                                             (kinds if isinstance(kinds, tuple) else (kinds,))):
        raise ComposeError(f"{key} must be {wanted}, and is {node.kind}", node.place)
    return node


def _words(node: Node, key: str, paths: Paths) -> Node:
    if isinstance(node.value, str):
        try:
            words = shlex.split(node.value)
        except ValueError as error:
            raise ComposeError(f"{key} cannot be split into words: {str(error).lower()}", node.place) from None
        return node._replace(value=[Node(word, node.place, written=node.written) for word in words])
    expect(node, list, key, "a list or text")
    for each in node.value:
        expect(each, str, f"a word of {key}", "text in quotation marks")
    return node


def _environment(node: Node, key: str, paths: Paths) -> Node:
    if isinstance(node.value, list):
        found: dict[str, Node] = {}
        for each in node.value:
            expect(each, str, f"an entry of {key}", "text such as NAME=VALUE")
            name, equals, value = each.value.partition("=")
            written = (each.written or "").partition("=")[2]
            found[name] = Node(value if equals else None, each.place, written=written)
        return node._replace(value=found)
    expect(node, dict, key, "a mapping or a list")
    for name, each in node.value.items():
        if isinstance(each.value, dict | list):
            raise ComposeError(f"{key}.{name[:60]} must be text, a number or empty, and is {each.kind}", each.place)
    return node._replace(value={name: each._replace(value=None if each.value is None else text_of(each.value))
                                for name, each in node.value.items()})


def _depends_on(node: Node, key: str, paths: Paths) -> Node:
    if isinstance(node.value, list):
        names = [expect(each, str, f"an entry of {key}", "a service's name") for each in node.value]
        return node._replace(value={each.value: Node({}, each.place) for each in names})
    return expect(node, dict, key, "a list or a mapping")


def _text_list(node: Node, key: str, paths: Paths) -> Node:
    nodes = [node] if isinstance(node.value, str) else expect(node, list, key, "a list").value
    return node._replace(value=[expect(each, str, f"an entry of {key}", "text") for each in nodes])


def _env_files(node: Node, key: str, paths: Paths) -> Node:
    found: list[Node] = []
    for each in [node] if isinstance(node.value, str | dict) else expect(node, list, key, "text or a list").value:
        fields = each.value if isinstance(each.value, dict) else {"path": each}
        path = expect(fields.get("path", Node(None, each.place)), str, f"{key}.path", "text")
        fields = {**fields, "path": path._replace(value=paths.absolute(path.value))}
        found.append(Node(fields, each.place))
    return node._replace(value=found)


def _devices(node: Node, key: str, paths: Paths) -> Node:
    found: list[Node] = []
    for each in expect(node, list, key, "a list").value:
        if isinstance(each.value, dict):
            found.append(each)
            continue
        text = expect(each, str, f"an entry of {key}", "text").value
        source, _, target = text.partition(":")
        # A CDI name (nvidia.com/gpu=0) is no path, and stays whole.
        if not source.startswith("/") and "=" in text:
            source, target = text, text
        fields = {"source": Node(source, each.place), "target": Node(target.partition(":")[0] or source, each.place)}
        found.append(Node(fields, each.place))
    return node._replace(value=found)


def _volumes(node: Node, key: str, paths: Paths) -> Node:
    return node._replace(value=[_volume(each, key, paths) for each in expect(node, list, key, "a list").value])


def _volume(node: Node, key: str, paths: Paths) -> Node:
    place = node.place
    if isinstance(node.value, dict):
        fields = dict(node.value)
        kind = fields.get("type")
        source = fields.get("source") or fields.get("src")
        target = fields.get("target") or fields.get("destination") or fields.get("dst")
        if target is not None:
            fields["target"] = expect(target, str, f"{key}.target", "text")
        if source is not None and kind is not None and kind.value == "bind":
            text = expect(source, str, f"{key}.source", "text").value
            fields["source"] = source._replace(value=paths.absolute(text))
        return node._replace(value=fields)
    text = expect(node, str, f"an entry of {key}", "text or a mapping").value
    drive = text[:2] if _DRIVE.match(text) else ""
    parts = text[len(drive) :].split(":")
    if len(parts) == 1:
        return Node({"type": Node("volume", place), "target": Node(text, place)}, place)
    source = drive + parts[0]
    options = parts[2].split(",") if len(parts) > 2 else []
    bind = source.startswith((".", "/", "~")) or bool(drive)
    fields = {
        "type": Node("bind" if bind else "volume", place),
        "source": Node(paths.absolute(source) if bind and not drive else source, place),
        "target": Node(parts[1], place),
    }
    if "ro" in options:
        fields["read_only"] = Node(True, place)
    return Node(fields, place)


def _ports(node: Node, key: str, paths: Paths) -> Node:
    found: list[Node] = []
    for each in expect(node, list, key, "a list").value:
        if isinstance(each.value, dict):
            found += _long_ports(each, key)
        else:
            expect(each, (str, int, float), f"an entry of {key}", "text, a number or a mapping")
            found += _short_ports(text_of(each.value), each.place, key)
        if len(found) > _MAX_PORTS:
            raise ComposeError(f"{key} publishes more than {_MAX_PORTS} ports", each.place)
    return node._replace(value=found)


def _long_ports(node: Node, key: str) -> list[Node]:
    fields = dict(node.value)
    target = expect(fields.get("target", Node(None, node.place)), (int, str), f"{key}.target", "a number")
    number = _number(text_of(target.value), target.place, f"{key}.target")
    published = fields.get("published")
    address, protocol = fields.get("host_ip"), fields.get("protocol")
    text = "" if published is None else text_of(expect(published, (int, str), f"{key}.published", "a number").value)
    first, dash, last = text.partition("-")
    low = _number(first, node.place, f"{key}.published") if first else None
    if dash:
        # Docker picks one of a range.
        _number(last, node.place, f"{key}.published")
        low = None
    port = _port(number, low, text_of(address.value) if address else "",
                 text_of(protocol.value) if protocol and protocol.value else "tcp", node.place)
    return [port._replace(value={**fields, **port.value})]


def _short_ports(text: str, place: Place, key: str) -> list[Node]:
    rest, _, protocol = text.strip().partition("/")
    rest, _, inner = rest.rpartition(":")
    address, _, outer = rest.rpartition(":")
    inside = _span(inner, place, key)
    outside = _span(outer, place, key) if outer else []
    if outside and len(inside) == 1 and len(outside) > 1:
        # Docker picks one of the range.
        outside = []
    if outside and len(outside) != len(inside):
        raise ComposeError(f"{text[:60]!r} in {key} has ranges of different length", place)
    return [_port(port, outside[n] if outside else None, address.strip("[]"), protocol or "tcp", place)
            for n, port in enumerate(inside)]


def _span(text: str, place: Place, key: str) -> list[int]:
    first, dash, last = text.partition("-")
    low = _number(first, place, key)
    high = _number(last, place, key) if dash else low
    if high < low or high - low > _MAX_PORTS:
        raise ComposeError(f"{text[:40]!r} in {key} is no range of ports", place)
    return list(range(low, high + 1))


def _number(text: str, place: Place, key: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ComposeError(f"{text[:40]!r} in {key} is no port", place, "write it as HOST:CONTAINER: 8000:80")
    return int(text)


def _port(target: int, published: int | None, address: str, protocol: str, place: Place) -> Node:
    return Node({"target": Node(target, place), "published": Node(published, place), "host_ip": Node(address, place),
                 "protocol": Node(protocol.lower(), place)}, place)


def _gpus(node: Node, key: str, paths: Paths) -> Node:
    if isinstance(node.value, str):
        return node._replace(value=[Node({"count": node}, node.place)])
    return node if isinstance(node.value, list) else node._replace(value=[Node({"count": node}, node.place)])


def _pairs(node: Node, key: str, paths: Paths) -> Node:
    """A mapping, or a list of NAME=VALUE; what is neither is left for Compose to refuse."""
    if not isinstance(node.value, list) or not all(isinstance(each.value, str) for each in node.value):
        return node
    sign = ":" if key == "extra_hosts" else "="
    found: dict[str, Node] = {}
    for each in node.value:
        # Hosts are written both ways; a name has neither sign.
        mark = "=" if "=" in each.value else sign
        name, _, value = each.value.partition(mark)
        found[name] = each._replace(value=value)
    return node._replace(value=found)


def _names(node: Node, key: str, paths: Paths) -> Node:
    """A mapping, or a list of names."""
    if not isinstance(node.value, list) or not all(isinstance(each.value, str) for each in node.value):
        return node
    return node._replace(value={each.value: Node(None, each.place) for each in node.value})


def _build(node: Node, key: str, paths: Paths) -> Node:
    return node._replace(value={"context": node}) if isinstance(node.value, str) else node


def _several(node: Node, key: str, paths: Paths) -> Node:
    return node._replace(value=[node]) if isinstance(node.value, str) else node


_Form = Callable[[Node, str, Paths], Node]
_FORMS: dict[str, _Form] = {
    "command": _words, "entrypoint": _words, "environment": _environment, "depends_on": _depends_on,
    "env_file": _env_files, "devices": _devices, "volumes": _volumes, "ports": _ports, "profiles": _text_list,
    "gpus": _gpus, "labels": _pairs, "annotations": _pairs, "sysctls": _pairs, "extra_hosts": _pairs,
    "networks": _names, "build": _build, "dns": _several, "dns_search": _several, "tmpfs": _several,
}  # fmt: skip
