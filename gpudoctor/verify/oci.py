"""OCI layout folders: the same as a saved image, unpacked."""

import os

from gpudoctor.verify.images import BLOB, LARGEST_JSON, Content, judge_image
from gpudoctor.verify.jobs import Expected, Plan


def add_layout(plan: Plan, folder: str) -> None:
    """Add every blob, whose name is its SHA-256, and note what the index misses."""
    members: dict[str, Content] = {}
    blobs = os.path.join(folder, "blobs", "sha256")
    try:
        names = sorted(os.listdir(blobs))
    except OSError as error:
        plan.note(blobs, "unreadable", error.strerror or str(error), kind="OCI layout")
        return
    for name in names:
        path = os.path.join(blobs, name)
        job = plan.job(path, "image blob")
        if BLOB.fullmatch(f"blobs/sha256/{name}"):
            job.expected.append(Expected("sha256", name, "its name"))
        try:
            members[f"blobs/sha256/{name}"] = Content(os.stat(path).st_size, name)
        except OSError as error:
            plan.note(path, "unreadable", error.strerror or str(error), kind="image blob")
    for name in ("index.json", "oci-layout"):
        members[name] = Content(0, "")
    verdict = judge_image(members, lambda name: _small(os.path.join(folder, name)))
    for problem in verdict.problems if verdict is not None else ():
        plan.note(os.path.join(folder, "index.json"), "broken", problem, kind="OCI layout")


def _small(path: str) -> bytes | None:
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_JSON + 1)
    except OSError:
        return None
    return data if len(data) <= LARGEST_JSON else None
