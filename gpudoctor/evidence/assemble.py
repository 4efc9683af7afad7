"""From what a paste states to the facts of a Snapshot: the same sections that the probes fill."""

import re

from gpudoctor.evidence.statements import Statements, version_in
from gpudoctor.facts.base import NOT_RECORDED, Section, Unavailable
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.engines import EngineBinary, Engines
from gpudoctor.facts.gpus import Gpu, Gpus, Mig
from gpudoctor.facts.host import Host
from gpudoctor.facts.python_envs import PythonEnvironment, PythonEnvs, PythonPackage, TorchBuild
from gpudoctor.facts.signatures import NOT_PASTED, PASTED_ENVIRONMENT
from gpudoctor.matrices import pytorch

_NOTHING = frozenset(
    {"", "none", "n/a", "na", "no", "could not collect", "absent", "not found", "null", "-", "not installed"}
)
_OS_IDS = ("ubuntu", "debian", "fedora", "rocky", "almalinux", "centos", "nixos", "arch", "opensuse", "sles", "rhel")


def is_nothing(text: str) -> bool:
    """True for the ways in which reports say that there is none."""
    return text.strip().lower() in _NOTHING


def sections(stated: Statements, context: frozenset[str]) -> dict[str, Section]:
    """Return the sections on which the paste says anything."""
    found: dict[str, Section | None] = {
        "host": _host(stated.told, context),
        "gpus": _gpus(stated, context),
        "driver": _driver(stated.told, context),
        "python_envs": _environments(stated),
        "engines": _engines(stated.told),
    }
    return {name: section for name, section in found.items() if section is not None}


def _host(told: dict[str, str], context: frozenset[str]) -> Host | None:
    os_name = told.get("os", "")
    platform = f"{told.get('platform', '')} {told.get('architecture', '')} {os_name}".lower()
    os_id = next((name for name in _OS_IDS if name in os_name.lower().replace("red hat", "rhel")), "linux")
    arch = "aarch64" if re.search(r"aarch64|arm64", platform) else "x86_64" if "x86_64" in platform else None
    if not (os_name or platform.strip() or "kernel" in told or "wsl" in context):
        return None
    return Host(
        os_id=os_id,
        os_version=version_in(os_name) or "",
        os_name=os_name or "Linux",
        kernel_release=told.get("kernel", NOT_PASTED),
        architecture=arch or NOT_PASTED,
        wsl="wsl" in context,
        environment={
            name.upper(): told[name]
            for name in ("ld_library_path", "cuda_visible_devices", "nvidia_visible_devices")
            if name in told
        },
    )


def _gpus(stated: Statements, context: frozenset[str]) -> Gpus | None:
    told = stated.told
    driver = version_in(told.get("driver", ""))
    cuda = version_in(told.get("driver cuda", ""))
    queried = stated.query.facts()
    if not (stated.gpus or queried or driver or cuda):
        return None
    capability = re.fullmatch(r"(\d{1,2})\.(\d)", told.get("capability", "").strip())
    gpus = []
    for index, facts in sorted(stated.gpus.items()):
        name = facts.get("name", "")
        if re.search(r"\b(?:amd|radeon|instinct|intel|apple)\b", name, re.IGNORECASE):
            continue
        total, used = facts.get("total"), facts.get("used")
        gpus.append(
            Gpu(
                index=index,
                name=name.partition(" MIG ")[0] or NOT_PASTED,
                uuid=facts.get("uuid") or NOT_PASTED,
                pci_address=facts["address"].lower() if "address" in facts else NOT_PASTED,
                compute_capability=(int(capability[1]), int(capability[2])) if capability else NOT_PASTED,
                memory_total_bytes=int(total) << 20 if total else NOT_PASTED,
                memory_used_bytes=int(used) << 20 if used else NOT_PASTED,
                mig=Mig(enabled=True, pending=True) if " MIG " in name else NOT_RECORDED,
            )
        )
    major, _, minor = (cuda or "").partition(".")
    return Gpus(
        driver_version=driver or NOT_PASTED,
        cuda_version=int(major) * 1000 + int(minor[:2] or 0) * 10 if cuda else NOT_PASTED,
        count=len(queried or gpus) or NOT_PASTED,
        gpus=queried or tuple(gpus),
    )


def _driver(told: dict[str, str], context: frozenset[str]) -> Driver | None:
    # Before the version may stand x86_64.
    found = re.search(r"\b\d{3}\.\d{1,3}(?:\.\d{1,3})?\b", told.get("module", ""))
    module = found[0] if found is not None else None
    if module is None and "wsl" not in context:
        module = version_in(told.get("driver", ""))
    secure = told.get("secure boot", "").lower()
    if module is None and not secure:
        return None
    words = f"{told.get('driver', '')} {told.get('module', '')}".lower()
    flavour = "open" if re.search(r"\bopen\b", words) else None
    return Driver(
        loaded_version=module or NOT_PASTED,
        loaded_flavour="open" if flavour else NOT_PASTED,
        secure_boot="on" if re.search(r"\b(?:on|enabled|yes|true)\b", secure) else "off" if secure else NOT_PASTED,
    )


def _environments(stated: Statements) -> PythonEnvs | None:
    told = stated.told
    packages = dict(stated.packages)
    for name in ("vllm", "sglang", "transformers", "triton", "flashinfer-python"):
        if name in told and (version := re.match(r"v?(\d[\w.+!\-]*)", told[name])):
            packages.setdefault(name, version[1])
    torch = told.get("torch") or packages.get("torch")
    if torch is None and not packages:
        return None
    build = _torch(torch, told) if torch and re.match(r"v?\d", torch) else None
    if build is not None:
        packages["torch"] = build.version
    environment = PythonEnvironment(
        path=PASTED_ENVIRONMENT.partition(":")[2],
        kind="other",
        found=("active",),
        python=version_in(told.get("python", "")),
        packages=tuple(PythonPackage(name=name, version=version) for name, version in sorted(packages.items())),
        torch=build,
    )
    return PythonEnvs(environments=(environment,))


def _engines(told: dict[str, str]) -> Engines | None:
    version = re.match(r"v?(\d[\w.\-]*)", told.get("ollama", ""))
    if version is None:
        return None
    return Engines(engines=(EngineBinary(engine="ollama", path="ollama", version=version[1], version_source="paste"),))


def _torch(text: str, told: dict[str, str]) -> TorchBuild:
    version = (re.match(r"v?(\d[\w.+!\-]*)", text) or [text, text])[1]
    local = version.partition("+")[2].lower()
    cuda: str | Unavailable | None = NOT_PASTED
    hip: str | Unavailable | None = NOT_PASTED
    if "torch cuda" in told:
        cuda = None if is_nothing(told["torch cuda"]) else version_in(told["torch cuda"])
        hip = None if is_nothing(told.get("torch hip", "none")) else version_in(told["torch hip"])
    elif local == "cpu":
        cuda = hip = None
    elif found := re.match(r"cu(\d{2})(\d)", local):
        cuda, hip = f"{found[1]}.{found[2]}", None
    elif local.startswith("rocm"):
        cuda, hip = None, local.removeprefix("rocm")
    aarch64 = re.search(r"aarch64|arm64", f"{told.get('platform', '')} {told.get('os', '')}".lower()) is not None
    archs = _compiled(version, cuda, aarch64) if isinstance(cuda, str) else ()
    return TorchBuild(version=version, cuda=cuda, hip=hip, declared=archs or NOT_PASTED)


def _compiled(version: str, cuda: str, aarch64: bool) -> tuple[str, ...]:
    """Return what PyTorch's own wheel of this version was compiled for, () for a build of somebody else's."""
    release = pytorch.release(version)
    if aarch64:
        return release.aarch64_arch_list if release is not None and release.aarch64_cuda == cuda else ()
    variant = pytorch.variant(version, cuda)
    return variant.arch_list if variant is not None else ()
