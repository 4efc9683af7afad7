"""The ways in which a service asks for GPUs."""

from collections.abc import Iterator, Mapping

from gpudoctor.compose.canonical import expect
from gpudoctor.compose.tree import Node, text_of
from gpudoctor.facts.compose import GpuRequest, Variable

_MAX_IDS = 1024
_NODES = ("/dev/nvidia", "/dev/kfd", "/dev/dri", "/dev/dxg")


def requests_of(keys: dict[str, Node], variables: Mapping[str, Variable]) -> Iterator[GpuRequest]:
    """Yield every request, the invalid ones with Compose's reason to refuse them."""
    yield from _reservations(keys)
    for each in keys["gpus"].value if "gpus" in keys else ():
        yield from _request(each, "gpus")
    if "runtime" in keys and text_of(keys["runtime"].value).startswith("nvidia"):
        chosen = variables.get("NVIDIA_VISIBLE_DEVICES")
        text = (chosen.value or "") if chosen is not None else ""
        ids = tuple(part.strip() for part in text.split(",") if part.strip())[:_MAX_IDS]
        yield GpuRequest(form="runtime", place=keys["runtime"].place, driver="nvidia", device_ids=ids,
                         capabilities=("gpu",))
    for node in keys["devices"].value if "devices" in keys else ():
        source = node.value.get("source")
        name = source.value if source is not None and isinstance(source.value, str) else ""
        if "/gpu=" in name and not name.startswith("/"):
            yield GpuRequest(form="cdi", place=node.place, driver="cdi", device_ids=(name,), capabilities=("gpu",))
        elif name.startswith(_NODES):
            yield GpuRequest(form="device", place=node.place, device_ids=(name,))


def _reservations(keys: dict[str, Node]) -> Iterator[GpuRequest]:
    here: dict[str, Node] = keys
    for key in ("deploy", "resources", "reservations"):
        node = here.get(key)
        if node is None or node.value is None:
            return
        here = expect(node, dict, key, "a mapping").value
    if "devices" in here and here["devices"].value is not None:
        for each in expect(here["devices"], list, "reservations.devices", "a list").value:
            yield from _request(each, "deploy")
    if "generic_resources" in here and isinstance(here["generic_resources"].value, list):
        for each in here["generic_resources"].value:
            spec = each.value.get("discrete_resource_spec") if isinstance(each.value, dict) else None
            kind = spec.value.get("kind") if spec is not None and isinstance(spec.value, dict) else None
            if kind is not None and "gpu" in text_of(kind.value).lower():
                value = spec.value.get("value") if spec is not None else None
                count = value.value if value is not None and isinstance(value.value, int) else None
                yield GpuRequest(form="swarm", place=each.place, count=count, capabilities=("gpu",))


def _request(node: Node, form: str) -> Iterator[GpuRequest]:
    fields: dict[str, Node] = expect(node, dict, "a device request", "a mapping").value
    driver = text_of(fields["driver"].value) if "driver" in fields else ""
    problem = None
    count, count_problem = _count(fields.get("count"))
    ids, ids_problem = _texts(fields.get("device_ids"), "device_ids")
    capabilities, capabilities_problem = _texts(fields.get("capabilities"), "capabilities")
    if form == "deploy" and "capabilities" not in fields:
        problem = "it has no capabilities"
    elif "count" in fields and fields["count"].value is not None and "device_ids" in fields:
        problem = "count and device_ids exclude each other"
    problem = count_problem or ids_problem or capabilities_problem or problem
    other = capabilities and not {"gpu", "compute", "utility", "nvidia", "amd"} & set(capabilities)
    if other and driver not in ("nvidia", "amd", "cdi") and problem is None:
        # Another kind of device (tpu).
        return
    yield GpuRequest(form="cdi" if driver == "cdi" else form, place=node.place, driver=driver, count=count,
                     device_ids=ids, capabilities=capabilities or (("gpu",) if form == "gpus" else ()),
                     problem=problem)


def _count(node: Node | None) -> tuple[int | None, str | None]:
    if node is None or node.value is None:
        return None, None
    text = text_of(node.value) if not isinstance(node.value, dict | list) else "a list"
    if text == "all":
        return -1, None
    digits = text.removeprefix("-")
    if isinstance(node.value, bool | float) or not (digits.isascii() and digits.isdigit() and len(digits) < 6):
        return None, f"count must be all or a number, not {text[:40]!r}"
    return int(text), None


def _texts(node: Node | None, key: str) -> tuple[tuple[str, ...], str | None]:
    if node is None or node.value is None:
        return (), None
    if not isinstance(node.value, list):
        return (), f"{key} must be a list"
    values = node.value[:_MAX_IDS]
    problem = None
    if any(not isinstance(each.value, str) for each in values):
        problem = f"{key} must be text: put each in quotation marks"
    return tuple("" if isinstance(e.value, dict | list) else text_of(e.value) for e in values), problem
