"""What a paste is about: words that decide how an ambiguous message is meant."""

import re

from gpudoctor.evidence.assemble import is_nothing
from gpudoctor.evidence.statements import Statements

#: Context -> words in lower case, any of which anywhere in the paste tells it.
WORDS: dict[str, tuple[str, ...]] = {
    "wsl": ("wsl2", "wsl1", "/usr/lib/wsl", "microsoft-standard", "(wsl", " wsl"),
    "container": ("docker", "container", "podman", "kubernetes", "apptainer", "nvidia/cuda:", "vllm-openai",
                  " pods", " pod ", "k8s", "k3s", "kubectl"),
    "snap": ("/var/snap/docker", "/snap/docker", "snap docker", "docker snap", "snap list", "as a snap", "snap.docker"),
    "engine:llama": ("ollama", "올라마", "source=gpu.go", "source=runner.go",
                     "source=routes.go", "source=sched.go", "inference compute", "ggml",
                     "llama_model", "llama.cpp", "llama-server", "llama_context", "llama_kv", "llama-cpp",
                     "llama_cpp", "gpu-layers", "gpu_layers"),
    "engine:vllm": ("vllm",),
    "engine:sglang": ("sglang",),
    "engine:rocm": ("rocm", "amdgpu", "hip error", "/dev/kfd", "rccl"),
    "nvidia": ("nvidia", "geforce", "quadro", "nvrm"),
    "secure-boot-on": ("secureboot enabled", "secure boot enabled", "secure boot: enabled"),
    "mig": ("mig-gpu-", "mig 1g", "mig 2g", "mig 3g", "mig 4g", "mig 7g", "(uuid: mig-"),
    "has-torch": ("torch",),
    "no-gpu-answers": ("no devices were found", "rminitadapter", "couldn't communicate with the nvidia driver"),
    "gpus-listed": ("(uuid: gpu-", "| processes:", "persistence-m", "attached gpus"),
    "nvml-fails": ("initialize nvml", "initiailize nvml", "nvml initialize"),
    "xid-logged": ("nvrm: xid",),
    "uvm-file": ("/dev/nvidia-uvm\n",),
    "compat-library": ("/compat/libcuda", "/compat/lib.real"),
    "toolkit-absent": ("nvidia-ctk: command not found", "nvidia-ctk: not found"),
    "toolkit-installed": ("nvidia-container-toolkit is already", "nvidia-ctk version", "container toolkit cli version"),
    "selinux-on": ("selinux: enforcing", "selinux enforcing", "selinux is enforcing", "selinux: enabled",
                   "selinux enabled", "mode: enforcing", "selinux status: enabled"),
    "no-cgroups-on": ("no-cgroups = true", "no-cgroups=true", "no-cgroups: true"),
    "wrong-output": ("gibberish", "garbage", "garbled", "word salad", "nonsense", "!!!!!", "/////", "@@@@@", "?????"),
    "new-gpu": ("gb10", "gb200", "gb300", "b200", "b300", "rtx 50", "rtx pro 6000", "sm_12", "sm_10", "sm_11"),
    "daemon-not-restarted": ("not restarted", "without restart", "before restarting", "forgot to restart"),
}  # fmt: skip


def of_statements(stated: Statements) -> set[str]:
    """Return the contexts that the paste states as facts."""
    told = stated.told
    found: set[str] = set()
    if "secure boot" in told and re.search(r"\b(?:on|enabled|yes|true)\b", told["secure boot"].lower()):
        found.add("secure-boot-on")
    if "wsl" in told or "wsl" in f"{told.get('platform', '')} {told.get('os', '')} {told.get('driver', '')}".lower():
        found.add("wsl")
    if "mig" in told and not re.search(r"\b(?:off|disabled|no|n/a|false)\b", told["mig"].lower()):
        found.add("mig")
    if told.get("cuda_visible_devices", "").lower().startswith("mig"):
        found.add("mig")
    if any(" MIG " in facts.get("name", "") for facts in stated.gpus.values()):
        found.add("mig")
    if len(stated.gpus) > 1 or re.match(r"(?:[2-9]|\d\d)\b", told.get("tensor parallel", "")):
        found.add("several-gpus")
    if "toolkit" in told and is_nothing(told["toolkit"]):
        found.add("no-toolkit")
    torch = told.get("torch") or stated.packages.get("torch") or ""
    no_cuda = "torch cuda" in told and is_nothing(told["torch cuda"]) and is_nothing(told.get("torch hip", ""))
    if torch.endswith("+cpu") or no_cuda:
        found.add("cpu-torch")
    if "snap" in f"{told.get('docker', '')} {told.get('docker root', '')}".lower():
        found.add("snap")
    module, driver = (re.search(r"\b\d{3}\.\d{1,3}(?:\.\d{1,3})?\b", told.get(key, "")) for key in ("module", "driver"))
    if module is not None and driver is not None and module[0] != driver[0]:
        found.add("driver-versions-differ")
    if "container" in told or "image" in told or "docker flag" in told:
        found.add("container")
    return found
