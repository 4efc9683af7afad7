"""What a look into a running container proves of its GPUs (``--live``): it counts for more than what files show."""

from gpudoctor.checking.finding import Evidence, saw
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Container
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.live import Live, LiveContainer
from gpudoctor.judging.device_state import State
from gpudoctor.judging.gpu_paths import GpuPath, Paths
from gpudoctor.judging.live_paths import says, verdict

_SOURCE = "docker exec"


def look(live: Live | Unavailable, container: Container) -> LiveContainer | None:
    """Return the look into one container, None when there was none."""
    looks = () if isinstance(live, Unavailable) else live.containers
    return next((each for each in looks if each.id == container.id), None)


def after_look(live: Live | Unavailable, container: Container, now: State) -> State:
    """Return its state, corrected by what was seen inside."""
    found = look(live, container)
    if found is None or now.kind == "other-library":
        return now
    if found.seen.refused("EPERM"):
        return now._replace(kind="denied")
    if found.seen.listed and now.kind in ("denied", "reloaded", "not-known"):
        return now._replace(kind="holds")
    return now


def looked(live: Live | Unavailable, container: Container) -> tuple[Evidence, ...]:
    """Return what was seen inside; nothing without a look."""
    found = look(live, container)
    if found is None:
        return ()
    if found.failure is not None:
        return (saw("look into it", found.failure, _SOURCE),)
    listed = found.seen.listed
    nvml = f"lists {listed}" if listed is not None else says(found.seen)
    refused = found.seen.refused("EPERM")
    return (saw("NVML in it", nvml, _SOURCE),
            saw("device files that may not be opened", ", ".join(refused) or "none", _SOURCE))


def proved(ways: Paths, live: Live | Unavailable, gpus: Gpus | Unavailable) -> Paths:
    """Return the three paths as they were read, corrected by what came of trying them."""
    return ways if isinstance(live, Unavailable) else Paths(*(_proved(way, live, gpus) for way in ways))


def _proved(way: GpuPath, live: Live, gpus: Gpus | Unavailable) -> GpuPath:
    tried = live.tried(way.name)
    if tried is None:
        return way
    found = verdict(tried, gpus)
    if found.works and not way.works:
        return way._replace(works=True, cause="ok", why="tried")
    if found.broken and way.works is not False:
        return way._replace(works=False, cause="not-read", why=f"tried: {found.said or found.cause}")
    return way
