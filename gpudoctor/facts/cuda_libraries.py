"""Copies of CUDA's libraries, and which of them the dynamic loader would take. Shared by several sections."""

from gpudoctor.facts.base import Item


class CudaLibrary(Item, frozen=True, kw_only=True):
    """One copy of a CUDA library (cudart, cuBLAS, cuDNN, NCCL, NVRTC, ...), found on disk, not loaded.

    ``origin`` says whose it is: ``wheel`` (an nvidia-* package of a Python environment, or a copy inside another
    package), ``conda``, ``toolkit`` (under a CUDA toolkit), ``system`` (the distribution's folders) or ``other``.
    ``version`` is the package's where ``package`` is known, else what the file's real name says
    (``libcudart.so.12.8.90``), else None. ``soname`` carries the major version: ``libcudnn.so.9``.
    """

    soname: str
    path: str
    origin: str
    version: str | None = None
    package: str | None = None

    @property
    def name(self) -> str:
        """The library without its version: ``libcudnn``."""
        return self.soname.partition(".so")[0]

    @property
    def major(self) -> int | None:
        """The number in the soname, which is not always CUDA's: 9 for ``libcudnn.so.9``. None without one."""
        number = self.soname.partition(".so.")[2].partition(".")[0]
        return int(number) if number.isascii() and number.isdigit() else None


class LoaderChoice(Item, frozen=True, kw_only=True):
    """The copy of one library that the loader would take for one binary, and by which rule.

    ``via`` is ``rpath`` (beats ``LD_LIBRARY_PATH``), ``ld-library-path``, ``runpath`` (loses against it),
    ``loader-cache``, ``default-directory``, ``already-loaded`` (the process has one of this soname by then, because
    torch is imported first), ``preloaded`` (torch opens the wheel's copy itself when the loader finds none), or
    ``missing`` (``path`` None). ``bundled`` is the copy that the environment itself brings, None if it brings none: the
    library is shadowed when both are there and differ.
    """

    soname: str
    wanted_by: str
    via: str
    path: str | None = None
    bundled: str | None = None

    @property
    def shadowed(self) -> bool:
        """True when another copy than the environment's own would be loaded."""
        return self.path is not None and self.bundled is not None and self.path != self.bundled


class LoadedLibrary(Item, frozen=True, kw_only=True):
    """A CUDA library that a running process has in memory (``/proc/PID/maps``): no guess."""

    pid: int
    soname: str
    path: str
