"""A volume that holds models, images or temporary files is nearly full, out of inodes, or read-only.

## Why it matters
A pull that runs out of room fails after an hour and may leave Docker unable to start. Engines write compile caches and
sockets to /tmp and to the home directory as well. One volume for the system, Docker and the models takes all three
down together.

The rule: below a tenth or 500 MB free is a warning (gpud's limits), below 50 MB (ours) a failure, likewise for inodes
(5 %, ours; btrfs, ZFS and network file systems have no fixed number). A read-only root is normal on image-based
systems and not judged; a read-only model store on a file server is often meant so, and only noted.

## How to fix
Remove models and images nobody uses (`ollama rm`, `hf cache rm`, `docker image prune`), or move the store to a larger
volume (`OLLAMA_MODELS`, `HF_HOME`, Docker's `data-root`).

## References
- https://github.com/leptonai/gpud
- https://docs.docker.com/engine/daemon/
- https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from collections.abc import Iterator
from typing import Any

from gpudoctor.checking import Finding, Policy, check, failed, known, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Evidence, Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.storage import Storage, Volume

SOURCE = "statvfs"
STORES = ("docker", "ollama-models", "huggingface-cache", "models")


@check(gatekeeper_of="storage")
def disk_short(storage: Storage | Unavailable, policy: Policy) -> Iterator[Finding]:
    """Judge each file system once, however many of the paths lie on it."""
    if isinstance(storage, Unavailable):
        said = skipped if storage.harmless else unknown
        yield said("host", "the volumes could not be read: {reason}", reason=storage.reason)
        return
    mounts: dict[tuple[str, str], list[Volume]] = {}
    for volume in storage.volumes:
        mounts.setdefault((volume.mount_point or volume.path, volume.failure or ""), []).append(volume)
    for (mount_point, _), volumes in mounts.items():
        yield _judge(mount_point, volumes, policy)
    if not mounts:
        yield skipped("host", "no volume of interest was found")


def _judge(mount_point: str, volumes: list[Volume], policy: Policy) -> Finding:
    volume = volumes[0]
    subject = f"volume:{mount_point}"
    holds = tuple(dict.fromkeys(each.purpose for each in volumes))
    if volume.failure is not None:
        return unknown(
            subject,
            "{mount_point} ({holds}) could not be measured: {failure}",
            mount_point=mount_point, holds=holds, failure=volume.failure, device=volume.device,
            evidence=saw("file system", f"{volume.file_system} {volume.device}".strip(), "/proc/self/mountinfo"),
            fix=step("Check that its server answers; every program that touches it waits for it.",
                     "findmnt --target {path}", path=mount_point),
        )
    if volume.read_only:
        return _read_only(subject, mount_point, holds, volume)
    if isinstance(volume.free_bytes, Unavailable) or isinstance(volume.total_bytes, Unavailable):
        gap = volume.free_bytes if isinstance(volume.free_bytes, Unavailable) else volume.total_bytes
        reason = gap.reason if isinstance(gap, Unavailable) else ""
        said = skipped if isinstance(gap, Unavailable) and gap.harmless else unknown
        return said(subject, "the room on {mount_point} is not known: {reason}", mount_point=mount_point, reason=reason)
    return _room(subject, mount_point, holds, volume, volume.free_bytes, volume.total_bytes, policy)


def _room(
    subject: str, mount_point: str, holds: tuple[str, ...], volume: Volume, free: int, total: int, policy: Policy
) -> Finding:
    if total == 0:
        return skipped(subject, "{mount_point} tells no size (an automatic mount, or an object store)",
                       mount_point=mount_point)
    share = free / total
    inodes, all_inodes = known(volume.inodes_free), known(volume.inodes_total)
    values: dict[str, Any] = {"mount_point": mount_point, "holds": holds, "free": free, "total": total}
    seen = _evidence(volume, free, total, inodes)
    if free < min(policy["disk_full_bytes"], total / 100):
        return failed(subject, "{mount_point} ({holds}) is full: {free:bytes} of {total:bytes} are free", **values,
                      evidence=seen, fix=_make_room(mount_point, holds))
    if inodes == 0:
        return failed(subject, "{mount_point} ({holds}) has no inode left: no file can be made on it", **values,
                      evidence=seen, fix=_make_room(mount_point, holds))
    if share < policy["disk_free_share_warn"] or (free < policy["disk_free_bytes_warn"] and total > 10 * free):
        return warned(subject, "{mount_point} ({holds}) has {free:bytes} of {total:bytes} free", **values,
                      evidence=seen, fix=_make_room(mount_point, holds))
    if inodes is not None and all_inodes and inodes / all_inodes < policy["inodes_free_share_warn"]:
        return warned(subject, "{mount_point} ({holds}) has {inodes} of {all_inodes} inodes free", **values,
                      inodes=inodes, all_inodes=all_inodes, evidence=seen, fix=_make_room(mount_point, holds))
    return passed(subject, "{mount_point} ({holds}) has {free:bytes} of {total:bytes} free", **values, evidence=seen)


def _evidence(volume: Volume, free: int, total: int, inodes: int | None) -> tuple[Evidence, ...]:
    return (
        saw("file system", f"{volume.file_system} {volume.device}".strip(), "/proc/self/mountinfo"),
        saw("free bytes", free, SOURCE),
        saw("total bytes", total, SOURCE),
        saw("free inodes", inodes, SOURCE),
    )


def _read_only(subject: str, mount_point: str, holds: tuple[str, ...], volume: Volume) -> Finding:
    seen = saw("mounted", "read-only", "/proc/self/mountinfo")
    stores = tuple(name for name in holds if name in STORES)
    if not stores:
        return skipped(subject, "{mount_point} is read-only, as on image-based systems", mount_point=mount_point,
                       evidence=seen)
    if volume.device_class == "network":
        return noted(subject, "{mount_point} ({stores}) is mounted read-only: models are served from it, not pulled",
                     mount_point=mount_point, stores=stores, evidence=seen)
    return warned(
        subject,
        "{mount_point} ({stores}) is mounted read-only: nothing can be pulled into it",
        mount_point=mount_point,
        stores=stores,
        evidence=seen,
        fix=(
            step("A local file system turns read-only after errors: look for them.",
                 "sudo dmesg | grep -iE 'remount|i/o error|ext4-fs error|xfs'"),
            step("Repair it, then mount it for writing.", "sudo mount -o remount,rw {mount_point}"),
        ),
    )


def _make_room(mount_point: str, holds: tuple[str, ...]) -> tuple[Step, ...]:
    steps = [step("See what takes the room.", "sudo du -xh --max-depth=2 {mount_point} | sort -rh | head -20")]
    if "docker" in holds:
        steps.append(step("Remove images and build caches that no container uses.", "docker system prune --all",
                          risk="images have to be pulled again"))
    if "ollama-models" in holds:
        steps.append(step("Remove models nobody uses; this lists them.", "ollama list"))
    if "huggingface-cache" in holds:
        steps.append(step("Remove models nobody uses; this lists them.", "hf cache ls"))
    if mount_point == "/" and any(name in STORES for name in holds):
        steps.append(step("Better: give the models or Docker a volume of their own; then the system never fills up."))
    return tuple(steps)
