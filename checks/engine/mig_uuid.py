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
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import Engines
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.pci import Pci
from gpudoctor.facts.python_envs import PythonEnvs
from gpudoctor.judging.builds import Build, Running, engines_wanted
from gpudoctor.judging.composed import at
from gpudoctor.judging.cuda_fit import machinery
from gpudoctor.judging.workloads import Workload
from gpudoctor.matrices.versions import release, same_release, within

_LAST_SEEN_FAILING = "0.20.1"


@check()
def mig_uuid(
    host: Host | Unavailable,
    engines: Engines | Unavailable,
    python_envs: PythonEnvs | Unavailable,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    gpus: Gpus | Unavailable,
    driver: Driver | Unavailable,
    pci: Pci | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Look for MIG slices in CUDA_VISIBLE_DEVICES, and in what containers are given."""
    here = machinery(gpus, driver, pci, host, target)
    builds = engines_wanted(target, python_envs, engines, here, Running(compose, containers))
    value = host.environment.get("CUDA_VISIBLE_DEVICES", "") if isinstance(host, Host) else ""
    slices = _slices(value)
    seen = saw("MIG slices in CUDA_VISIBLE_DEVICES", len(slices), "environment")
    if isinstance(host, Unavailable):
        yield skipped("host", "the environment is not known: {reason}", reason=host.reason)
    elif not slices:
        yield skipped("host", "CUDA_VISIBLE_DEVICES names no MIG slice")
    elif len(slices) > 1:
        yield failed("host", "CUDA_VISIBLE_DEVICES names {count} MIG slices: a process gets the first alone",
                     count=len(slices), evidence=seen, fix=(
                         step("Start one engine for each slice.", "export CUDA_VISIBLE_DEVICES={first}",
                              first=slices[0]),))
    for build in builds if slices else ():
        if build.workload is not None:
            continue
        if build.engine == "vllm":
            yield _vllm(build)
        elif len(slices) == 1:
            yield passed(build.subject, "one MIG slice was given to {label}", label=build.label, evidence=seen)
    if len(slices) == 1 and not any(build.workload is None for build in builds):
        yield passed("host", "CUDA_VISIBLE_DEVICES names one MIG slice", evidence=seen)
    for build in builds:
        if build.workload is not None:
            place = build.workload.place
            for each in _container(build, build.workload):
                yield at(place, each) if place is not None else each


def _slices(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip().startswith("MIG-"))


def _container(build: Build, workload: Workload) -> Iterator[Finding]:
    given, named = workload.slices, _slices(workload.variable("CUDA_VISIBLE_DEVICES") or "")
    if not given and not named:
        yield skipped(build.subject, "is given no MIG slice by name")
        return
    count = max(len(given), len(named))
    seen = saw("MIG slices", given or named, build.subject)
    if named and build.engine == "vllm":
        yield _vllm(build)
    if count > 1:
        asked = workload.asked
        spread = asked is not None and ((asked.settings.tensor_parallel or 1) > 1)
        say = failed if spread else warned
        yield say(build.subject, "{label} is given {count} MIG slices: CUDA shows one process the first alone",
                  label=build.label, count=count, evidence=seen,
                  fix=step("Start one container for each slice, without tensor parallelism."))
    elif not named or build.engine != "vllm":
        yield passed(build.subject, "one MIG slice was given to {label}", label=build.label, evidence=seen)


def _vllm(build: Build) -> Finding:
    version = build.version or ""
    old = release(version) is not None and (
        within(version, None, _LAST_SEEN_FAILING) or same_release(version, _LAST_SEEN_FAILING))
    fix = step("Give the slice to a container, where it is number 0; put the slice's own UUID in place of MIG-UUID.",
               "docker run --gpus device=MIG-UUID vllm/vllm-openai:v{version}", version=version)
    seen = saw("release", build.version, build.where)
    if build.version is None:
        return skipped(build.subject, "which release of {engine} is in {image} is not known: its tag names none",
                       engine=build.engine, image=build.label)
    if old:
        return failed(build.subject, "{label} cannot read a MIG UUID in CUDA_VISIBLE_DEVICES", label=build.label,
                      evidence=seen, fix=fix)
    return warned(build.subject, "vLLM up to {last} could not read a MIG UUID in CUDA_VISIBLE_DEVICES; whether {label} "
                  "can is not recorded", last=_LAST_SEEN_FAILING, label=build.label, evidence=seen, fix=fix)
