"""The container engine as its socket tells it, and its containers.

Gatekeeper of ``docker``: ``docker.unreachable``. Of ``containers``: ``container.gpu-invisible``.
"""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Part, Section, Unavailable


class Runtime(Item, frozen=True, kw_only=True):
    """A registered OCI runtime. ``path`` is its program or containerd shim type, ``arguments`` what it is given."""

    name: str
    path: str | None = None
    arguments: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class Docker(Section, frozen=True, kw_only=True):
    """One engine that answered.

    Attributes:
        endpoint: ``unix:///var/run/docker.sock`` or what DOCKER_HOST says.
        kind: ``docker``, ``rootless``, ``snap``, ``desktop`` or ``podman`` (its Docker-compatible socket).
        version: ``28.5.2``.
        api_version: The highest the engine speaks, ``1.51``.
        runc_version: From ``/version`` Components; likewise containerd.
        cgroup_driver: ``systemd``, ``cgroupfs`` or ``none``.
        cgroup_version: ``1`` or ``2``.
        runtimes: Registered in the *running* daemon; daemon.json may already say otherwise.
        cdi_spec_dirs: Folders that this engine reads; empty where CDI is off; Unavailable where it is too old to say.
        cdi_devices: Devices it discovered (``nvidia.com/gpu=0``), engines since 28.2.
        security_options: ``name=seccomp,profile=builtin``, ``name=rootless``, ``name=selinux``.
        root_dir: Docker's data, with its file system's total and free bytes.
        pid: The daemon's process, None when it cannot be found from here.
        started: When that process started, ISO 8601 UTC.
        daemon_path: PATH of the daemon's process: where it looks for hooks.
        compose_version: Of the Compose plugin (v2); ``compose_v1_path`` is a ``docker-compose`` of Python's days.
    """

    endpoint: str
    kind: str = "docker"
    version: str | Unavailable = NOT_RECORDED
    api_version: str | Unavailable = NOT_RECORDED
    operating_system: str | Unavailable = NOT_RECORDED
    runc_version: str | Unavailable = NOT_RECORDED
    containerd_version: str | Unavailable = NOT_RECORDED
    cgroup_driver: str | Unavailable = NOT_RECORDED
    cgroup_version: str | Unavailable = NOT_RECORDED
    runtimes: Annotated[tuple[Runtime, ...], Meta(max_length=256)] | Unavailable = NOT_RECORDED
    default_runtime: str | Unavailable = NOT_RECORDED
    cdi_spec_dirs: Annotated[tuple[str, ...], Meta(max_length=64)] | Unavailable = NOT_RECORDED
    cdi_devices: Annotated[tuple[str, ...], Meta(max_length=4096)] | Unavailable = NOT_RECORDED
    security_options: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    storage_driver: str | Unavailable = NOT_RECORDED
    root_dir: str | Unavailable = NOT_RECORDED
    root_dir_total_bytes: int | Unavailable = NOT_RECORDED
    root_dir_free_bytes: int | Unavailable = NOT_RECORDED
    pid: int | None = None
    started: str | Unavailable = NOT_RECORDED
    daemon_path: Annotated[tuple[str, ...], Meta(max_length=256)] | Unavailable = NOT_RECORDED
    compose_version: str | Unavailable | None = NOT_RECORDED
    compose_v1_path: str | Unavailable | None = NOT_RECORDED

    def runtime(self, name: str) -> Runtime | None:
        """Return the registered runtime of this name."""
        runtimes = () if isinstance(self.runtimes, Unavailable) else self.runtimes
        return next((each for each in runtimes if each.name == name), None)


class DeviceRequest(Item, frozen=True, kw_only=True):
    """``--gpus``, a device reservation of Compose, or a CDI request (driver ``cdi``). ``count`` -1 means all."""

    driver: str = ""
    count: int | None = None
    device_ids: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    capabilities: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class ContainerMount(Item, frozen=True, kw_only=True):
    """One mount of a container. ``owner_uid``, ``mode`` describe the source on the host."""

    source: str
    destination: str
    kind: str = "bind"
    writable: bool = True
    owner_uid: int | Unavailable = NOT_RECORDED
    owner_gid: int | Unavailable = NOT_RECORDED
    mode: int | Unavailable = NOT_RECORDED


class PublishedPort(Item, frozen=True, kw_only=True):
    """A port of the host that leads into the container. ``address`` is empty or ``0.0.0.0`` for all interfaces."""

    host_port: int
    container_port: int
    address: str = ""
    protocol: str = "tcp"


class ImageFacts(Part, frozen=True, kw_only=True):
    """What a container's image says of itself: ``requires`` is its NVIDIA_REQUIRE_CUDA, ``cuda_version`` CUDA_VERSION.

    ``asks_for_gpus``: it sets NVIDIA_VISIBLE_DEVICES itself (CUDA base images do).
    """

    id: str | Unavailable = NOT_RECORDED
    tags: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    requires: str | None = None
    cuda_version: str | None = None
    asks_for_gpus: bool = False
    size_bytes: int | Unavailable = NOT_RECORDED


class Container(Item, frozen=True, kw_only=True):
    """One container, by the engine's word and, while it runs, by what the host's files show of it.

    Attributes:
        state: ``running``, ``exited``, ``restarting``, ``paused``, ``created`` or ``dead``.
        started: ISO 8601 UTC, None when it never ran.
        exit_code: Of its last end, None while it runs.
        runtime: ``runc``, ``nvidia``.
        requests: GPU requests; empty under ``runtime: nvidia``, which goes by NVIDIA_VISIBLE_DEVICES.
        devices: Host paths given by ``--device``.
        environment: Allow-listed variables only (NVIDIA_*, CUDA_*, engines' own), no secrets.
        command: Entry point and arguments, secrets taken out.
        user: ``USER`` or ``--user`` as written, empty for root.
        shm_size_bytes: Of its own /dev/shm; ``ipc_mode`` ``host`` uses the host's.
        addresses: Its own in its networks, IPv4 before IPv6; none in the host's network or without one.
        memory_limit_bytes: None for no limit.
        labels: Compose's own (project, service, config files, working dir).
        pid: Its first process on the host, None when it does not run.
        updated: When ``docker update`` last changed it, as far as the engine remembers its last events; None otherwise.
        device_allow: ``DeviceAllow`` of its systemd scope (``/dev/char/195:0``, ``char-pts``), ``*`` where the scope
            restricts nothing (privileged); not-applicable without systemd's cgroup driver.
        device_nodes: NVIDIA nodes in its /dev, by name (``nvidia0``, ``nvidiactl``).
        nvidia_mounts: Driver libraries mounted into it.
        device_rights: Whether its cgroup lets it open NVIDIA's nodes (v1 ``devices.list``): ``allowed``, ``denied``.
        time_zone: Of its TZ or /etc/localtime: a zone's name, or its rule (``KST-9``) where only that is known.
        failure: Why the rest is not known: the engine or the host did not answer for this container.
    """

    id: str
    name: str
    image: str = ""
    state: str = "running"
    started: str | None = None
    exit_code: int | None = None
    runtime: str = "runc"
    requests: Annotated[tuple[DeviceRequest, ...], Meta(max_length=64)] = ()
    devices: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    environment: dict[str, str] = {}
    command: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    user: str = ""
    privileged: bool = False
    shm_size_bytes: int | Unavailable = NOT_RECORDED
    ipc_mode: str = ""
    network_mode: str = ""
    addresses: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    memory_limit_bytes: int | None = None
    restart_policy: str = ""
    health: str | None = None
    security_options: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    labels: dict[str, str] = {}
    ports: Annotated[tuple[PublishedPort, ...], Meta(max_length=4096)] = ()
    mounts: Annotated[tuple[ContainerMount, ...], Meta(max_length=1024)] = ()
    image_facts: ImageFacts | Unavailable = NOT_RECORDED
    pid: int | None = None
    updated: str | None = None
    cgroup: str | Unavailable = NOT_RECORDED
    device_allow: Annotated[tuple[str, ...], Meta(max_length=4096)] | Unavailable = NOT_RECORDED
    device_nodes: Annotated[tuple[str, ...], Meta(max_length=1024)] | Unavailable = NOT_RECORDED
    nvidia_mounts: Annotated[tuple[str, ...], Meta(max_length=1024)] | Unavailable = NOT_RECORDED
    device_rights: str | Unavailable = NOT_RECORDED
    time_zone: str | Unavailable = NOT_RECORDED
    failure: str | None = None

    @property
    def running(self) -> bool:
        """True while it has processes."""
        return self.state in ("running", "restarting", "paused")

    @property
    def done(self) -> bool:
        """True if it ended well: nobody says that it will run again."""
        return self.state == "exited" and self.exit_code == 0

    @property
    def subject(self) -> str:
        """Its name in findings."""
        return f"container:{self.name}"


class Containers(Section, frozen=True, kw_only=True):
    """The engine's containers: all that run, and those that ended and asked for GPUs.

    ``reloads``: when systemd loaded its units anew since the oldest of them was created, ISO 8601 UTC, from the
    journal; empty when the journal shows none. ``not_recorded``: how many there are beyond the 4000 that are recorded.
    """

    containers: Annotated[tuple[Container, ...], Meta(max_length=4096)] = ()
    reloads: Annotated[tuple[str, ...], Meta(max_length=1024)] | Unavailable = NOT_RECORDED
    not_recorded: int = 0

    def named(self, name: str) -> Container | None:
        """Return the container of this name or id."""
        return next((each for each in self.containers if name in (each.name, each.id)), None)
