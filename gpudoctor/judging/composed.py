"""What a composed service will run and see: its engine, the GPUs handed to it, and those that CUDA shows it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from gpudoctor.checking.finding import Finding, Location
from gpudoctor.facts.amd import Amd
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, GpuRequest, Place, Service
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.fit.compose_service import Service as Asked
from gpudoctor.fit.compose_service import asked_of, engine_of
from gpudoctor.fit.model import Unusable

#: Images whose maker sets NVIDIA_VISIBLE_DEVICES=all, as NVIDIA's CUDA images do.
_SET_ALL = ("vllm/vllm-openai", "ollama/ollama", "lmsysorg/sglang", "text-generation-inference", "nvidia/cuda",
            "nvcr.io/", "ggml-org/llama.cpp", "ggerganov/llama.cpp", "pytorch/pytorch")
#: Docker's official images of systems and languages: none sets it.
_PLAIN = re.compile(r"(?:docker\.io/)?(?:library/)?(?:python|debian|ubuntu|alpine|busybox|node)(?:[:@]|$)")
_AMD_IMAGE = re.compile(r"rocm")
_CPU_IMAGE = re.compile(r"(?:^|[-/:_.])(?:cpu|openvino|xpu|vulkan|intel|musa|cann|tpu|hpu|gaudi|neuron)(?:$|[-:_.0-9])")
#: Engines that compute on the processor, slowly, when they find no GPU.
FALLS_TO_CPU = ("ollama", "llama.cpp")
ALL = -1


def at(place: Place, finding: Finding) -> Finding:
    """Return the finding with the place in the file that it points to."""
    return msgspec.structs.replace(finding, location=Location(place.file, place.line, place.column))


def engine(service: Service) -> str | None:
    """Return the engine that a service runs, None when it is none that gpudoctor knows."""
    return engine_of(service.image or "", service.command)


def asked(service: Service) -> Asked | None:
    """Return model, flags and GPUs of a service as fit reads them, None when that is not possible."""
    try:
        return asked_of(service)
    except Unusable:
        return None


def vendor(service: Service) -> str | None:
    """Return whose GPUs the image is made for: ``nvidia`` or ``amd``, None for the processor or another's."""
    image = (service.image or "").lower()
    if _AMD_IMAGE.search(image):
        return "amd"
    # llama.cpp's plain server image has no CUDA in it.
    plain = "llama.cpp" in image and "cuda" not in image
    return None if _CPU_IMAGE.search(image) or plain else "nvidia"


def engine_services(compose: Compose) -> tuple[tuple[Service, str], ...]:
    """Return the services that run a known engine, each with its engine."""
    return tuple((each, name) for each in compose.services if (name := engine(each)) is not None)


def value(service: Service, name: str) -> str | None:
    """Return a variable's value, None when the service does not set it."""
    variable = service.variable(name)
    return variable.value if variable is not None else None


def image_sets_all(service: Service) -> bool | None:
    """Tell whether the image itself asks NVIDIA's runtime for all GPUs; None when the image is not known."""
    image = service.image or ""
    if _PLAIN.match(image):
        return False
    return True if any(part in image for part in _SET_ALL) else None


def nvidia_requests(service: Service) -> list[GpuRequest]:
    """Return the requests that name NVIDIA's GPUs; those of device files and of Swarm do not."""
    return [each for each in service.requests if each.form not in ("device", "swarm") and each.driver != "amd"
            and not any(name.startswith("amd.com/") for name in each.device_ids)]


class Given(NamedTuple):
    """The GPUs of one service.

    ``handed`` are the host's indices that enter the container, ``number`` how many; None when that is not known.
    ``missing`` are names asked for that the machine lacks, with the request. ``used`` are the handed ones that CUDA
    shows after CUDA_VISIBLE_DEVICES.
    """

    handed: tuple[int, ...] | None
    number: int | None
    used: tuple[int, ...] | None
    missing: tuple[tuple[str, GpuRequest], ...] = ()


def given(service: Service, gpus: Gpus | Unavailable) -> Given:
    """Return what a service's requests hand to it on a machine with these GPUs."""
    here = gpus.gpus if isinstance(gpus, Gpus) else ()
    known = isinstance(gpus, Gpus) and gpus.error_code is None
    found: list[int] | None = []
    number: int | None = 0
    missing: list[tuple[str, GpuRequest]] = []
    wanted = nvidia_requests(service)
    for request in wanted:
        names = tuple(part for each in request.device_ids for part in (each.partition("=")[2] or each).split(","))
        if request.form == "runtime" and any(each.form in ("deploy", "gpus", "cdi") for each in wanted):
            continue
        if not names and request.form == "runtime" and image_sets_all(service) is None:
            found = number = None
            break
        if any(name in ("none", "void") for name in names) and request.form == "runtime":
            continue
        if "all" in names or (not names and request.count in (None, ALL)):
            found, number = ([gpu.index for gpu in here], len(here)) if known else (None, None)
            break
        if not names:
            count = request.count or 0
            number = None if number is None else number + count
            # The engine hands out the first ones.
            new = [gpu.index for gpu in here[:count]] if known else list(range(count))
            found = None if found is None else found + [n for n in new if n not in found]
            continue
        number = None if number is None else number + len(names)
        for name in names:
            gpu = _named(name, here)
            if gpu is not None:
                if found is not None and gpu.index not in found:
                    found.append(gpu.index)
            elif name.isascii() and name.isdigit() and not known:
                if found is not None:
                    found.append(int(name[:6]))
            elif known and _tellable(name, here):
                missing.append((name, request))
            else:
                found = None
    if not wanted:
        found, number = ([], 0)
    handed = tuple(found) if found is not None else None
    return Given(handed, number, _used(service, handed), tuple(missing))


def _named(name: str, here: Sequence[Gpu]) -> Gpu | None:
    if name.isascii() and name.isdigit():
        return next((gpu for gpu in here if gpu.index == int(name[:6])), None)
    told = (gpu for gpu in here if isinstance(gpu.uuid, str) and len(name) > 4 and gpu.uuid.startswith(name))
    return next(told, None)


def _tellable(name: str, here: Sequence[Gpu]) -> bool:
    if name.isascii() and name.isdigit():
        return True
    # Redacted and named machines have no UUIDs to compare with.
    return name.startswith("GPU-") and bool(here) and all(
        isinstance(gpu.uuid, str) and gpu.uuid.startswith("GPU-") for gpu in here)


def _used(service: Service, handed: tuple[int, ...] | None) -> tuple[int, ...] | None:
    text = value(service, "CUDA_VISIBLE_DEVICES")
    if text is None or handed is None:
        return handed
    used: list[int] = []
    for entry in text.split(","):
        entry = entry.strip()
        if not (entry.isascii() and entry.isdigit()):
            return handed if entry.startswith(("GPU-", "MIG-")) else tuple(used)
        if int(entry[:6]) >= len(handed):
            break
        used.append(handed[int(entry[:6])])
    return tuple(used)


def radeons(service: Service, amd: Amd | Unavailable) -> tuple[int, ...] | None:
    """Return AMD's GPUs that a service sees, counted from 0; None when that is not known, empty without device files.

    /dev/kfd lets it see all whose /dev/dri files it has; HIP_VISIBLE_DEVICES and its like choose among them.
    """
    files = [name for each in service.requests if each.form == "device" for name in each.device_ids]
    if not any(name.startswith("/dev/kfd") for name in files) and not service.privileged:
        return ()
    whole = service.privileged or "/dev/dri" in files
    if not isinstance(amd, Amd) or not whole:
        return None
    found = tuple(range(len(amd.gpus)))
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        text = value(service, name)
        if text is not None:
            parts = [part.strip() for part in text.split(",")]
            if not all(part.isascii() and part.isdigit() and int(part[:6]) < len(found) for part in parts):
                return None
            found = tuple(found[int(part[:6])] for part in parts)
    return found


def group_size(question: Asked, have: int | None = None) -> int:
    """Return how many GPUs the engine's flags spread a model over; TGI takes all that it sees unless told."""
    if question.settings.engine == "tgi" and question.settings.tensor_parallel is None:
        return have or 1
    return (question.settings.tensor_parallel or 1) * (question.settings.pipeline_parallel or 1)
