"""A Compose file inside a paste: its services, with the lines of the paste. No other file is read for it."""

import re

from gpudoctor.evidence.blocks import Kind, Reading, Unread, While, too_deep
from gpudoctor.facts.compose import Compose, ComposeProject, Service

_FOLDER = "/pasted"
#: What leads to files that were not pasted.
_OUTSIDE = ("extends", "env_file")
_MAX_SERVICES = 256
_MAX_CHARS = 1 << 18


def read(text: str, line: int, file: str) -> Reading | None:
    """Read the services of a Compose file; None when it has none.

    Raises:
        Unread: Compose would refuse it, too.
    """
    from gpudoctor.compose import canonical
    from gpudoctor.compose.interpolation import Interpolator
    from gpudoctor.compose.merging import without_tags
    from gpudoctor.compose.service import Outside, service_facts
    from gpudoctor.compose.tree import ComposeError, documents

    if not re.search(r"^services:\s*(?:#.*)?$", text, re.MULTILINE):
        return None
    if len(text) > _MAX_CHARS or too_deep(text):
        raise Unread("this is larger or deeper than any Compose file; it was not read")
    found: list[Service] = []
    name = version = None
    interpolator = Interpolator({})
    try:
        # Blank lines before it make its lines count as in the paste.
        for document in documents("\n" * (line - 1) + text, file):
            if not isinstance(document.value, dict):
                continue
            top = interpolator.tree(document).value
            services = top.get("services")
            if services is None or not isinstance(services.value, dict):
                continue
            version = version or (top["version"].place if "version" in top else None)
            name = name or (str(top["name"].value)[:200] if "name" in top else None)
            for each, node in list(services.value.items())[:_MAX_SERVICES]:
                whole = canonical.service(node, each, canonical.Paths(_FOLDER, {}))
                kept = {key: value for key, value in whole.value.items() if key not in _OUTSIDE}
                found.append(service_facts(each, without_tags(whole._replace(value=kept)), Outside({}, _FOLDER)))
    except ComposeError as error:
        raise Unread(f"the Compose file is none: {error.where}: {error.message}") from None
    unset = dict(list(interpolator.unset.items())[:_MAX_SERVICES])
    project = ComposeProject(
        files=(file,), name=name, services=tuple(found), version_place=version, unset=unset
    )
    return Reading(sections={"compose": Compose(projects=(project,))}, context=frozenset({"container"}))


KIND = Kind(
    name="compose-file",
    begins=r"(?:version:\s{1,4}['\"]?\d|name:\s{1,4}[\w.\-]{1,60}\s*$|services:\s*(?:#.*)?$|x-[\w\-]{1,60}:)",
    extent=lambda: While(
        re.compile(r"\s*$|\s*#|\s+\S|(?:services|version|name|volumes|networks|configs|secrets|include|models|x-[\w\-]+):")
    ),
    read=read,
    words=("services:",),
    most=8,
)
