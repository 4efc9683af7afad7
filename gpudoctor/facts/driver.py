"""The NVIDIA kernel driver: loaded, on disk, its libraries and device nodes, and what could replace it."""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable

Flavour = Literal["open", "proprietary"]


class KernelModule(Item, frozen=True, kw_only=True):
    """One ``nvidia.ko`` under ``/lib/modules/<kernel>``."""

    kernel: str
    path: str


class Kernel(Item, frozen=True, kw_only=True):
    """One installed kernel that can be booted. ``headers``: its build tree is there."""

    release: str
    headers: bool
    running: bool = False
    newest: bool = False


class DkmsBuild(Item, frozen=True, kw_only=True):
    """One NVIDIA module source under DKMS; ``kernel`` is None while it is added but not built."""

    version: str
    kernel: str | None


class ModuleInfo(Item, frozen=True, kw_only=True):
    """What the module file on disk for the running kernel says of itself (modinfo). ``signer`` '' = unsigned."""

    path: str
    version: str
    license: str = ""
    signer: str = ""


class Library(Item, frozen=True, kw_only=True):
    """One copy of a driver library that the loader could take.

    ``origin`` says how it is found: ``loader-cache``, ``ld-library-path``, ``default-directory``, ``wsl`` or
    ``nixos``. ``version`` comes from the real file's name (``libnvidia-ml.so.535.247.01``), None if it has none.
    """

    soname: str
    path: str
    real_path: str
    origin: str
    version: str | None = None
    stub: bool = False


class DeviceNode(Item, frozen=True, kw_only=True):
    """One character device. ``accessible``: this user can open it for reading and writing (by mode and groups)."""

    path: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    accessible: bool


class ProcGpu(Item, frozen=True, kw_only=True):
    """One entry of ``/proc/driver/nvidia/gpus``."""

    address: str
    minor: int | None = None
    model: str = ""


class Driver(Section, frozen=True, kw_only=True):
    """Driver facts read from files only, so that they are there when NVML hangs.

    ``loaded_version`` is None when no nvidia module is loaded. ``secure_boot`` is ``on``, ``off`` or ``legacy``
    (no EFI variables). ``lockdown`` is the kernel's mode, None where the kernel has none.
    """

    loaded_version: str | Unavailable | None = NOT_RECORDED
    loaded_flavour: Flavour | Unavailable | None = NOT_RECORDED
    nouveau_loaded: bool | Unavailable = NOT_RECORDED
    modules: Annotated[tuple[KernelModule, ...], Meta(max_length=256)] | Unavailable = NOT_RECORDED
    kernels: Annotated[tuple[Kernel, ...], Meta(max_length=256)] | Unavailable = NOT_RECORDED
    dkms: Annotated[tuple[DkmsBuild, ...], Meta(max_length=256)] = ()
    secure_boot: str | Unavailable = NOT_RECORDED
    lockdown: str | None = None
    libraries: Annotated[tuple[Library, ...], Meta(max_length=256)] | Unavailable = NOT_RECORDED
    device_nodes: Annotated[tuple[DeviceNode, ...], Meta(max_length=1024)] | Unavailable = NOT_RECORDED
    proc_gpus: Annotated[tuple[ProcGpu, ...], Meta(max_length=1024)] = ()
    blacklisted: tuple[str, ...] = ()
    wsl_libcuda: bool | Unavailable = NOT_RECORDED

    def library(self, soname: str) -> tuple[Library, ...]:
        """Every copy of this library, in the order in which the loader would try them."""
        libraries = () if isinstance(self.libraries, Unavailable) else self.libraries
        return tuple(lib for lib in libraries if lib.soname == soname)


class ModuleFile(Section, frozen=True, kw_only=True):
    """``modinfo nvidia``: the module that would be loaded for the running kernel, None if there is none."""

    info: ModuleInfo | None


class Package(Item, frozen=True, kw_only=True):
    """One installed package of the driver or toolkit."""

    name: str
    version: str
    held: bool = False


class Packages(Section, frozen=True, kw_only=True):
    """The package manager's view: what is installed, held, upgraded by itself, and waiting for a reboot."""

    manager: str
    installed: Annotated[tuple[Package, ...], Meta(max_length=1024)] = ()
    automatic_upgrades: bool | Unavailable = NOT_RECORDED
    automatic_exclusions: tuple[str, ...] = ()
    reboot_required: bool | Unavailable = NOT_RECORDED
    reboot_packages: tuple[str, ...] = ()
