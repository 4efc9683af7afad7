"""A path by which GPUs should reach containers was tried, and no usable GPU arrived.

## Why it matters
`--gpus`, `runtime: nvidia` and CDI are three mechanisms. One can work while another fails on the same machine with the
same image, and an engine that finds no GPU often goes on with the CPU without a word. Reading the configuration
predicts; a container that was started proves. The proof has grades: files that were handed over are not yet NVML,
and NVML is not yet CUDA.

What is started is a program of 7 kB that gpudoctor brings along, without network, capabilities or a writable root. It
needs neither a shell nor Python, so that any image will do: it opens the device files, and with the image's own glibc
it starts NVML and CUDA, and writes and reads memory on each GPU. NVIDIA's libraries need glibc; an image that has musl
(Alpine) or no C library shows which files arrive, and no more is claimed.

## How to fix
Ask by the path that works, then repair the other. Device files and library are there but opening them is "Operation
not permitted": the container's device rules do not list the GPUs, look at `no-cgroups` in the toolkit's config.toml,
and prefer CDI. "Permission denied": the image's user may not open the files. The toolkit refuses: its text says why.
A CDI specification that names missing files is of an older driver: write it anew.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
- https://github.com/NVIDIA/nvidia-container-toolkit/issues/381
- https://docs.docker.com/engine/containers/gpu/
"""

from collections.abc import Iterator

from gpudoctor.checking import (
    Evidence,
    Finding,
    Step,
    Target,
    check,
    failed,
    noted,
    passed,
    saw,
    skipped,
    step,
    unknown,
    warned,
)
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose
from gpudoctor.facts.container_toolkit import ContainerToolkit
from gpudoctor.facts.docker import Containers, Docker
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.live import Live, LivePath
from gpudoctor.judging.docker_remedies import install_toolkit, register_runtime, restart_docker
from gpudoctor.judging.live_paths import Verdict, evidence, verdict
from gpudoctor.judging.live_remedies import remedies
from gpudoctor.judging.path_users import users


@check(gatekeeper_of="live")
def gpu_path_broken(
    live: Live | Unavailable,
    gpus: Gpus | Unavailable,
    docker: Docker | Unavailable,
    containers: Containers | Unavailable,
    compose: Compose | Unavailable,
    container_toolkit: ContainerToolkit | Unavailable,
    host: Host | Unavailable,
    target: Target,
) -> Iterator[Finding]:
    """Judge each path that was tried, with what the others showed."""
    if isinstance(live, Unavailable):
        yield _not_tried(live, target)
        return
    judged = [(tried, verdict(tried, gpus)) for tried in live.paths]
    if judged and all(found.cause == "not-offered" for _, found in judged):
        yield _none(live, judged, docker, host)
        return
    working = next(((tried.path, found) for tried, found in judged if found.works), None)
    for tried, found in judged:
        fix = remedies(tried.path, found, working[0] if working else None, docker, container_toolkit)
        yield _judge(live, tried, found, working, users(tried.path, docker, containers, compose, container_toolkit),
                     fix)


def _not_tried(live: Unavailable, target: Target) -> Finding:
    if live.kind == "not-asked" and not target.live:
        return skipped("host", "asked for with --live")
    if live.harmless and live.kind != "not-asked":
        return skipped("host", "nothing to try: {reason}", reason=live.reason)
    return unknown("host", "no path could be tried: {reason}", reason=live.reason,
                   fix=step("Name an image that is on this machine.", "gpudoctor check --live --probe-image IMAGE"))


def _none(
    live: Live, judged: list[tuple[LivePath, Verdict]], docker: Docker | Unavailable, host: Host | Unavailable
) -> Finding:
    seen = [saw(tried.path, found.said, "engine") for tried, found in judged]
    return failed("host", "the engine hands over no GPU: neither --gpus nor runtime: nvidia nor CDI is there",
                  evidence=(saw("image", live.image, "engine"), *seen),
                  fix=(*install_toolkit(host), *register_runtime(host), restart_docker(docker)))


def _judge(
    live: Live, tried: LivePath, found: Verdict, working: tuple[str, Verdict] | None, used_by: tuple[str, ...],
    fix: tuple[Step, ...],
) -> Finding:
    seen = evidence(live, tried)
    path, count, said = tried.path, found.listed, found.said
    if found.cause == "works":
        return passed("host", "{path}: {count} GPUs arrive; NVML, CUDA and memory that was written and read prove it",
                      path=path, count=count, evidence=seen)
    if found.cause == "nvml-only":
        return noted("host", "{path}: NVML lists {count} GPUs in the container; that CUDA works there is not proved: "
                     "{said}", path=path, count=count, said=said, evidence=seen)
    if found.cause == "injected-only":
        return noted("host", "{path}: device files and library arrive in the container; whether they work is not "
                     "proved: {said}", path=path, said=said, evidence=seen,
                     fix=step("Try an image with glibc, as those of Debian, Ubuntu and Red Hat have it.",
                              "gpudoctor check --live --probe-image IMAGE"))
    if found.cause == "not-offered" and not used_by:
        return skipped("host", "{path}: the engine has no such path: {said}", path=path, said=said, evidence=seen)
    if found.cause in ("not-ended", "refused"):
        return unknown("host", "{path} could not be tried to the end: {said}", path=path, said=said, evidence=seen)
    return _problem(tried, found, working, used_by, live.image, seen, fix)


def _problem(
    tried: LivePath, found: Verdict, working: tuple[str, Verdict] | None, used_by: tuple[str, ...], image: str,
    seen: tuple[Evidence, ...], fix: tuple[Step, ...],
) -> Finding:
    # What a service takes, or what nothing replaces, is a failure; a path that nobody takes is a matter for later.
    say = failed if used_by or working is None else warned
    path, said, cause = tried.path, found.said, found.cause
    others = f"{working[0]} hands over {working[1].listed}" if working else "no path works"
    taken = f"taken by {', '.join(used_by)}" if used_by else "nothing here takes it"
    if cause == "cgroup":
        return say("host", "{path}: \"{said}\": device files and library arrive in the container, but its device rules "
                   "forbid to open them ({others}; {taken})", path=path, said=said, others=others, taken=taken,
                   evidence=seen, fix=fix)
    if cause == "mode":
        return say("host", "{path}: \"{said}\": device files arrive in the container, but its user may not open them "
                   "({others}; {taken})", path=path, said=said, others=others, taken=taken, evidence=seen, fix=fix)
    if cause == "hook":
        return say("host", "{path}: the container toolkit refuses: {said} ({others}; {taken})", path=path, said=said,
                   others=others, taken=taken, evidence=seen, fix=fix)
    if cause == "spec":
        return say("host", "{path}: the CDI specification names {said}, which is not there ({others}; {taken})",
                   path=path, said=said, others=others, taken=taken, evidence=seen, fix=fix)
    if cause == "not-offered":
        return say("host", "{path}: the engine has no such path: {said} ({others}; {taken})", path=path, said=said,
                   others=others, taken=taken, evidence=seen, fix=fix)
    if cause == "nothing-injected":
        return say("host", "{path}: the container starts, but neither device files nor the driver's library are in it "
                   "({others}; {taken})", path=path, others=others, taken=taken, evidence=seen, fix=fix)
    if cause == "no-nodes":
        return say("host", "{path}: \"{said}\": the driver's library arrives in the container, but no GPU's device "
                   "file ({others}; {taken})", path=path, said=said, others=others, taken=taken, evidence=seen, fix=fix)
    if cause == "library":
        return say("host", "{path}: \"{said}\": the library in the container is not of the loaded driver's version "
                   "({others}; {taken})", path=path, said=said, others=others, taken=taken, evidence=seen, fix=fix)
    if cause == "fewer":
        return say("host", "{path}: {count} GPUs arrive in the container, not those asked for: {said} ({others}; "
                   "{taken})", path=path, count=found.listed, said=said, others=others, taken=taken, evidence=seen,
                   fix=fix)
    if cause == "bytes":
        return failed("host", "{path}: a GPU returned other bytes than were written to it: {said}", path=path,
                      said=said, evidence=seen, fix=fix)
    if cause == "cuda":
        return say("host", "{path}: NVML lists {count} GPUs in the container, but CUDA does not work there: {said} "
                   "({others}; {taken})", path=path, count=found.listed, said=said, others=others, taken=taken,
                   evidence=seen, fix=fix)
    if cause == "crashed":
        return say("host", "{path}: the driver's library crashes in {image} ({said}; {others}; {taken})", path=path,
                   image=image, said=said, others=others, taken=taken, evidence=seen, fix=fix)
    return say("host", "{path}: NVML does not start in the container: \"{said}\" ({others}; {taken})", path=path,
               said=said, others=others, taken=taken, evidence=seen, fix=fix)
