"""The files by which GPUs reach containers: Docker's configuration, NVIDIA's toolkit, CDI specifications.

Gatekeeper of ``container_toolkit``: ``docker.no-gpu-path``.
"""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Part, Section, Unavailable


class Program(Item, frozen=True, kw_only=True):
    """A program of the toolkit (``nvidia-container-runtime-hook``).

    ``on_daemon_path``: dockerd would find it. ``changed``: when it came here, ISO 8601 UTC, not when it was built.
    """

    name: str
    path: str
    executable: bool = True
    on_daemon_path: bool | Unavailable = NOT_RECORDED
    changed: str | Unavailable = NOT_RECORDED


class CdiSpec(Item, frozen=True, kw_only=True):
    """One CDI specification file.

    Attributes:
        kind: ``nvidia.com/gpu``; None when it could not be read.
        devices: Names without the kind: ``0``, ``all``, a UUID.
        library_versions: Driver versions in the names of the libraries that it mounts (``libcuda.so.535.247.01``).
        missing: Host paths it names that are not there.
        changed: Last change, ISO 8601 UTC.
    """

    path: str
    version: str | None = None
    kind: str | None = None
    devices: Annotated[tuple[str, ...], Meta(max_length=4096)] = ()
    library_versions: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    missing: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    changed: str | Unavailable = NOT_RECORDED
    failure: str | None = None


class DaemonFile(Part, frozen=True, kw_only=True):
    """daemon.json as it is on disk: what the daemon will do after its next start.

    ``cdi`` is ``features.cdi``, None when not said. ``failure``: why it could not be read, with the line.
    """

    path: str
    runtimes: dict[str, str] = {}
    default_runtime: str | None = None
    cgroup_driver: str | None = None
    cdi: bool | None = None
    cdi_spec_dirs: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    changed: str | Unavailable = NOT_RECORDED
    failure: str | None = None


class ToolkitConfig(Part, frozen=True, kw_only=True):
    """``/etc/nvidia-container-runtime/config.toml``: only what decides. ``failure``: why it could not be read."""

    path: str
    mode: str | None = None
    no_cgroups: bool | None = None
    root: str | None = None
    ldconfig: str | None = None
    accept_environment: bool | None = None
    accept_mounts: bool | None = None
    skip_mode_detection: bool | None = None
    changed: str | Unavailable = NOT_RECORDED
    failure: str | None = None


class OtherEngine(Item, frozen=True, kw_only=True):
    """Another container engine that is installed: ``podman``, ``containerd``, ``nerdctl``, ``cri-o``, ``apptainer``."""

    name: str
    path: str
    version: str | None = None


class ContainerToolkit(Section, frozen=True, kw_only=True):
    """What lies on disk; whether the running daemon knows of it is in ``docker``.

    Attributes:
        installed: Docker's programs are there (``dockerd`` or a socket), running or not.
        version: Of nvidia-container-toolkit, from its package or file; None when it is not installed.
        libnvidia_container_version: Of libnvidia-container1.
        char_links: The ``/dev/char/195:*`` links that are there.
        socket: Its path; owner, group and mode as ``ls`` shows them, None when there is none.
        socket_allowed: This user may open it.
        refresh_units: State of ``nvidia-cdi-refresh.service`` and ``.path`` by name; empty where systemd knows none.
        selinux: ``enforcing``, ``permissive``, ``disabled``; None where the kernel has none.
        systemd_version: Of the systemd that runs this machine (``252``), None where none does.
    """

    installed: bool | Unavailable = NOT_RECORDED
    version: str | Unavailable | None = NOT_RECORDED
    libnvidia_container_version: str | Unavailable | None = NOT_RECORDED
    installed_at: str | Unavailable = NOT_RECORDED
    programs: Annotated[tuple[Program, ...], Meta(max_length=64)] = ()
    daemon_file: DaemonFile | Unavailable | None = NOT_RECORDED
    config: ToolkitConfig | Unavailable | None = NOT_RECORDED
    cdi_specs: Annotated[tuple[CdiSpec, ...], Meta(max_length=256)] | Unavailable = NOT_RECORDED
    char_links: Annotated[tuple[str, ...], Meta(max_length=1024)] | Unavailable = NOT_RECORDED
    socket: str | None = None
    socket_mode: str | None = None
    socket_allowed: bool | Unavailable = NOT_RECORDED
    refresh_units: dict[str, str] = {}
    selinux: str | Unavailable | None = NOT_RECORDED
    systemd_version: str | Unavailable | None = NOT_RECORDED
    other_engines: Annotated[tuple[OtherEngine, ...], Meta(max_length=32)] = ()

    def program(self, name: str) -> Program | None:
        """Return the toolkit's program of this name."""
        return next((each for each in self.programs if each.name == name), None)
