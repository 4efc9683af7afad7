"""``docker inspect``: containers as the engine's socket tells them; images beside them are joined by their id."""

from typing import Any

import msgspec

from gpudoctor.evidence.blocks import Reading, Unread
from gpudoctor.facts.docker import Containers, ImageFacts
from gpudoctor.probes.container_facts import container, image_facts
from gpudoctor.probes.docker_answer import Answer, Unexpected

_MAX_CONTAINERS = 4096


def read(told: Any, line: int) -> Reading | None:
    """Read one object, or the list of them that the command prints.

    Raises:
        Unread: Something in it is of another type than Docker's API says.
    """
    given = [each for each in (told if isinstance(told, list) else [told]) if isinstance(each, dict)][:_MAX_CONTAINERS]
    images: dict[str, ImageFacts] = {}
    found = []
    try:
        for each in given:
            if "RepoTags" in each:
                facts = image_facts(Answer(each))
                images[str(facts.id)] = facts
            elif "HostConfig" in each:
                answer = Answer(each)
                found.append((answer.text("Image"), container(answer.text("Name").lstrip("/")[:256], answer)))
    except Unexpected as error:
        raise Unread(f"docker inspect: {error}") from None
    if not found:
        return None
    containers = tuple(
        msgspec.structs.replace(facts, image_facts=images[image]) if image in images else facts
        for image, facts in found
    )
    return Reading(sections={"containers": Containers(containers=containers)}, context=frozenset({"container"}))
