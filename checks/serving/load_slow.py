"""Every restart of a model waits minutes for its disk.

## Why it matters
At a start the engine reads the whole model. Expected: size ÷ reading speed of the disk's class (the table of
`gpudoctor explain host.disk-slow`). With `gpudoctor serving --measure-load` the disk itself is read for a few seconds,
past the file cache, and the measured speed is used: a class says nothing of a volume on a busy file server.

A second start may come from the file cache, when the host's memory holds the whole file.

## How to fix
Keep the models in use on an NVMe drive; the finding says what that would give.

## References
- https://docs.kernel.org/block/queue-sysfs.html
- https://docs.ollama.com/faq
- https://man7.org/linux/man-pages/man2/open.2.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.serving import ModelRead, ServedModel, Serving
from gpudoctor.facts.storage import Storage, Volume
from gpudoctor.judging.served import file_bytes

_SPEEDS = {"hdd": "hdd_bytes_per_second", "network": "network_bytes_per_second", "ssd": "ssd_bytes_per_second",
           "nvme": "nvme_bytes_per_second"}
_STORE = {"ollama": "ollama-models", "vllm": "huggingface-cache", "sglang": "huggingface-cache",
          "tgi": "huggingface-cache"}


@check()
def load_slow(serving: Serving, storage: Storage | Unavailable, policy: Policy) -> Iterator[Finding]:
    """Judge measured files, and the expected load of each loaded model whose size and store are known."""
    for each in serving.reads:
        yield _measured(each, serving, policy)
    volumes = storage.volumes if isinstance(storage, Storage) else ()
    measured = {_under(each.path, volumes) for each in serving.reads if each.failure is None}
    judged = False
    for endpoint in serving.answering:
        stores = {v.mount_point: v for v in volumes if v.purpose == _STORE.get(endpoint.engine or "")}
        # In a container the store is a volume of its own, which is not known here.
        if not endpoint.local or endpoint.container is not None or len(stores) != 1:
            continue
        volume = next(iter(stores.values()))
        for model in endpoint.loaded:
            size = file_bytes(endpoint, model)
            if size and volume.mount_point not in measured and volume.device_class in _SPEEDS:
                judged = True
                yield _expected(model, size, volume, policy)
    if not judged and not serving.reads:
        yield skipped("host", "where the loaded models lie is not known; --measure-load reads their store")


def _under(path: str, volumes: tuple[Volume, ...]) -> str | None:
    holding = [v for v in volumes if path.startswith(v.path)]
    return max(holding, key=lambda v: len(v.path)).mount_point if holding else None


def _measured(read: ModelRead, serving: Serving, policy: Policy) -> Finding:
    subject = f"file:{read.path}"
    if read.failure is not None or read.seconds <= 0 or not read.read_bytes:
        return unknown(subject, "the reading speed could not be measured: {failure}",
                       failure=read.failure or "nothing was read")
    speed = read.read_bytes / read.seconds
    size = max([read.file_bytes, *(file_bytes(e, m) or 0 for e in serving.answering for m in e.loaded if e.local)])
    seconds, nvme = size / speed, size / policy["nvme_bytes_per_second"]
    seen = (saw("read bytes", read.read_bytes, read.path), saw("in seconds", read.seconds, read.method),
            saw("speed, MB per second", round(speed / 1e6), read.method),
            saw("in the file cache already", None if read.cached_share is None else f"{read.cached_share:.0%}",
                "mincore"))
    if seconds > policy["load_seconds_warn"]:
        return warned(
            subject,
            "its disk gives {speed:bytes} a second: {size:bytes} take {seconds:seconds} at every start; NVMe would "
            "take {nvme:seconds}",
            speed=speed, size=size, seconds=seconds, nvme=nvme, evidence=seen, fix=_move(),
        )  # fmt: skip
    return passed(subject, "its disk gives {speed:bytes} a second: {size:bytes} take {seconds:seconds} at a start",
                  speed=speed, size=size, seconds=seconds, evidence=seen)


def _expected(model: ServedModel, size: int, volume: Volume, policy: Policy) -> Finding:
    seconds = size / policy[_SPEEDS[volume.device_class]]
    nvme = size / policy["nvme_bytes_per_second"]
    seen = (saw("to read bytes", size, "the engine, or fit's catalogue"),
            saw("device class", volume.device_class, "/sys/class/block"),
            saw("store", volume.path, volume.file_system))
    subject = f"model:{model.name}"
    if seconds > policy["load_seconds_warn"]:
        return noted(
            subject,
            "{size:bytes} from a disk of class {device_class} take about {seconds:seconds} at every start; NVMe would "
            "take about {nvme:seconds}",
            size=size, device_class=volume.device_class, seconds=seconds, nvme=nvme, evidence=seen,
            fix=(step("Measure it.", "gpudoctor serving --measure-load"), *_move()),
        )  # fmt: skip
    return passed(subject, "{size:bytes} from {device_class} take about {seconds:seconds} at a start", size=size,
                  device_class=volume.device_class, seconds=seconds, evidence=seen)


def _move() -> tuple[Step, ...]:
    return (step("Keep the models in use on an NVMe drive (OLLAMA_MODELS, HF_HOME), and keep them loaded: "
                 "OLLAMA_KEEP_ALIVE=-1."),)
