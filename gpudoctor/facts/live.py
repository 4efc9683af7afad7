"""What came of trying: containers that were started to see GPUs, and a look into those that run (``--live`` only).

Gatekeeper of ``live``: ``docker.gpu-path-broken``.
"""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import Item, Section

#: ``program``: gpudoctor's own; NVML and CUDA where the image has glibc. ``python``: both by ctypes. ``shell``: device
#: files and nvidia-smi. ``nvidia-smi``: that alone.
Inside = Literal["program", "python", "shell", "nvidia-smi"]


class LiveNode(Item, frozen=True, kw_only=True):
    """A device file as the container sees it. ``error`` is the errno's name (``EPERM``), None when it opened."""

    name: str
    error: str | None = None


class LiveGpu(Item, frozen=True, kw_only=True):
    """One GPU under CUDA: ``ok`` when memory was written and read back; else the call that failed and its CUresult."""

    uuid: str | None = None
    ok: bool = False
    step: str | None = None
    code: int | None = None


class Seen(Item, frozen=True, kw_only=True):
    """What the probe inside a container reported; a field it did not come to is None.

    Attributes:
        inside: What ran there; None when nothing did.
        other_c_library: What the image has where its glibc should be: ``musl`` or ``none``; NVIDIA's libraries need it.
        nodes: NVIDIA's device files and whether they open.
        libraries: Places of libnvidia-ml.so.1.
        nvml_code: Of nvmlInit; ``nvml_error`` when the library could not be loaded.
        smi_exit: Exit code of nvidia-smi, and the first line it wrote.
        uuids: The GPUs that NVML (or nvidia-smi) listed.
        cuda_code: Of cuInit; ``cuda_error`` when the library could not be loaded.
        program_exit: Of gpudoctor's program under the image's glibc; 127 when that cannot start it.
        python_exit: Of the Python part, where that was needed and the image has Python.
    """

    inside: Inside | None = None
    other_c_library: Literal["musl", "none"] | None = None
    nodes: Annotated[tuple[LiveNode, ...], Meta(max_length=1024)] = ()
    libraries: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    nvml_code: int | None = None
    nvml_error: str | None = None
    nvml_count: int | None = None
    smi_exit: int | None = None
    smi_line: str | None = None
    uuids: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    cuda_code: int | None = None
    cuda_error: str | None = None
    cuda_count: int | None = None
    gpus: Annotated[tuple[LiveGpu, ...], Meta(max_length=1024)] = ()
    program_exit: int | None = None
    python_exit: int | None = None

    @property
    def listed(self) -> int | None:
        """How many GPUs NVML lists in there, None when it does not work."""
        if self.nvml_code == 0 and self.nvml_count is not None:
            return self.nvml_count
        return len(self.uuids) if self.smi_exit == 0 else None

    def refused(self, error: str) -> tuple[str, ...]:
        """Return the device files that fail to open with this errno."""
        return tuple(node.name for node in self.nodes if node.error == error)


class LivePath(Item, frozen=True, kw_only=True):
    """One path, tried once.

    Attributes:
        path: ``--gpus``, ``runtime: nvidia`` or ``CDI``.
        asked: ``all``, or the indices asked for.
        created, started: How far the engine came; ``error`` is its own text where it did not.
        exit_code: Of the probe inside.
        duration_seconds: From the request to create until the container's end.
        failure: Why it did not come to an end (a deadline).
    """

    path: str
    asked: Annotated[tuple[str, ...], Meta(max_length=1024)] = ()
    created: bool = False
    started: bool = False
    error: str | None = None
    exit_code: int | None = None
    seen: Seen = Seen()
    duration_seconds: float | None = None
    failure: str | None = None


class LiveContainer(Item, frozen=True, kw_only=True):
    """A look into a running GPU container. ``failure``: it has no shell, or did not answer."""

    id: str
    name: str
    seen: Seen = Seen()
    failure: str | None = None


class Live(Section, frozen=True, kw_only=True):
    """One run of ``--live``: ``image`` was used for the paths, ``leftovers`` of earlier runs were removed."""

    image: str
    image_from: str | None = None
    engine_version: str | None = None
    leftovers: int = 0
    paths: Annotated[tuple[LivePath, ...], Meta(max_length=16)] = ()
    containers: Annotated[tuple[LiveContainer, ...], Meta(max_length=1024)] = ()

    def tried(self, path: str) -> LivePath | None:
        """Return what came of one path."""
        return next((each for each in self.paths if each.path == path), None)
