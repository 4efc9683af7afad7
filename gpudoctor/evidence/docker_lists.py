"""``docker ps``, ``docker compose ps`` and ``docker images``: which containers there are, in what state.

Sample input:

    CONTAINER ID   IMAGE                     COMMAND       CREATED       STATUS          PORTS                    NAMES
    c7ee8cdb3d8b   ollama/ollama:0.12.3      "/bin/olla…"  2 days ago    Up 3 hours      0.0.0.0:11434->11434/tcp ollama

What a container was given, GPUs above all, these lists do not tell; ``docker inspect`` does.
"""

import re

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.docker import Container, Containers, PublishedPort
from gpudoctor.facts.signatures import NOT_PASTED

_MAX_CONTAINERS = 1024
_COLUMNS = re.compile(r"CONTAINER ID|[A-Z]+(?: [A-Z]+)*")
_PORT = re.compile(
    r"(?:(?P<address>[\d.]{7,15}|\[[\da-f:]{2,39}\]):)?(?P<host>\d{1,5})->(?P<inner>\d{1,5})/(?P<kind>tcp|udp)"
)
_STATES = {
    "up": "running", "exited": "exited", "restarting": "restarting", "created": "created", "dead": "dead",
    "paused": "paused", "removal": "dead",
}  # fmt: skip
_ROWS = re.compile(
    r"\s{0,4}(?:CONTAINER ID|NAME)\s+IMAGE|\s{0,4}\S.{0,1000}\s(?:Up|Exited|Restarting|Created|Dead|Paused|Removal)\b"
)
_ENDED = re.compile(r"(?:Exited|Restarting) \((\d{1,3})\)")


def containers(text: str, line: int, file: str) -> Reading | None:
    """Read one list of containers; None without a row that fits the head."""
    head, *rows = text.split("\n")
    starts = [(found[0], found.start()) for found in _COLUMNS.finditer(head)]
    found = []
    for row in rows[:_MAX_CONTAINERS]:
        ends = [start for _, start in starts[1:]] + [len(row)]
        cells = {name: row[start:end].strip() for (name, start), end in zip(starts, ends, strict=True)}
        container = _container(cells)
        if container is not None:
            found.append(container)
    context = frozenset({"container"})
    return Reading(sections={"containers": Containers(containers=tuple(found))}, context=context) if found else None


def _container(cells: dict[str, str]) -> Container | None:
    status = cells.get("STATUS", "")
    state = _STATES.get(status.split(" ", 1)[0].lower())
    name = cells.get("NAMES") or cells.get("NAME") or ""
    if state is None or not re.fullmatch(r"[\w.\-/,]{1,256}", name):
        return None
    ended = _ENDED.match(status)
    return Container(
        id=cells.get("CONTAINER ID", "")[:64] or name,
        name=name.split(",")[0],
        image=cells.get("IMAGE", "")[:512],
        state="paused" if "(Paused)" in status else state,
        exit_code=int(ended[1]) if ended else None,
        health="unhealthy" if "(unhealthy)" in status else "healthy" if "(healthy)" in status else None,
        ports=tuple(_port(each) for each in _PORT.finditer(cells.get("PORTS", "")))[:256],
        failure=NOT_PASTED.reason,
    )


def _port(found: "re.Match[str]") -> PublishedPort:
    return PublishedPort(host_port=int(found["host"]), container_port=int(found["inner"]),
                         address=(found["address"] or "").strip("[]"), protocol=found["kind"])


def images(text: str, line: int, file: str) -> Reading | None:
    """Know the list of images as one: it tells what is on disk, and nothing that any check asks."""
    return Reading(context=frozenset({"container"}))


KINDS = (
    Kind(
        name="docker-ps",
        begins=r"\s{0,4}(?:CONTAINER ID|NAME)\s+IMAGE\s+COMMAND\s+(?:SERVICE\s+)?CREATED\s+STATUS",
        extent=lambda: While(_ROWS),
        read=containers,
        words=("container id ", "exited (", "restarting ("),
    ),
    Kind(
        name="docker-images",
        begins=r"\s{0,4}REPOSITORY\s+TAG\s+IMAGE ID\s+CREATED\s+SIZE",
        extent=lambda: While(re.compile(r"\s{0,4}REPOSITORY\s|\S+\s+\S+\s+(?:sha256:)?[0-9a-f]{12}\s")),
        read=images,
    ),
)  # fmt: skip
