"""A service's variables choose other GPUs than it gets, or choose nothing at all.

## Why it matters
`NVIDIA_VISIBLE_DEVICES` is read outside, by NVIDIA's runtime, and decides which GPUs enter the container; next to a
device request (`deploy`, `gpus`, CDI) the request decides instead. `CUDA_VISIBLE_DEVICES` is read inside, by CUDA, and
filters what has entered, counted from 0: the container itself, `nvidia-smi` in it and everything that asks NVML still
see all GPUs, and a number of the host's hides everything when fewer have entered.

## How to fix
Choose the GPUs in the request, by `device_ids`, and take both variables out.

## References
- https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
- https://docs.docker.com/compose/how-tos/gpu-support/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.gpus import Gpus
from gpudoctor.judging.composed import at, given, image_sets_all, nvidia_requests, value

_CUDA, _NVIDIA = "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"


@check()
def gpu_scope(compose: Compose, gpus: Gpus | Unavailable) -> Iterator[Finding]:
    """Compare the variables with the service's requests."""
    for service in compose.services:
        if not nvidia_requests(service):
            yield skipped(service.subject, "asks for no NVIDIA GPU")
            continue
        findings = [*_outside(service), *_inside(service, gpus)]
        yield from findings or [passed(service.subject, "its requests alone decide which GPUs it sees",
                                       evidence=saw("requests", len(service.requests), service.place.file))]


def _request(ids: str, file: str) -> tuple[Step, ...]:
    listed = ", ".join(f"'{part.strip()}'" for part in ids.split(",") if part.strip())
    return (
        step("Write below the service, in place of runtime and the variables: deploy: {{resources: {{reservations: "
             "{{devices: [{{driver: nvidia, device_ids: [{listed}], capabilities: [gpu]}}]}}}}}}", listed=listed),
        step("Or let gpudoctor show the change.", "gpudoctor compose fix {file}", file=file),
    )


def _outside(service: Service) -> Iterator[Finding]:
    chosen, variable = value(service, _NVIDIA), service.variable(_NVIDIA)
    place = variable.place if variable is not None else service.place_of("runtime")
    others = [each for each in service.requests if each.form in ("deploy", "gpus", "cdi")]
    by_runtime = any(each.form == "runtime" for each in service.requests)
    seen = saw(_NVIDIA, chosen, place.file)
    if others and chosen is not None and chosen != "":
        ids = {each.rpartition("=")[2] for request in others for each in request.device_ids}
        same = {part.strip() for part in chosen.split(",")} == (ids or {"all"})
        if not same:
            yield at(place, warned(
                service.subject, "NVIDIA_VISIBLE_DEVICES={chosen} does nothing here: the device request decides which "
                "GPUs enter", chosen=chosen, evidence=seen,
                fix=step("Take the variable out, and choose by device_ids in the request.")))
    elif by_runtime and variable is not None and chosen in ("none", "void", ""):
        yield at(place, failed(
            service.subject, "NVIDIA_VISIBLE_DEVICES is {chosen}: NVIDIA's runtime hands over no GPU",
            chosen=chosen or "empty", evidence=seen, fix=step("Write the GPUs' numbers, or all.")))
    elif by_runtime and variable is None and not others and image_sets_all(service) is False:
        yield at(place, failed(
            service.subject, "runtime: nvidia hands over no GPU while NVIDIA_VISIBLE_DEVICES is not set, and {image} "
            "does not set it", image=service.image, evidence=saw("image", service.image, place.file),
            fix=step("Set it in the service: NVIDIA_VISIBLE_DEVICES: all, or use a device request.")))
    elif by_runtime and variable is None and not others and image_sets_all(service) is None:
        yield at(place, unknown(
            service.subject, "runtime: nvidia hands over GPUs only where NVIDIA_VISIBLE_DEVICES is set, and nothing "
            "here tells whether the image sets it", evidence=saw("image", service.image, place.file),
            fix=step("Set it in the service: NVIDIA_VISIBLE_DEVICES: all, or use a device request.")))


def _inside(service: Service, gpus: Gpus | Unavailable) -> Iterator[Finding]:
    chosen, variable = value(service, _CUDA), service.variable(_CUDA)
    if chosen is None or variable is None:
        return
    place, got = variable.place, given(service, gpus)
    seen = (saw(_CUDA, chosen, place.file), saw("GPUs handed over", got.number, "the service's requests"))
    entries = [part.strip() for part in chosen.split(",")]
    numbers = [int(part[:6]) for part in entries if part.isascii() and part.isdigit()]
    if entries[0] in ("", "-1", "NoDevFiles"):
        yield at(place, failed(service.subject, "CUDA_VISIBLE_DEVICES is {chosen}: CUDA sees no GPU in the container",
                               chosen=chosen or "empty", evidence=seen, fix=step("Take the variable out.")))
        return
    if not numbers or len(numbers) < len(entries):
        return
    if got.number is not None and got.number > 0 and max(numbers) >= got.number:
        wrong = next(number for number in numbers if number >= got.number)
        before = numbers.index(wrong)
        if before:
            yield at(place, warned(
                service.subject, "CUDA_VISIBLE_DEVICES={chosen} names GPU {wrong}, and inside they are counted 0 to "
                "{last}: only {before} of {count} is used", chosen=chosen, wrong=wrong, last=got.number - 1,
                before=before, count=got.number, evidence=seen,
                fix=step("Take the variable out: the request already chooses.")))
        else:
            yield at(place, failed(
                service.subject, "CUDA_VISIBLE_DEVICES={chosen} names GPU {wrong} of the host, and inside they are "
                "counted 0 to {last}: CUDA sees no GPU", chosen=chosen, wrong=wrong, last=got.number - 1, evidence=seen,
                fix=step("Take the variable out: the request already chooses.")))
        return
    everything = all(not r.device_ids or "all" in r.device_ids for r in service.requests if r.form != "device") and all(
        r.count in (None, -1) for r in service.requests)
    if everything and any(each.form == "runtime" for each in service.requests):
        yield at(place, warned(
            service.subject, "runtime: nvidia hands all GPUs to the container: CUDA_VISIBLE_DEVICES={chosen} only "
            "hides the others from CUDA inside it", chosen=chosen, evidence=seen, fix=_request(chosen, place.file)))
    elif everything and got.number != len(numbers):
        yield at(place, noted(
            service.subject, "all GPUs enter the container; CUDA_VISIBLE_DEVICES={chosen} hides the others from CUDA "
            "only", chosen=chosen, evidence=seen, fix=_request(chosen, place.file)))
