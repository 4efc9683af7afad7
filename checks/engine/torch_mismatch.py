"""An engine is installed beside another PyTorch than the one it was built against.

## Why it matters
An engine's compiled files fit one release of PyTorch: with another they fail to load ("undefined symbol") or crash.
pip warns once when something upgrades PyTorch under the engine, and then the environment stays that way. A difference
between PyTorch's CUDA and an installed toolkit is no such fault.

## How to fix
Put back the PyTorch that the engine pins.

## References
- https://docs.vllm.ai/en/stable/getting_started/installation/gpu.html
- https://github.com/vllm-project/vllm/issues/13608
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, PythonPackage, TorchBuild
from gpudoctor.judging.builds import environments, subject_of


@check()
def torch_mismatch(python_envs: PythonEnvs, target: Target) -> Iterator[Finding]:
    """Compare the PyTorch installed with the exact one that each engine requires."""
    judged = False
    for each in environments(python_envs, target):
        for package in each.engines:
            pinned = next((r.partition("==")[2] for r in package.requires if r.startswith("torch==")), None)
            if pinned and isinstance(each.torch, TorchBuild):
                judged = True
                yield _judge(each, package, pinned.strip(), each.torch)
    if not judged:
        yield skipped("host", "no engine that pins its PyTorch is installed")


def _judge(each: PythonEnvironment, package: PythonPackage, pinned: str, build: TorchBuild) -> Finding:
    have = build.version.partition("+")[0]
    seen = (saw("PyTorch", build.version, build.path),
            saw("PyTorch required", pinned, f"{package.name} in {each.path}"))
    wanted = pinned.partition("+")[0]
    if have == wanted:
        return passed(subject_of(each), "{package} has the PyTorch it pins, {pinned}", package=package.name,
                      pinned=pinned, evidence=seen)
    if package.editable:
        return noted(subject_of(each), "{package} is a build of its own, made for PyTorch {pinned} or for the one "
                     "installed, {have}", package=package.name, pinned=pinned, have=have, evidence=seen)
    fix = step("Put back the PyTorch it was built for.", "pip install torch=={pinned}", pinned=wanted)
    if have.split(".")[:2] == wanted.split(".")[:2]:
        return warned(subject_of(each), "{package} {version} was built for PyTorch {pinned}; {path} has {have}, a "
                      "patch release apart", package=package.name, version=package.version, pinned=pinned,
                      path=each.path, have=build.version, evidence=seen, fix=fix)
    return failed(subject_of(each), "{package} {version} was built for PyTorch {pinned}; {path} has {have}",
                  package=package.name, version=package.version, pinned=pinned, path=each.path, have=build.version,
                  evidence=seen, fix=fix)
