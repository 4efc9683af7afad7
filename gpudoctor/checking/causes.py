"""One root cause, its symptoms beneath it: a declared graph between check ids."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from gpudoctor.checking.finding import STATUSES, Result

#: Cause -> what it explains when both are seen. A cause on one GPU explains only that GPU's symptoms (and the
#: host's); a cause on the host explains all. Specific causes stand before general ones: the first match wins.
EXPLAINS: dict[str, tuple[str, ...]] = {
    "driver.nouveau-bound": ("driver.not-loaded",),
    "driver.blocked-by-secure-boot": ("driver.not-loaded",),
    "driver.gpu-unsupported": ("driver.not-loaded", "driver.device-nodes", "pci.no-gpu", "gpu.count-short"),
    "driver.wrong-flavour": ("driver.not-loaded", "driver.device-nodes", "pci.no-gpu", "gpu.count-short"),
    "driver.bar-too-small": ("driver.not-loaded", "driver.device-nodes", "pci.no-gpu", "gpu.count-short"),
    "driver.missing-for-next-kernel": ("driver.not-loaded",),
    "driver.wsl-linux-driver": ("driver.*", "gpu.*", "cuda.*"),
    "driver.wsl-libcuda-missing": ("driver.nvml-unusable", "cuda.*"),
    "driver.not-loaded": ("pci.no-gpu", "driver.nvml-unusable", "driver.device-nodes", "driver.library-mismatch",
                          "driver.uvm-broken", "driver.too-old", "gpu.*", "cuda.*",
                          "serving.offload-partial", "docker.gpu-path-broken"),
    "driver.library-mismatch": ("driver.nvml-unusable", "driver.reboot-pending", "cuda.*", "gpu.count-short",
                                "container.gpu-lost", "container.gpu-invisible", "serving.offload-partial",
                                "docker.gpu-path-broken"),
    "driver.device-nodes": ("driver.nvml-unusable", "driver.uvm-broken", "cuda.unusable"),
    "driver.library-only-on-ld-path": ("driver.nvml-unusable",),
    "driver.nvml-unusable": ("gpu.*", "cuda.*", "driver.persistence-off"),
    "driver.uvm-broken": ("cuda.unusable", "gpu.pcie-slow", "gpu.p2p-broken"),
    "cuda.unusable": ("gpu.pcie-slow", "gpu.p2p-broken"),
    "gpu.xid": ("gpu.lost-before", "gpu.not-responding", "gpu.recovery-needed", "gpu.count-short", "pci.no-gpu"),
    "gpu.power-limited": ("gpu.not-responding",),
    "gpu.sxid": ("gpu.nvlink-down", "gpu.nvlink-errors", "gpu.fabric-not-ready"),
    "gpu.not-responding": ("gpu.count-short", "gpu.fabric-not-ready", "gpu.nvlink-down", "cuda.unusable", "pci.no-gpu"),
    "pci.no-gpu": ("driver.device-nodes", "gpu.count-short", "gpu.fabric-not-ready", "gpu.nvlink-down",
                   "cuda.unusable"),
    "gpu.recovery-needed": ("gpu.row-remap-pending", "gpu.repair-pending", "cuda.unusable"),
    "gpu.row-remap-failed": ("gpu.row-remap-exhausted", "gpu.ecc-uncorrected"),
    "gpu.pcie-narrow": ("gpu.pcie-slow",),
    "gpu.too-hot": ("gpu.throttled",),
    "gpu.memory-too-hot": ("gpu.throttled",),
    "gpu.fabric-manager-missing": ("gpu.fabric-not-ready", "cuda.unusable", "gpu.nvlink-down"),
    "gpu.fabric-manager-mismatch": ("gpu.fabric-manager-missing", "gpu.fabric-not-ready", "cuda.unusable"),
    "gpu.fabric-not-ready": ("cuda.unusable",),
    "gpu.mig-unexpected": ("cuda.unusable",),
    "gpu.compute-mode": ("cuda.unusable",),
    "host.acs-on": ("gpu.p2p-broken",),
    "driver.iommu-passthrough-off": ("gpu.p2p-broken", "amd.iommu"),
    "torch.cpu-only": ("torch.arch-missing", "engine.cuda-runtime-missing"),
    "driver.too-old": ("engine.driver-too-old", "torch.driver-too-old", "stack.cuda-too-new"),
    "engine.driver-too-old": ("torch.driver-too-old", "stack.cuda-too-new", "serving.offload-partial"),
    "torch.driver-too-old": ("stack.cuda-too-new",),
    "torch.arch-missing": ("stack.ptx-too-new",),
    "engine.gpu-unsupported": ("torch.arch-missing", "stack.ptx-too-new"),
    "engine.model-unknown": ("engine.quant-unsupported", "engine.attention-unsupported"),
    "engine.quant-unsupported": ("engine.dtype-unsupported", "engine.attention-unsupported"),
    "engine.torch-mismatch": ("engine.cuda-runtime-missing",),
    "engine.cuda-runtime-missing": ("stack.libraries-missing",),
    "stack.forward-compat": ("cuda.unusable",),
    "stack.nvcc-missing": ("stack.nvrtc-headers-missing",),
    "env.visible-devices": ("cuda.unusable",),
    "docker.confined": ("docker.restart-pending", "docker.no-gpu-path", "docker.gpu-path-missing", "docker.cdi-stale"),
    "docker.restart-pending": ("docker.no-gpu-path", "docker.gpu-path-missing"),
    "docker.no-gpu-path": ("docker.gpu-path-missing", "container.gpu-invisible", "serving.offload-partial"),
    "docker.cdi-stale": ("docker.gpu-path-missing", "container.gpu-invisible", "container.gpu-lost"),
    "docker.gpu-path-missing": ("container.gpu-invisible",),
    "container.gpu-lost": ("serving.offload-partial", "serving.gpu-idle"),
    "container.gpu-invisible": ("serving.offload-partial", "serving.gpu-idle"),
    "container.shm-too-small": ("serving.nccl-failed",),
    "amd.driver-missing": ("amd.*",),
    "amd.iommu": ("gpu.p2p-broken",),
    "serving.offload-partial": ("serving.slow", "serving.context-default", "serving.memory-gap"),
    "serving.gpu-idle": ("serving.kv-short", "serving.queueing", "serving.slow", "serving.memory-gap"),
    "serving.kv-short": ("serving.queueing",),
}

#: Causes that explain failures even while they are no more than a warning by themselves.
EVEN_AS_WARNING = frozenset(
    {"host.acs-on", "driver.iommu-passthrough-off", "amd.iommu", "driver.library-only-on-ld-path", "gpu.too-hot",
     "gpu.memory-too-hot", "container.gpu-invisible"}
)

_SYMPTOMS = ("fail", "warn", "unknown")


def link(results: Sequence[Result], graph: Mapping[str, Sequence[str]] = EXPLAINS) -> list[Result]:
    """Return the results with causes filled in, root causes before their symptoms, the worst group first."""
    parents = _parents(results, graph)
    roots = [_chain(number, parents)[-1] for number in range(len(results))]
    groups: dict[int, list[int]] = {}
    for number, root in enumerate(roots):
        groups.setdefault(root, []).append(number)
    ranked = sorted(groups.items(), key=lambda g: (min(_rank(results[n]) for n in g[1]), _rank(results[g[0]]), g[0]))
    symptoms: dict[int, set[str]] = {}
    for number, parent in enumerate(parents):
        if parent is not None:
            symptoms.setdefault(parent, set()).add(results[number].id)
    children: dict[int, set[str]] = {}
    for number, parent in enumerate(parents):
        if parent is not None:
            children.setdefault(parent, set()).add(results[number].id)
    ordered: list[Result] = []
    for _, members in ranked:
        members.sort(key=lambda n: (len(_chain(n, parents)), _rank(results[n]), n))
        for number in members:
            parent = parents[number]
            ordered.append(
                msgspec.structs.replace(
                    results[number],
                    explains=tuple(sorted(symptoms.get(number, ()))),
                    caused_by=results[parent].id if parent is not None else None,
                )
            )
    return ordered


def _rank(result: Result) -> int:
    accepted = len(STATUSES) if result.accepted else 0
    return accepted + STATUSES.index(result.status)


def _parents(results: Sequence[Result], graph: Mapping[str, Sequence[str]]) -> list[int | None]:
    """Find for each result the one that explains it. However the graph is drawn, no result explains itself."""
    parents: list[int | None] = [None] * len(results)
    places: dict[str, list[int]] = {}
    for number, result in enumerate(results):
        places.setdefault(result.id, []).append(number)
    causes: dict[str, list[str]] = {}
    for number, result in enumerate(results):
        if result.status not in _SYMPTOMS:
            continue
        if result.id not in causes:
            causes[result.id] = [cause for cause in _causes(result.id, graph) if cause in places]
        parents[number] = next(
            (
                place
                for cause in causes[result.id]
                for place in places[cause]
                if _can_explain(results[place], result) and number not in _chain(place, parents)
            ),
            None,
        )
    return parents


def _causes(symptom: str, graph: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the ids that explain this one, in the graph's order; of two that explain each other only the earlier."""
    order = {name: place for place, name in enumerate(graph)}
    for cause, explained in graph.items():
        if cause == symptom or not any(_is(symptom, pattern) for pattern in explained):
            continue
        mutual = any(_is(cause, pattern) for pattern in graph.get(symptom, ()))
        if not (mutual and order[symptom] < order[cause]):
            yield cause


def _is(check_id: str, pattern: str) -> bool:
    # Few are patterns; each would cost the compilation of a regular expression.
    return fnmatchcase(check_id, pattern) if "*" in pattern else check_id == pattern


def _can_explain(cause: Result, symptom: Result) -> bool:
    """A warning is mostly too little to explain a failure; a GPU's fault explains no other GPU's."""
    strong = cause.status == "fail" or (
        cause.status == "warn" and (symptom.status != "fail" or cause.id in EVEN_AS_WARNING)
    )
    # The model that a container serves.
    serves = cause.subject.startswith("container:") and symptom.subject.startswith("model:")
    return strong and (cause.subject in ("host", symptom.subject) or symptom.subject == "host" or serves)


def _chain(number: int, parents: Sequence[int | None]) -> list[int]:
    """Return a result and everything above it, the root last."""
    chain = [number]
    while (parent := parents[chain[-1]]) is not None:
        chain.append(parent)
    return chain
