"""Python environments: what engines, torch build and CUDA libraries each one has. Read from files, never imported.

Suggested gatekeeper of this section: ``torch.cpu-only``.
"""

from typing import Annotated, Literal

from msgspec import Meta

from gpudoctor.facts.base import NOT_RECORDED, Item, Part, Section, Unavailable
from gpudoctor.facts.cuda_libraries import CudaLibrary, LoadedLibrary, LoaderChoice

EnvironmentKind = Literal["conda", "venv", "uv", "pyenv", "system", "process", "other"]

#: Distributions that are recorded with version and requirements, by their normalised name (PEP 503).
ENGINES: tuple[str, ...] = (
    "vllm", "sglang", "text-generation", "text-generation-server", "llama-cpp-python", "ktransformers",
    "tensorrt-llm", "lmdeploy", "exllamav2", "mlc-llm",
)
COMPANIONS: tuple[str, ...] = (
    "torch", "torchvision", "torchaudio", "transformers", "tokenizers", "accelerate", "triton", "flash-attn",
    "flash-attn-3", "flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache", "xformers", "bitsandbytes",
    "sgl-kernel", "sglang-kernel", "auto-gptq", "gptqmodel", "autoawq", "compressed-tensors", "deepspeed", "tensorrt",
    "onnxruntime-gpu", "jax", "tensorflow", "cupy", "ray", "numpy", "ninja",
)


class PythonPackage(Item, frozen=True, kw_only=True):
    """One installed distribution.

    Attributes:
        name: Normalised: lower case, hyphens.
        version: As its metadata says; None where that is broken, see the environment's ``problems``. ``pip``'s
            version often lacks the local part (``+cu128``) that ``torch.version`` has.
        editable: Installed with ``pip install -e``; ``source`` is then the folder.
        source: From direct_url.json: a folder, archive or repository, user and password taken out.
        manager: ``pip`` (whatever wrote a dist-info or egg-info) or ``conda`` (in conda-meta only).
        build: conda's build string (``cuda126_generic_py312...``, ``cpu_generic...``).
        requires: Its unconditional requirements on torch, triton, transformers, flashinfer, xformers, nvidia-*
            (``torch==2.14.0``): as written, extras left out.
    """

    name: str
    version: str | None = None
    editable: bool = False
    source: str | None = None
    manager: str = "pip"
    build: str | None = None
    requires: Annotated[tuple[str, ...], Meta(max_length=64)] = ()


class TorchBuild(Part, frozen=True, kw_only=True):
    """The installed build of PyTorch, read from ``torch/version.py`` (parsed, not run) and its libraries.

    Attributes:
        version: ``2.15.0+cu132``; without the local part when version.py could not be read.
        cuda: ``13.2``; None when the build is not for CUDA. Unavailable when version.py could not be read.
        hip: ROCm's version, None when the build is not for ROCm.
        git: The commit it was built from.
        path: The folder of the package.
        declared: Architectures in the build's own string in libtorch_python.so or libtorch_cuda.so (what
            ``torch.cuda.get_arch_list()`` answers): ``sm_80``, ``compute_120`` for PTX.
        compiled: Architectures of the fat binaries in libtorch_cuda.so as a whole, without those of single kernels
            (one for 8.9 among hundreds). Same form.
    """

    version: str
    cuda: str | Unavailable | None = NOT_RECORDED
    hip: str | Unavailable | None = NOT_RECORDED
    git: str | None = None
    path: str = ""
    declared: Annotated[tuple[str, ...], Meta(max_length=128)] | Unavailable = NOT_RECORDED
    compiled: Annotated[tuple[str, ...], Meta(max_length=128)] | Unavailable = NOT_RECORDED

    @property
    def local_version(self) -> str | None:
        """``cu132`` of ``2.15.0+cu132``, None without one."""
        return self.version.partition("+")[2] or None

    @property
    def cpu_only(self) -> bool | None:
        """True for a build for neither CUDA nor ROCm, None when that could not be read."""
        if isinstance(self.cuda, Unavailable) or isinstance(self.hip, Unavailable):
            return None
        return self.cuda is None and self.hip is None

    @property
    def arch_list(self) -> tuple[str, ...] | Unavailable:
        """What to judge by: the build's own string, which names PTX too, else the scan."""
        return self.compiled if isinstance(self.declared, Unavailable) else self.declared


class Extension(Item, frozen=True, kw_only=True):
    """A compiled file with GPU code that a package brings: ``vllm/_C.abi3.so``.

    ``path`` is relative to the folder of packages. ``needs`` are the CUDA libraries it asks the loader for
    (``libcudart.so.12``). ``arch_list`` is what the file as a whole was compiled for, empty without GPU code;
    ``sm_90a`` runs on 9.0 only. ``few`` are the targets of single kernels, by which nothing should be judged: vLLM
    0.10.1 has one object for 5.2 among eighty that begin at 7.0.
    """

    package: str
    path: str
    needs: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    arch_list: Annotated[tuple[str, ...], Meta(max_length=128)] | Unavailable = NOT_RECORDED
    few: Annotated[tuple[str, ...], Meta(max_length=128)] = ()


class PythonEnvironment(Item, frozen=True, kw_only=True):
    """One environment.

    Attributes:
        path: Its prefix (``/opt/vllm``); in a container's file system, as seen inside it.
        kind: ``conda``; ``venv``; ``uv`` (a venv made by uv, or a Python that uv brought); ``pyenv``; ``system``
            (the distribution's); ``process`` (an interpreter known only because it runs); ``other``.
        found: Why it was looked at: ``option`` (--python), ``process``, ``active`` (VIRTUAL_ENV or CONDA_PREFIX),
            ``path`` (first python on PATH), ``home``, ``opt``, ``system``, ``conda-list``, ``pyenv``, ``uv``,
            ``image`` (a layer of a container image on disk; ``container`` is then ``image:<layer>``).
        user: Name of the owner of the folder.
        interpreter: Path of the python executable, None when it is gone (a venv whose Python was upgraded away).
        python: ``3.12.3``. abi: ``cp312``, ``cp313t`` (free-threaded). platform: ``linux-x86_64``, from the
            executable's header.
        site_packages: Folders of packages, in import order.
        pids: Processes that run it now.
        container: An id of the container that a process with it runs in, None on the host.
        package_count: All distributions, of which ``packages`` names the ones gpudoctor knows.
        editable: Names of editable installs, known or not.
        nvcc: A CUDA compiler inside the environment (conda, or the nvidia-cuda-nvcc wheel).
        torch: None when torch is not installed.
        loads: What the loader would take for torch's and the engines' files.
        problems: What is broken in it: half-removed packages, unreadable metadata, two versions of one package.
        failure: Why nothing, or not everything, could be read.
    """

    path: str
    kind: EnvironmentKind
    found: tuple[str, ...] = ()
    user: str | None = None
    interpreter: str | None = None
    python: str | None = None
    abi: str | None = None
    platform: str | None = None
    site_packages: tuple[str, ...] = ()
    pids: Annotated[tuple[int, ...], Meta(max_length=1024)] = ()
    container: str | None = None
    package_count: int = 0
    packages: Annotated[tuple[PythonPackage, ...], Meta(max_length=256)] = ()
    editable: Annotated[tuple[str, ...], Meta(max_length=256)] = ()
    nvcc: str | None = None
    torch: TorchBuild | Unavailable | None = None
    libraries: Annotated[tuple[CudaLibrary, ...], Meta(max_length=512)] = ()
    extensions: Annotated[tuple[Extension, ...], Meta(max_length=256)] = ()
    loads: Annotated[tuple[LoaderChoice, ...], Meta(max_length=512)] = ()
    loaded: Annotated[tuple[LoadedLibrary, ...], Meta(max_length=1024)] = ()
    problems: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    failure: str | None = None

    def package(self, name: str) -> PythonPackage | None:
        """Return a distribution by its normalised name, None when it is not installed or not one we record."""
        return next((each for each in self.packages if each.name == name), None)

    @property
    def in_image(self) -> bool:
        """True for a layer of an image on disk: nothing says that it will run."""
        return "image" in self.found

    @property
    def engines(self) -> tuple[PythonPackage, ...]:
        """The inference engines installed here."""
        return tuple(each for each in self.packages if each.name in ENGINES)


class LeftOut(Item, frozen=True, kw_only=True):
    """A place that was not searched; ``failure`` says why."""

    path: str
    failure: str


class PythonEnvs(Section, frozen=True, kw_only=True):
    """Environments, those with engines or torch first. ``more`` counts those beyond the limit, which were not read."""

    environments: Annotated[tuple[PythonEnvironment, ...], Meta(max_length=256)] = ()
    more: int = 0
    left_out: Annotated[tuple[LeftOut, ...], Meta(max_length=256)] = ()
