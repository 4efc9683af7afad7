"""Inference engines installed as programs: Ollama, llama.cpp. Nothing of them is run.

Suggested gatekeeper of this section: ``engine.driver-too-old``.
"""

from typing import Annotated

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Section, Unavailable


class RunnerLibrary(Item, frozen=True, kw_only=True):
    """A library through which an engine computes: ``/usr/lib/ollama/cuda_v12/libggml-cuda.so``.

    ``backend`` is ``cuda``, ``rocm``, ``vulkan`` or ``sycl``; those for the CPU are left out. ``variant`` is the name
    of its folder where the engine chooses by it (``cuda_v12``). ``cuda`` is the CUDA major that it is linked to (from
    the soname of cudart or cuBLAS, else from ``variant``), None when neither tells. ``arch_list`` comes from a scan.
    """

    path: str
    backend: str
    variant: str | None = None
    cuda: int | None = None
    needs: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    arch_list: Annotated[tuple[str, ...], Meta(max_length=128)] | Unavailable = NOT_RECORDED
    failure: str | None = None


class EngineBinary(Item, frozen=True, kw_only=True):
    """One installed engine. ``engine`` is ``ollama`` or ``llama.cpp``.

    Attributes:
        path: The program.
        version: ``0.11.10``; for llama.cpp its build number (``b7240``). None when no file tells it.
        version_source: Where the version was read: ``build-info``, ``linker-string`` (a string beside the Go linker's
            own), ``library-name`` or ``path``.
        origin: ``local``, ``distribution``, ``snap``, ``home``, ``homebrew`` or ``nix``, by where it lies.
        pids: Processes that run it now.
        container: An id of the container that it runs in, None on the host. ``path`` is then the one inside.
        runners: Empty when it has no libraries of its own (statically linked; then ``arch_list`` is of the program).
        failure: Why it could not be read.
    """

    engine: str
    path: str
    version: str | None = None
    version_source: str | None = None
    origin: str = "local"
    pids: Annotated[tuple[int, ...], Meta(max_length=1024)] = ()
    container: str | None = None
    arch_list: Annotated[tuple[str, ...], Meta(max_length=128)] | Unavailable = NOT_RECORDED
    runners: Annotated[tuple[RunnerLibrary, ...], Meta(max_length=64)] = ()
    failure: str | None = None


class Engines(Section, frozen=True, kw_only=True):
    """Engines found in the usual places, on PATH and among running processes."""

    engines: Annotated[tuple[EngineBinary, ...], Meta(max_length=64)] = ()

    def of(self, engine: str) -> tuple[EngineBinary, ...]:
        """Every installation of one engine."""
        return tuple(each for each in self.engines if each.engine == engine)
