"""No C++ compiler, or one too old, where something here is compiled.

## Why it matters
Wheels and images need no compiler of their own to be installed. Triton, which vLLM and SGLang start at the first
request, compiles a small launcher with any C compiler: without one it says "Failed to find C compiler". An engine
installed from source needs GCC 9.4 or newer, as PyTorch's headers do; a guide that asks for GCC 11 for a wheel is
wrong.

## How to fix
Install the distribution's compiler, or a newer one beside it for builds from source.

## References
- https://github.com/pytorch/pytorch#from-source
- https://docs.nvidia.com/cuda/cuda-installation-guide-linux/#host-compiler-support-policy
- https://github.com/triton-lang/triton/blob/main/python/triton/runtime/build.py
"""

from collections.abc import Iterator

from gpudoctor.checking import Evidence, Finding, Step, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs
from gpudoctor.facts.toolkits import Compiler, Toolkits
from gpudoctor.judging.builds import environments, subject_of
from gpudoctor.judging.compilation import from_source, uses_triton
from gpudoctor.judging.cuda_fit import reaches
from gpudoctor.judging.remedies import fitting

_OLDEST_GCC = "9.4"


@check()
def compiler_too_old(
    toolkits: Toolkits, python_envs: PythonEnvs, host: Host | Unavailable, target: Target
) -> Iterator[Finding]:
    """Judge the default compiler by what the environments compile."""
    found = tuple(e for e in environments(python_envs, target) if e.container is None)
    building = tuple((e, name) for e in found if (name := from_source(e)) is not None)
    tritons = tuple(e for e in found if uses_triton(e))
    if not building and not tritons:
        yield skipped("host", "nothing found here is built from source or compiles at run time")
        return
    cpp = _default(toolkits, ("g++", "clang++"))
    for each, name in building:
        yield _source(each, name, cpp, host)
    any_c = _default(toolkits, ("gcc", "clang", "g++", "clang++"))
    seen = saw("compilers", tuple(f"{c.name} {c.version}" for c in toolkits.compilers), "PATH")
    if any_c is None and tritons and all(each.kind == "conda" for each in tritons):
        yield warned("host", "Triton in {path} needs a C compiler at the first request; the system has none, and "
                     "whether conda brings one was not looked at", path=tritons[0].path, evidence=seen,
                     fix=step("Install conda's compiler into that environment.",
                              "conda install -p {path} -c conda-forge gxx", path=tritons[0].path))
    elif any_c is None and tritons:
        yield failed("host", "Triton in {path} needs a C compiler at the first request, and there is none",
                     path=tritons[0].path, evidence=seen, fix=_install(host))
    elif tritons:
        yield passed("host", "Triton finds a C compiler: {path}", path=any_c.path if any_c else None, evidence=seen)


def _default(toolkits: Toolkits, names: tuple[str, ...]) -> Compiler | None:
    ranked = sorted((c for c in toolkits.compilers if c.name in names), key=lambda c: not c.default)
    return ranked[0] if ranked else None


def _source(each: PythonEnvironment, name: str, compiler: Compiler | None, host: Host | Unavailable) -> Finding:
    subject = subject_of(each)
    seen: Evidence = saw("C++ compiler", f"{compiler.name} {compiler.version}" if compiler else None, "PATH")
    if compiler is None:
        return warned(subject, "{package} in {path} is installed from source, and no C++ compiler is there to build it "
                      "again", package=name, path=each.path, evidence=seen, fix=_install(host))
    old = compiler.name == "g++" and compiler.version is not None and reaches(compiler.version, _OLDEST_GCC) is False
    if old:
        return warned(subject, "{package} in {path} is built from source, which needs GCC {floor}; the default is "
                      "{version}", package=name, path=each.path, floor=_OLDEST_GCC, version=compiler.version,
                      evidence=seen, fix=step("Install a newer GCC beside it and name it for the build.",
                                              "export CC=gcc-12 CXX=g++-12"))
    return passed(subject, "{compiler} is new enough to build {package}", compiler=compiler.path, package=name,
                  evidence=seen)


def _install(host: Host | Unavailable) -> tuple[Step, ...]:
    return fitting(
        host,
        debian=step("Install a compiler.", "sudo apt install build-essential"),
        rhel=step("Install a compiler.", "sudo dnf install gcc gcc-c++"),
        nixos=step("Start the engine in a shell with a compiler.", "nix-shell -p gcc"),
        other=step("Install a C compiler with your distribution's packages."),
    )
