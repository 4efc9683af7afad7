"""CUDA toolkits, compilers and CUDA libraries outside Python environments.

Suggested gatekeeper of this section: ``stack.nvcc-missing``.
"""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable
from gpudoctor.facts.cuda_libraries import CudaLibrary


class Toolkit(Item, frozen=True, kw_only=True):
    """One CUDA toolkit, or a part of one. None of it says what the driver can run.

    Attributes:
        path: Where it is known; ``/usr/local/cuda-12.4``, ``/usr`` for the distribution's own.
        version: ``12.4.1`` or ``12.4``, from version.json, version.txt or cuda.h; None when none says it.
        origin: ``local`` (/usr/local, /opt), ``distribution``, ``conda``, ``hpc-sdk`` or ``variable`` (CUDA_HOME).
        names: Other paths that lead here: ``/usr/local/cuda``.
        nvcc: Path of its compiler, None when it has none (a runtime-only installation).
        nvcc_on_path: It is the one that ``nvcc`` starts in this user's PATH.
        nvrtc: Path of libnvrtc, None when it is not there.
        headers: Those present of the ones that run-time compilation asks for (``cuda_runtime.h``).
        failure: Why it could not be read.
    """

    path: str
    version: str | None = None
    origin: str = "local"
    names: tuple[str, ...] = ()
    nvcc: str | None = None
    nvcc_on_path: bool = False
    nvrtc: str | None = None
    headers: tuple[str, ...] = ()
    failure: str | None = None


class Compiler(Item, frozen=True, kw_only=True):
    """A host compiler: ``name`` is ``gcc``, ``g++``, ``clang`` or ``clang++``.

    ``default``: the one that this plain name starts. ``version`` is ``13.3.0``, or as much of it as files tell.
    """

    name: str
    path: str
    version: str | None = None
    default: bool = False
    failure: str | None = None


class LibraryPathFolder(Item, frozen=True, kw_only=True):
    """One folder of ``LD_LIBRARY_PATH``, in its order. ``libraries`` are the CUDA libraries in it."""

    path: str
    exists: bool = False
    libraries: Annotated[tuple[CudaLibrary, ...], Meta(max_length=256)] = ()
    failure: str | None = None


class CompatLibrary(Item, frozen=True, kw_only=True):
    """A forward-compatibility copy of the driver's libcuda (``/usr/local/cuda-13.0/compat/libcuda.so.1``).

    ``version`` is the driver version in its real name. ``reached`` says how a program would come upon it before the
    driver's own: ``ld-library-path``, ``loader-cache``, or None when it merely lies there. A loader cache is reached
    through a file in ``/etc/ld.so.conf.d``.
    """

    path: str
    version: str | None = None
    reached: str | None = None


class Toolkits(Section, frozen=True, kw_only=True):
    """What a source build or run-time compilation would find on this machine.

    ``nvcc_on_path`` and ``cuda_home`` (CUDA_HOME or CUDA_PATH) are this user's; Unavailable for a mounted host.
    ``libraries`` are the copies in the loader's cache and the default folders (origin ``system`` or ``toolkit``).
    ``python_headers``: versions of Python whose ``Python.h`` is installed system-wide, which Triton needs.
    """

    toolkits: Annotated[tuple[Toolkit, ...], Meta(max_length=64)] = ()
    nvcc_on_path: str | Unavailable | None = NOT_RECORDED
    cuda_home: str | Unavailable | None = NOT_RECORDED
    compilers: Annotated[tuple[Compiler, ...], Meta(max_length=64)] = ()
    libraries: Annotated[tuple[CudaLibrary, ...], Meta(max_length=1024)] | Unavailable = NOT_RECORDED
    library_path: Annotated[tuple[LibraryPathFolder, ...], Meta(max_length=64)] = ()
    compat: Annotated[tuple[CompatLibrary, ...], Meta(max_length=64)] = ()
    python_headers: tuple[str, ...] = ()

    def copies(self, name: str) -> tuple[CudaLibrary, ...]:
        """Every system-wide copy of a library (``libcudnn``), in the loader's order."""
        libraries = () if isinstance(self.libraries, Unavailable) else self.libraries
        return tuple(each for each in libraries if each.name == name)
