"""Several MIG slices were given to one engine, or a slice in a form that the engine cannot read.

## Why it matters
CUDA gives a process one MIG slice, the first of the list, whatever else `CUDA_VISIBLE_DEVICES` names: tensor
parallelism over slices is impossible. vLLM up to 0.20.1 also stops at a MIG UUID there ("invalid literal for int() with
base 10: 'MIG-...'"), which surfaces as model architectures that "failed to be inspected".

## How to fix
Start one engine for each slice. For vLLM put the slice into a container with `NVIDIA_VISIBLE_DEVICES`, so that it is
number 0 there.

## References
- https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
- https://github.com/vllm-project/vllm/issues/41848
- https://github.com/vllm-project/vllm/pull/46132
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.builds import Build, engines_wanted
from gpudoctor.judging.cuda_fit import machinery
from gpudoctor.matrices.versions import release, same_release, within

_LAST_SEEN_FAILING = "0.20.1"


@check()
def mig_uuid(
    host: Host,
    engines: Engines | Unavailable,
    python_envs: PythonEnvs | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Look for MIG UUIDs in CUDA_VISIBLE_DEVICES."""
    value = host.environment.get("CUDA_VISIBLE_DEVICES", "")
    slices = tuple(part.strip() for part in value.split(",") if part.strip().startswith("MIG-"))
    seen = saw("MIG slices in CUDA_VISIBLE_DEVICES", len(slices), "environment")
    if not slices:
        yield skipped("host", "CUDA_VISIBLE_DEVICES names no MIG slice")
        return
    if len(slices) > 1:
        yield failed("host", "CUDA_VISIBLE_DEVICES names {count} MIG slices: a process gets the first alone",
                     count=len(slices), evidence=seen, fix=(
                         step("Start one engine for each slice.", "export CUDA_VISIBLE_DEVICES={first}",
                              first=slices[0]),))
    here = machinery(gpus, driver, pci, host, target)
    for build in engines_wanted(target, python_envs, engines, here):
        if build.engine == "vllm":
            yield _vllm(build)
        elif len(slices) == 1:
            yield passed(build.subject, "one MIG slice was given to {label}", label=build.label, evidence=seen)
    if len(slices) == 1 and not engines_wanted(target, python_envs, engines, here):
        yield passed("host", "CUDA_VISIBLE_DEVICES names one MIG slice", evidence=seen)


def _vllm(build: Build) -> Finding:
    version = build.version or ""
    old = release(version) is not None and (
        within(version, None, _LAST_SEEN_FAILING) or same_release(version, _LAST_SEEN_FAILING))
    fix = step("Give the slice to a container, where it is number 0; put the slice's own UUID in place of MIG-UUID.",
               "docker run --gpus device=MIG-UUID vllm/vllm-openai:v{version}", version=version)
    seen = saw("release", build.version, build.where)
    if old:
        return failed(build.subject, "{label} cannot read a MIG UUID in CUDA_VISIBLE_DEVICES", label=build.label,
                      evidence=seen, fix=fix)
    return warned(build.subject, "vLLM up to {last} could not read a MIG UUID in CUDA_VISIBLE_DEVICES; whether {label} "
                  "can is not recorded", last=_LAST_SEEN_FAILING, label=build.label, evidence=seen, fix=fix)
