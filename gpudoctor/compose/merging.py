"""Merging: a later file over an earlier one, a service over the one it extends, by Compose's rules."""

from gpudoctor.compose.tree import ComposeError, Node

#: Replaced as a whole; other lists grow.
_WHOLE = frozenset({"command", "entrypoint", "healthcheck.test"})
#: Lists with at most one entry for each value of these keys: the later wins, in the place of the earlier.
_UNIQUE: dict[str, tuple[str, ...]] = {
    "volumes": ("target",), "devices": ("target",), "ports": ("host_ip", "target", "published", "protocol"),
    "env_file": ("path",),
}  # fmt: skip


def merge_services(base: dict[str, Node], over: dict[str, Node]) -> dict[str, Node]:
    """Return the services of two files, the later ones over the earlier."""
    found = dict(base)
    for name, service in over.items():
        if service.tag == "!reset":
            found.pop(name, None)
        elif name in found and service.tag != "!override":
            found[name] = merge_service(found[name], service)
        else:
            found[name] = service
    return found


def merge_service(base: Node, over: Node) -> Node:
    """Return one service over another; both are canonical, and the result stands where the later one does."""
    merged = _merge(base, over, "")
    return merged._replace(place=over.place, tag="")


def without_tags(node: Node) -> Node:
    """Return the tree without the keys that ``!reset`` takes away."""
    if isinstance(node.value, dict):
        kept = {name: without_tags(each) for name, each in node.value.items() if each.tag != "!reset"}
        return node._replace(value=kept, tag="")
    if isinstance(node.value, list):
        return node._replace(value=[without_tags(each) for each in node.value if each.tag != "!reset"], tag="")
    return node._replace(tag="")


def _merge(base: Node, over: Node, path: str) -> Node:
    if over.tag == "!override" or path in _WHOLE or path.startswith("ulimits."):
        return over
    if over.value is None:
        # A key without a value takes nothing away.
        return base
    if base.value is None:
        return over
    if isinstance(base.value, dict):
        if not isinstance(over.value, dict):
            raise ComposeError(f"{path or 'it'} is a mapping in {base.place.file}:{base.place.line}, and here "
                               f"{over.kind}", over.place)
        found = dict(base.value)
        for name, each in over.value.items():
            if each.tag == "!reset":
                found.pop(name, None)
            else:
                found[name] = _merge(found[name], each, f"{path}.{name}" if path else name) if name in found else each
        return over._replace(value=found)
    if isinstance(base.value, list):
        if not isinstance(over.value, list):
            raise ComposeError(f"{path} is a list in {base.place.file}:{base.place.line}, and here {over.kind}",
                               over.place)
        return over._replace(value=_joined(base.value, over.value, _UNIQUE.get(path)))
    return over


def _joined(base: list[Node], over: list[Node], keys: tuple[str, ...] | None) -> list[Node]:
    if keys is None:
        return [*base, *over]
    found: dict[object, Node] = {}
    for number, each in enumerate([*base, *over]):
        fields = each.value if isinstance(each.value, dict) else {}
        marks = tuple(str(fields[key].value) for key in keys if key in fields)
        found[marks or number] = each
    return list(found.values())
