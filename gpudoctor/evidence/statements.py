"""Lines that state a fact: ``key: value`` of environment reports and hand-written notes, tables of tools, packages."""

import re

from gpudoctor.evidence.engine_start import started
from gpudoctor.evidence.nvidia_smi_query import HEAD, Query
from gpudoctor.facts.python_envs import COMPANIONS, ENGINES

#: As people and tools write it -> the key under which it is kept. What is not here is left out.
KEYS: dict[str, str] = {
    "pytorch version": "torch", "torch version": "torch", "torch": "torch", "pytorch": "torch",
    "torch.__version__": "torch", "cuda used to build pytorch": "torch cuda", "torch.version.cuda": "torch cuda",
    "rocm used to build pytorch": "torch hip", "torch.version.hip": "torch hip", "hip": "hip", "rocm": "rocm",
    "is cuda available": "cuda works", "torch.cuda.is_available()": "cuda works", "os": "os",
    "operating system": "os", "kernel": "kernel", "kernel version": "kernel", "python platform": "platform",
    "platform": "platform", "architecture": "architecture", "python version": "python", "python": "python",
    "cuda runtime version": "toolkit", "cuda toolkit": "toolkit", "nvcc": "toolkit", "nvidia driver version": "driver",
    "driver version": "driver", "nvidia driver": "driver", "driver": "driver", "gpu driver": "driver",
    "driver cuda": "driver cuda", "env cuda": "driver cuda", "cuda version": "driver cuda",
    "cuda umd version": "driver cuda", "kernel module": "module", "nvrm version": "module",
    "secure boot": "secure boot", "secureboot": "secure boot", "compute capability": "capability",
    "compute_cap": "capability", "capability": "capability", "gpu": "gpu", "gpus": "gpu", "gpu name": "gpu",
    "product name": "gpu", "vllm version": "vllm", "vllm": "vllm", "sglang version": "sglang", "sglang": "sglang",
    "ollama": "ollama", "ollama version": "ollama", "ollama version is": "ollama", "llama.cpp": "llama.cpp",
    "transformers": "transformers", "transformers version": "transformers", "triton version": "triton",
    "flashinfer": "flashinfer-python", "nccl": "nccl", "tensor parallel": "tensor parallel",
    "tensor_parallel_size": "tensor parallel", "tensor parallel size": "tensor parallel", "tp": "tensor parallel",
    "heads": "heads", "num_attention_heads": "heads", "model": "model", "image": "image",
    "image requires cuda": "image cuda", "ld_library_path": "ld_library_path",
    "cuda_visible_devices": "cuda_visible_devices", "nvidia_visible_devices": "nvidia_visible_devices",
    "mig": "mig", "mig mode": "mig", "container": "container", "container runtime": "container", "docker": "docker",
    "docker flag": "docker flag", "docker version": "docker", "docker runtimes": "runtimes", "runtimes": "runtimes",
    "default runtime": "default runtime", "cgroup driver": "cgroup driver", "cgroupdriver": "cgroup driver",
    "docker root dir": "docker root", "dockerrootdir": "docker root", "server version": "docker", "compose": "compose",
    "podman": "container", "apptainer": "container", "kubernetes": "container", "runtime": "runtime",
    "gpu total gib": "gpu total gib", "gpu free gib": "gpu free gib",
    "gpu memory utilization": "gpu memory utilization", "cpu": "cpu", "model name": "cpu", "glibc": "glibc",
    "libc version": "glibc", "model dtype": "model dtype", "max model len": "max model len", "shm": "shm",
    "shm_size": "shm", "iommu": "iommu", "acs": "acs", "topology": "topology", "wsl": "wsl", "wsl version": "wsl",
    "toolkit": "container toolkit", "nvidia-container-toolkit": "container toolkit", "systemd": "systemd",
    "in container nvml": "in container nvml", "host nvidia smi": "host nvidia smi",
}  # fmt: skip
_LINE = re.compile(r"[\s>*\-#|\"'`]{0,12}([A-Za-z][\w ./()\-]{0,46}?)[\"'*`]{0,3}\s{0,20}[:=]\s{0,8}(\S.{0,400})")
_GPU = re.compile(
    r"[\s>*\-]{0,8}(?:GPU models and configuration\s{0,4}:\s{0,4})?GPU (\d{1,3}): (.{1,120}?)"
    r"(?: \(UUID: (GPU-[\w-]{8,60})\))?\s*$"
)
_MIG = re.compile(r"\s{1,8}MIG \S{1,20}\s+Device\s+\d{1,2}: \(UUID: MIG-")
_SMI_HEAD = re.compile(
    r"NVIDIA-SMI \S{1,20}\s+(?:Driver|KMD) Version: (\d[\d.]{2,16})(?:\s+CUDA (?:UMD )?Version: (\d{1,2}\.\d{1,2}))?"
)
_PACKAGE = re.compile(
    r"[\s>*\-]{0,8}(?:\[(?:pip3?|conda)\]\s{0,4})?([A-Za-z][\w.\-]{1,40})(?:\s{0,4}==\s{0,4}|\s{1,60})(\d[\w.+!\-]{0,40})"
    r"(?:[ \t]{1,60}(\S{1,80}))?"
)
_CONDA_CUDA = re.compile(r"cuda_?(\d{2})\.?(\d)")
_PIP_HEAD = re.compile(r"\s*(?:Package\s+Version|# Name\s+Version)")
_OLLAMA = re.compile(r"Listening on \S{1,60} \(version (\d[\w.\-]{1,30})\)|ollama version is (\d[\w.\-]{1,30})")
#: What Ollama's log says of its settings at the start; beside those of a unit or of a Compose file.
_OLLAMA_NAMES = {"NUM_PARALLEL": "ollama parallel", "KEEP_ALIVE": "ollama keep alive"}
_OLLAMA_SET = re.compile(r"\bOLLAMA_(NUM_PARALLEL|KEEP_ALIVE)[:=]\"?([\w.\-]{1,20})")
_MAX_CONFIG = 8192
_NUMBER = re.compile(r"v?\d")
_NUMBER_OR_NONE = re.compile(r"v?\d|none|n/?a|could not|absent|not |no\b|-|null", re.IGNORECASE)
#: What a value must look like to be taken for that fact: log lines have colons, too.
_FORMS: dict[str, re.Pattern[str]] = {
    "kernel": re.compile(r"\d+\.\d+"), "driver": _NUMBER, "driver cuda": _NUMBER, "module": re.compile(r"\d{3}|NVIDIA"),
    "torch": _NUMBER, "torch cuda": _NUMBER_OR_NONE, "torch hip": _NUMBER_OR_NONE, "toolkit": _NUMBER_OR_NONE,
    "capability": _NUMBER, "python": _NUMBER, "vllm": _NUMBER, "sglang": _NUMBER, "ollama": _NUMBER, "heads": _NUMBER,
    "tensor parallel": _NUMBER, "gpu total gib": _NUMBER, "gpu free gib": _NUMBER, "image cuda": _NUMBER,
    "gpu": re.compile(r"[A-Za-z][\w ./()\-]{2,80}$"),
}  # fmt: skip
_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,5}){0,4}")
_NAMES = {"pytorch": "torch"}
_KNOWN = frozenset((*ENGINES, *COMPANIONS))
MAX_GPUS = 64


class Statements:
    """What the lines of a paste state: the first word on a thing counts."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        self.gpus: dict[int, dict[str, str]] = {}
        self.packages: dict[str, str] = {}
        self.kinds: dict[str, int] = {}
        self.query = Query()
        self._querying = self._listing = self._fabric = False

    def start(self, line: str) -> None:
        """Take a line that may tell what an engine was started with; the first start counts."""
        if "OLLAMA_NUM_PARALLEL" in line:
            for name, value in _OLLAMA_SET.findall(line[:_MAX_CONFIG]):
                self.told.setdefault(_OLLAMA_NAMES[name], value)
        if "start model" not in self.told:
            for name, value in started(line).items():
                self.told.setdefault(f"start {name}", value[:300])

    def feed(self, line: str, number: int) -> str | None:
        """Take one line; return the value of a note whose key is unknown, which may be a log line itself."""
        if HEAD in line:
            self._querying = True
            self._seen("nvidia-smi-query", number)
        elif self._querying and self.query.feed(line):
            return None
        if line.strip() == "Fabric":
            self._fabric = True
        elif self._fabric and ":" in line:
            self._fabric = False
            if line.strip().startswith("State") and "Completed" not in line and "N/A" not in line:
                self.told.setdefault("fabric state", line.partition(":")[2].strip())
        head = _SMI_HEAD.search(line)
        if head is not None:
            self.told.setdefault("driver", head[1])
            if head[2]:
                self.told.setdefault("driver cuda", head[2])
        listening = _OLLAMA.search(line)
        if listening is not None:
            self.told.setdefault("ollama", listening[1] or listening[2])
            self._seen("ollama-log", number)
        gpu = _GPU.match(line)
        if gpu is not None:
            self._seen("gpu-list", number)
            self._gpu(int(gpu[1]), name=gpu[2].strip(), uuid=gpu[3] or "")
            return None
        if _MIG.match(line):
            self.told.setdefault("mig", "enabled")
        if _PIP_HEAD.match(line):
            self._listing = True
            return None
        package = _PACKAGE.match(line)
        if package is not None and (self._listing or "==" in line[:80] or "[conda]" in line[:12]):
            self._package(package[1], package[2], number)
            if package[1].lower() in ("pytorch", "torch") and package[3]:
                self._conda_build(package[3])
            return None
        note = _LINE.match(line)
        return None if note is None else self._note(note[1], note[2], number)

    def _note(self, key: str, value: str, number: int) -> str | None:
        known = KEYS.get(" ".join(key.lower().split()))
        value = value.strip().strip("\"'`*,|").strip()
        form = _FORMS.get(known or "")
        if known is None or (form is not None and not form.match(value)):
            return value
        if not value:
            return None
        if known in ("torch cuda", "torch hip"):
            self._seen("collect-env", number)
        if known == "gpu":
            self._gpu(len(self.gpus), name=value, uuid="")
        self.told.setdefault(known, value[:300])
        self._seen("notes", number)
        return None

    def _gpu(self, index: int, **facts: str) -> None:
        if index in self.gpus or len(self.gpus) < MAX_GPUS:
            kept = self.gpus.setdefault(index, {})
            for key, value in facts.items():
                if value:
                    kept.setdefault(key, value)

    def _package(self, name: str, version: str, number: int) -> None:
        name = name.lower().replace("_", "-")
        name = _NAMES.get(name, name)
        if name in _KNOWN:
            self.packages.setdefault(name, version)
            self._seen("packages", number)

    def _conda_build(self, text: str) -> None:
        """Read what a conda package of PyTorch was built for: ``py3.11_cuda12.4_cudnn9.1.0_0``, ``cpu_generic``."""
        cuda = _CONDA_CUDA.search(text)
        if cuda is not None or text.startswith("cpu") or "_cpu" in text:
            self.told.setdefault("torch cuda", f"{cuda[1]}.{cuda[2]}" if cuda else "none")

    def _seen(self, kind: str, number: int) -> None:
        self.kinds.setdefault(kind, number)


def version_in(text: str) -> str | None:
    """Return the first version number in a text, None without one."""
    found = _VERSION.search(text)
    return found[0] if found else None
