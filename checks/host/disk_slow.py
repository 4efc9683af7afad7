"""Models lie on a hard disk or a file server, so that every start waits for it.

## Why it matters
At each start an engine reads the whole model. The formula is size ÷ reading speed of the device's class:

| class | speed taken | 40 GB (a 70B model at 4 bits) |
|---|---|---|
| NVMe | 3 GB/s (PCIe 3.0 x4) | 13 s |
| SATA SSD | 550 MB/s | 73 s |
| hard disk | 200 MB/s | 3.3 min |
| 1 Gb/s network | 118 MB/s | 5.6 min |

Nothing is measured here; the class is the kernel's word (`rotational`, the driver, the file system's kind). In a
virtual machine the class of a virtual disk is not known and not judged. A second start may come from the file cache.

## How to fix
Keep the models in use on an NVMe drive, and the file server or hard disk for the rest.

## References
- https://docs.kernel.org/block/queue-sysfs.html
- https://docs.ollama.com/faq
- https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, noted, passed, saw, skipped, step, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.storage import Storage, Volume

SPEEDS = {
    "hdd": "hdd_bytes_per_second",
    "network": "network_bytes_per_second",
    "ssd": "ssd_bytes_per_second",
    "nvme": "nvme_bytes_per_second",
}
STORES = ("ollama-models", "huggingface-cache", "models")


@check()
def disk_slow(storage: Storage, policy: Policy) -> Iterator[Finding]:
    """Judge the device class of each model store, one finding for each file system."""
    stores: dict[str, list[Volume]] = {}
    for volume in storage.volumes:
        if volume.purpose in STORES:
            stores.setdefault(volume.mount_point or volume.path, []).append(volume)
    if not stores:
        yield skipped("host", "no model store was found yet")
    for mount_point, volumes in stores.items():
        yield _judge(mount_point, volumes, policy)


def _judge(mount_point: str, volumes: list[Volume], policy: Policy) -> Finding:
    volume = volumes[0]
    subject = f"volume:{mount_point}"
    holds = tuple(dict.fromkeys(each.purpose for each in volumes))
    paths = tuple(each.path for each in volumes)
    seen = (
        saw("device class", volume.device_class, "/sys/class/block, /proc/self/mountinfo"),
        saw("device", f"{volume.file_system} {volume.device}".strip(), "/proc/self/mountinfo"),
    )
    size = policy["load_example_bytes"]
    seconds = size / policy[SPEEDS[volume.device_class]] if volume.device_class in SPEEDS else 0.0
    if volume.device_class == "hdd":
        return warned(
            subject,
            "the models in {paths} lie on a hard disk: {size:bytes} take about {seconds:seconds} to load",
            paths=paths, size=size, seconds=seconds, evidence=seen, fix=_move(holds),
        )
    if volume.device_class == "network":
        return noted(
            subject,
            "the models in {paths} come over the network ({file_system}): over 1 Gb/s, {size:bytes} take about "
            "{seconds:seconds} to load",
            paths=paths, file_system=volume.file_system, size=size, seconds=seconds, evidence=seen, fix=_move(holds),
        )
    if volume.device_class == "memory":
        return noted(subject, "the models in {paths} lie in main memory and are gone after a reboot", paths=paths,
                     evidence=seen)
    if volume.device_class in SPEEDS:
        return passed(subject, "{paths} on {device_class}: {size:bytes} take about {seconds:seconds} to load",
                      paths=paths, device_class=volume.device_class, size=size, seconds=seconds, evidence=seen)
    return skipped(subject, "the kind of disk under {paths} is not known (virtual, or not a disk)", paths=paths,
                   evidence=seen)


def _move(holds: tuple[str, ...]) -> tuple[Step, ...]:
    steps = [step("Keep the models in use on an NVMe drive of this machine; NVMe reads 40 GB in about 15 s.")]
    if "ollama-models" in holds:
        steps.append(step("Ollama: copy the store there, then set OLLAMA_MODELS=/that/path for its service.",
                          "sudo systemctl edit ollama.service", risk="restart the service afterwards"))
    if "huggingface-cache" in holds:
        steps.append(step("vLLM, SGLang, transformers: copy the cache there, then set HF_HOME=/that/path."))
    return tuple(steps)
