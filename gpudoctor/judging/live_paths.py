"""What a tried path proves: does the GPU arrive, and if not, which of the known causes the evidence leaves.

"Failed to initialize NVML: Unknown Error" alone proves nothing: device file, library and the errno of opening it do.
"""

import re
from typing import Literal, NamedTuple

from gpudoctor.checking.finding import Evidence, saw
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus, Mig
from gpudoctor.facts.live import Live, LivePath, Seen

Cause = Literal[
    "works",
    "nvml-only",  # NVML lists GPUs; CUDA was not tried, or could not be for want of memory
    "injected-only",  # device files and library are there, nothing in the image can ask them
    "not-offered",  # the engine has no such path
    "hook",  # the toolkit refused
    "spec",  # a CDI specification names what is not there
    "refused",  # the engine refused for another reason
    "nothing-injected",
    "no-nodes",
    "cgroup",  # nodes and library are there, and opening them is EPERM
    "mode",  # ... EACCES
    "library",  # library and module of different versions
    "nvml",  # NVML does not start for another reason
    "fewer",  # fewer or other GPUs than asked for
    "cuda",
    "bytes",  # a GPU returned other bytes than were written
    "not-ended",
    "crashed",
]
_PROVEN = ("works", "nvml-only", "injected-only")
#: CUresults that say nothing about the path: another program has the memory, or the GPU for itself.
_TAKEN = {2: "too little free memory on a GPU", 46: "another program holds a GPU for itself"}
_UNKNOWN_ERROR, _MISMATCH, _NO_DRIVER, _NO_PERMISSION = 999, 18, 9, 4
_NVML_SAYS = {
    _UNKNOWN_ERROR: "Failed to initialize NVML: Unknown Error",
    _MISMATCH: "Failed to initialize NVML: Driver/library version mismatch",
    _NO_DRIVER: "NVML: the driver is not loaded",
    _NO_PERMISSION: "Failed to initialize NVML: Insufficient Permissions",
}
_NOT_OFFERED = re.compile(
    r"could not select device driver|unknown or invalid runtime name|Unknown runtime specified|"
    r"unresolvable CDI devices|CDI is not enabled|CDI support is not enabled",
)
_MISSING_FILE = re.compile(r"\bl?stat (/[^\s\":]+): no such file or directory")
_HOOK_SAYS = re.compile(r"(nvidia-container-cli[^\n]*|nvidia-container-runtime-hook[^\n]*|invoking the NVIDIA [^\n]*)")
_STDERR = re.compile(r"running (?:prestart |createRuntime )?hook.*?stderr:\s*(.+)", re.DOTALL)


class Verdict(NamedTuple):
    """What one path proves. ``said`` quotes who refused; ``listed`` is how many GPUs NVML lists in the container."""

    cause: Cause
    said: str = ""
    listed: int | None = None

    @property
    def works(self) -> bool:
        """True when GPUs were seen, by CUDA or by NVML alone."""
        return self.cause in ("works", "nvml-only")

    @property
    def broken(self) -> bool:
        """True when the path is there and failed."""
        return self.cause not in (*_PROVEN, "not-offered", "not-ended", "refused")


def verdict(tried: LivePath, gpus: Gpus | Unavailable) -> Verdict:
    """Judge one path that was tried."""
    if tried.error is not None:
        return _refused(tried.path, tried.error)
    seen = tried.seen
    if tried.failure is not None and seen.inside is None and not seen.nodes:
        return Verdict("not-ended", tried.failure)
    count = seen.listed
    if count is None:
        return _without_nvml(seen, tried.failure)
    expected = _expected(tried, gpus)
    if expected is not None and set(seen.uuids) != expected:
        return Verdict("fewer", f"{count} of {len(expected)}" if set(seen.uuids) < expected else "others", count)
    if count == 0:
        return Verdict("fewer", "none", 0)
    return _cuda(seen, count, tried.failure, _mig(gpus))


def _refused(path: str, error: str) -> Verdict:
    if match := _STDERR.search(error) or _HOOK_SAYS.search(error):
        inner = _HOOK_SAYS.search(match[1])
        return Verdict("hook", (inner[1] if inner else match[1]).strip().removesuffix(": unknown")[:400])
    if path == "CDI" and (match := _MISSING_FILE.search(error)):
        return Verdict("spec", match[1])
    if _NOT_OFFERED.search(error):
        return Verdict("not-offered", error[:300])
    return Verdict("refused", error[:400])


def _expected(tried: LivePath, gpus: Gpus | Unavailable) -> set[str] | None:
    """Return the UUIDs that the path was asked for, None where the host does not tell them all."""
    if isinstance(gpus, Unavailable) or not gpus.gpus:
        return None
    wanted = [gpu for gpu in gpus.gpus if "all" in tried.asked or str(gpu.index) in tried.asked]
    found = {gpu.uuid for gpu in wanted if isinstance(gpu.uuid, str)}
    return found if found and len(found) == len(wanted) else None


def says(seen: Seen) -> str:
    """Return the words of nvidia-smi, or those it has for NVML's code."""
    if seen.smi_exit not in (None, 0) and seen.smi_line:
        return seen.smi_line
    if seen.nvml_code:
        return _NVML_SAYS.get(seen.nvml_code, f"nvmlInit answers {seen.nvml_code}")
    return seen.nvml_error or "nothing"


def _without_nvml(seen: Seen, failure: str | None) -> Verdict:
    said = says(seen)
    if failure is not None:
        return Verdict("not-ended", failure)
    if not seen.nodes and not seen.libraries and seen.inside != "nvidia-smi":
        return Verdict("nothing-injected", said)
    if seen.refused("EPERM"):
        return Verdict("cgroup", said)
    if seen.refused("EACCES"):
        return Verdict("mode", said)
    if not any(re.search(r"/nvidia\d+$|/dxg$", node.name) for node in seen.nodes) and seen.inside != "nvidia-smi":
        return Verdict("no-nodes", said)
    if seen.nvml_code == _MISMATCH or "version mismatch" in said:
        return Verdict("library", said)
    if seen.nvml_code or seen.smi_exit:
        return Verdict("nvml", said)
    if signal := _signal(seen):
        return Verdict("crashed", f"signal {signal}")
    if seen.program_exit == 0 and seen.nvml_error is not None:
        return Verdict("nvml", said)
    return Verdict("injected-only", _unable(seen))


def _signal(seen: Seen) -> int | None:
    """Return what ended the program, or Python, that had loaded the driver's libraries."""
    return next((code - 128 for code in (seen.program_exit, seen.python_exit) if code is not None and code > 128), None)


def _unable(seen: Seen) -> str:
    """Say why nothing in the image could ask the driver's libraries."""
    if seen.other_c_library == "musl":
        return "the image has musl instead of glibc, which NVIDIA's libraries need"
    if seen.other_c_library == "none":
        return "the image has no glibc, which NVIDIA's libraries need"
    return "nothing in the image can ask them"


def _untried(seen: Seen) -> str:
    """Say why CUDA was not tried where NVML works."""
    if seen.program_exit:
        return f"gpudoctor's program ended with code {seen.program_exit} there"
    return "Python could not run there" if seen.python_exit else "the image has no Python"


def _mig(gpus: Gpus | Unavailable) -> bool:
    """True where instances are in use, or where that is not known."""
    return isinstance(gpus, Unavailable) or any(isinstance(gpu.mig, Mig) and gpu.mig.enabled for gpu in gpus.gpus)


def _cuda(seen: Seen, count: int, failure: str | None, mig: bool) -> Verdict:
    if failure is not None:
        return Verdict("not-ended", failure, count)
    if any(gpu.step == "comparison" for gpu in seen.gpus):
        return Verdict("bytes", ", ".join(gpu.uuid or "?" for gpu in seen.gpus if gpu.step == "comparison"), count)
    if seen.cuda_code:
        return Verdict("cuda", f"cuInit answers {seen.cuda_code}", count)
    if seen.cuda_error is not None:
        return Verdict("cuda", seen.cuda_error, count)
    if signal := _signal(seen):
        return Verdict("crashed", f"signal {signal}", count)
    failing = next((gpu for gpu in seen.gpus if not gpu.ok), None)
    if failing is not None and failing.code in _TAKEN:
        return Verdict("nvml-only", _TAKEN[failing.code], count)
    if failing is not None:
        return Verdict("cuda", f"{failing.step} answers {failing.code}", count)
    if seen.cuda_code is None:
        return Verdict("nvml-only", _untried(seen), count)
    # Of instances (MIG), CUDA lists one where NVML lists their GPUs.
    if not mig and (seen.cuda_count != count or len(seen.gpus) != count):
        return Verdict("cuda", f"CUDA lists {seen.cuda_count} of {count}", count)
    if not mig and len(seen.uuids) == count and {gpu.uuid for gpu in seen.gpus} - {None, *seen.uuids}:
        return Verdict("cuda", "CUDA lists other GPUs than NVML", count)
    return Verdict("works", "", count)


def evidence(live: Live, tried: LivePath) -> tuple[Evidence, ...]:
    """Return what was seen of one path."""
    seen = tried.seen
    opened = sum(node.error is None for node in seen.nodes)
    refused = sorted({node.error for node in seen.nodes if node.error is not None})
    words = f"{len(seen.nodes)}, {opened} opened" + (f", others {', '.join(refused)}" if refused else "")
    found = [
        saw("image", live.image, "--probe-image" if live.image_from is None else f"container {live.image_from}"),
        saw("engine's answer", tried.error, "engine"),
        saw("device files in it", words if tried.started else None, "container"),
        saw("libnvidia-ml.so.1 in it", ", ".join(seen.libraries) or "none" if seen.inside else None, "container"),
        saw("nvidia-smi", seen.smi_line if seen.smi_exit else None, "container"),
        saw("nvmlInit", seen.nvml_code if seen.nvml_code is not None else seen.nvml_error, "container"),
        saw("GPUs listed", seen.listed, "container"),
        saw("cuInit", seen.cuda_code if seen.cuda_code is not None else seen.cuda_error, "container"),
        saw("GPUs that kept a pattern", sum(gpu.ok for gpu in seen.gpus) if seen.gpus else None, "container"),
        saw("seconds", tried.duration_seconds, "container"),
    ]
    return tuple(each for each in found if each.value is not None)
