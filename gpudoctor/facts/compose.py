"""Compose projects as gpudoctor understood them: services with the place of everything that a finding may point to.

Gatekeeper of ``compose``: ``compose.no-gpu-request``. Only ``compose lint``, ``plan``, ``diagnose`` and
``check --compose`` fill it.
"""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import Item, Part, Section, Unavailable


class Place(Part, frozen=True, kw_only=True):
    """Where something stands in a file; line and column count from 1."""

    file: str
    line: int
    column: int = 1


class GpuRequest(Item, frozen=True, kw_only=True):
    """One way in which a service asks for GPUs.

    ``form`` is ``deploy`` (reservation), ``gpus``, ``runtime`` (``runtime: nvidia``; ``device_ids`` are then those of
    NVIDIA_VISIBLE_DEVICES), ``cdi`` (``devices: nvidia.com/gpu=0`` or driver cdi), ``device`` (``/dev/nvidia0``,
    ``/dev/kfd``) or ``swarm`` (generic_resources). ``count`` -1 means all; None with no ``device_ids`` that the file
    says neither (which means all). ``problem``: why Compose refuses it.
    """

    form: str
    place: Place
    driver: str = ""
    count: int | None = None
    device_ids: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    capabilities: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    problem: str | None = None


class InlineSecret(Item, frozen=True, kw_only=True):
    """A secret that is written in the file itself. ``where`` is ``environment``, ``command`` or ``build.args``."""

    name: str
    where: str
    place: Place


class Variable(Item, frozen=True, kw_only=True):
    """An environment variable of a service. ``value`` None: taken from the shell at start. Secrets read ``***``."""

    name: str
    value: str | None
    place: Place
    secret: bool = False


class Port(Item, frozen=True, kw_only=True):
    """A published port; ``host_port`` None lets Docker choose. ``address`` empty means all interfaces."""

    container_port: int
    place: Place
    host_port: int | None = None
    address: str = ""
    protocol: str = "tcp"


class HostFile(Item, frozen=True, kw_only=True):
    """A file or folder of the host, as ``stat`` shows it; ``mode`` are its permission bits."""

    path: str
    uid: int
    gid: int
    mode: int
    folder: bool = False


class MountSource(Part, frozen=True, kw_only=True):
    """What a bind mount brings in: the source itself, then what lies in it, one of each owner and mode.

    ``path`` is the source. ``exists`` False: Docker will make an empty folder there that belongs to root.
    """

    path: str
    exists: bool
    files: Annotated[tuple[HostFile, ...], Meta(max_length=64)] = ()
    failure: str | None = None


class Volume(Item, frozen=True, kw_only=True):
    """A mount; ``source`` is absolute for binds, a name for volumes, None for anonymous ones."""

    target: str
    place: Place
    source: str | None = None
    kind: str = "volume"
    read_only: bool = False
    on_host: MountSource | Unavailable = Unavailable("the machine was not asked for this folder", "not-asked")


class Service(Item, frozen=True, kw_only=True):
    """One service after merging, ``extends``, profiles and interpolation.

    ``places`` maps a key as written (``runtime``, ``deploy.resources.limits.memory``, ``command``) to where it stands.
    ``command`` is entry point and command as words. Sizes are bytes.
    """

    name: str
    place: Place
    image: str | None = None
    build: bool = False
    command: Annotated[tuple[str, ...], Meta(max_length=4096)] = ()
    runtime: str | None = None
    requests: Annotated[tuple[GpuRequest, ...], Meta(max_length=64)] = ()
    variables: Annotated[tuple[Variable, ...], Meta(max_length=4096)] = ()
    ports: Annotated[tuple[Port, ...], Meta(max_length=4096)] = ()
    volumes: Annotated[tuple[Volume, ...], Meta(max_length=4096)] = ()
    ipc: str | None = None
    shm_size_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memlock_unlimited: bool = False
    network_mode: str | None = None
    user: str | None = None
    privileged: bool = False
    restart: str | None = None
    healthcheck: bool = False
    container_name: str | None = None
    profiles: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    inline_secrets: Annotated[tuple[InlineSecret, ...], Meta(max_length=8192)] = ()
    places: dict[str, Place] = {}

    @property
    def subject(self) -> str:
        """Its name in findings."""
        return f"service:{self.name}"

    def variable(self, name: str) -> Variable | None:
        """Return the environment variable of this name."""
        return next((each for each in self.variables if each.name == name), None)

    def place_of(self, key: str) -> Place:
        """Return where a key stands, the service's own line when it is not written."""
        return self.places.get(key, self.place)


class UnknownKey(Item, frozen=True, kw_only=True):
    """A key that the Compose specification does not know; ``path`` is ``deploy.resources.limits.memmory``.

    ``service`` is None outside services. ``near`` is the known key that it resembles, ``belongs`` the path within a
    service under which it is known (empty: the service itself). ``dropped``: Compose ignores it where it stands.
    """

    service: str | None
    path: str
    place: Place
    near: str | None = None
    belongs: str | None = None
    dropped: bool = False


class ComposeProject(Item, frozen=True, kw_only=True):
    """Files that were merged into one project, in their order. ``version_place``: where the obsolete key stands."""

    files: Annotated[tuple[str, ...], Meta(max_length=64)]
    name: str | None = None
    services: Annotated[tuple[Service, ...], Meta(max_length=1024)] = ()
    version_place: Place | None = None
    #: Variables that interpolation asked for and nothing sets.
    unset: dict[str, Place] = {}
    unknown_keys: Annotated[tuple[UnknownKey, ...], Meta(max_length=256)] = ()
    #: Services behind profiles that were not asked for, with those profiles.
    inactive: dict[str, tuple[str, ...]] = {}


class Compose(Section, frozen=True, kw_only=True):
    """The projects that were asked about."""

    projects: Annotated[tuple[ComposeProject, ...], Meta(max_length=64)] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of all projects."""
        return tuple(service for project in self.projects for service in project.services)
