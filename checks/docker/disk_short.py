"""There is no room under Docker's folder for the image of an engine.

## Why it matters
Images of vLLM, SGLang and PyTorch unpack to 10 to 30 GB, and are written twice while they are pulled. A pull that runs
out of room fails late, and a full volume stops every other container on it.

## How to fix
Remove images that no container uses, or move Docker's folder (`data-root`) to a larger volume.

## References
- https://docs.docker.com/engine/manage-resources/pruning/
- https://docs.docker.com/engine/daemon/
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Finding,
    Policy,
    Target,
    check,
    failed,
    known,
    need,
    noted,
    passed,
    saw,
    step,
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers, Docker


@check()
def disk_short(
    docker: Docker, containers: Containers | Unavailable, target: Target, policy: Policy
) -> Iterator[Finding]:
    """Compare what is free with the image that shall come; without one, only say what is free."""
    free = need(docker.root_dir_free_bytes)
    root = known(docker.root_dir) or "Docker's folder"
    seen = (saw("free bytes", free, "statvfs"), saw("total bytes", known(docker.root_dir_total_bytes), "statvfs"))
    images = tuple(wish.image for wish in target.engines if wish.image)
    here = _tags(containers)
    coming = tuple(image for image in images if image not in here)
    need_bytes = int(policy["docker_image_bytes"])
    fix = (step("Remove images and build caches that no container uses.", "docker system prune --all",
                risk="images have to be pulled again"),
           step("Or move Docker's folder to a larger volume: data-root in daemon.json."))
    if images and not coming:
        yield passed("host", "{images} is here already; {free:bytes} are free under {root}", images=images, free=free,
                     root=root, evidence=seen)
    elif free >= need_bytes:
        yield passed("host", "{free:bytes} are free under {root}", free=free, root=root, evidence=seen)
    elif coming and free < need_bytes // 3:
        yield failed("host", "{images} shall come, and {free:bytes} are free under {root}: images of engines need "
                     "{need:bytes}", images=coming, free=free, root=root, need=need_bytes, evidence=seen, fix=fix)
    elif coming or target.installing:
        yield warned("host", "{free:bytes} are free under {root}; images of engines need up to {need:bytes}", free=free,
                     root=root, need=need_bytes, evidence=seen, fix=fix)
    else:
        yield noted("host", "{free:bytes} are free under {root}: too little for the image of another engine", free=free,
                    root=root, evidence=seen)


def _tags(containers: Containers | Unavailable) -> frozenset[str]:
    if isinstance(containers, Unavailable):
        return frozenset()
    tags = (c.image_facts.tags for c in containers.containers if not isinstance(c.image_facts, Unavailable))
    return frozenset((*(tag for each in tags for tag in each), *(c.image for c in containers.containers)))
