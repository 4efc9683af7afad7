"""An environment variable breaks or slows engines that are started from this shell.

## Why it matters
Variables of debuggers and profilers make CUDA load extra libraries, wait at errors or serialize every kernel; a forced
library or a switched-off transport survives in ~/.bashrc or a unit file long after its reason is gone. DCGM's own
diagnostic refuses to measure with the first ten of this check's list.

## How to fix
Unset the variable where it is set.

## References
- https://docs.nvidia.com/datacenter/dcgm/latest/user-guide/dcgm-diagnostics.html
- https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
- https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html
- https://docs.vllm.ai/en/stable/configuration/env_vars.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Target, check, failed, noted, passed, saw, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Host
from gpudoctor.judging.cards import card
from gpudoctor.matrices import cuda_driver

#: DCGM's list (software plug-in of its diagnostic).
_DEBUGGERS = ("NSIGHT_CUDA_DEBUGGER", "CUDA_INJECTION32_PATH", "CUDA_INJECTION64_PATH", "CUDA_AUTO_BOOST",
              "CUDA_ENABLE_COREDUMP_ON_EXCEPTION", "CUDA_COREDUMP_FILE", "CUDA_DEVICE_WAITS_ON_EXCEPTION",
              "CUDA_PROFILE", "COMPUTE_PROFILE", "OPENCL_PROFILE")
#: Value None: any but "0" and "".
_SLOW: dict[str, tuple[str | None, str]] = {
    "CUDA_LAUNCH_BLOCKING": (None, "every kernel waits for the one before it"),
    "CUDA_DISABLE_PTX_JIT": (None, "code that the driver must compile is refused"),
    "CUDA_FORCE_PTX_JIT": (None, "machine code is ignored and everything is compiled again"),
    "NCCL_P2P_DISABLE": (None, "GPUs exchange data through host memory"),
    "NCCL_SHM_DISABLE": (None, "GPUs exchange data through the network stack"),
    "NCCL_IB_DISABLE": (None, "machines exchange data over TCP"),
    "VLLM_TRACE_FUNCTION": (None, "every Python call is written to a file"),
    "VLLM_SKIP_P2P_CHECK": ("1", "a broken peer-to-peer path goes unnoticed"),
    "OLLAMA_DEBUG": ("2", "Ollama writes every token it handles to its log"),
}


@check()
def harmful(host: Host, gpus: Gpus | Unavailable, target: Target) -> Iterator[Finding]:
    """Look for variables that change how CUDA, NCCL and the engines run."""
    environment = host.environment
    found = False
    for name in (n for n in _DEBUGGERS if n in environment):
        found = True
        yield warned("host", "{name} is set: it is for debuggers and profilers, and slows or stops CUDA programs",
                     name=name, evidence=saw(name, environment[name], "environment"), fix=step(
                         "Unset it where it is set, for this shell:", "unset {name}"))
    for name, (bad, effect) in _SLOW.items():
        value = environment.get(name)
        if value is not None and (value == bad if bad is not None else value not in ("", "0")):
            found = True
            yield warned("host", "{name}={value} is set: {effect}", name=name, value=value, effect=effect,
                         evidence=saw(name, value, "environment"),
                         fix=step("Unset it where it is set, for this shell:", "unset {name}"))
    library = environment.get("OLLAMA_LLM_LIBRARY", "")
    if library.startswith("cpu"):
        found = True
        yield failed("host", "OLLAMA_LLM_LIBRARY={value} keeps Ollama off the GPU", value=library,
                     evidence=saw("OLLAMA_LLM_LIBRARY", library, "environment"),
                     fix=step("Unset it where it is set, for this shell:", "unset OLLAMA_LLM_LIBRARY"))
    switch = cuda_driver.forward_compatibility().vllm_switch
    if environment.get(switch, "0") not in ("", "0"):
        found = True
        yield _compat(switch, gpus)
    if environment.get("NCCL_DEBUG", "").upper() in ("INFO", "TRACE"):
        found = True
        yield noted("host", "NCCL_DEBUG={value} makes engines write much into their logs",
                    value=environment["NCCL_DEBUG"],
                    evidence=saw("NCCL_DEBUG", environment["NCCL_DEBUG"], "environment"))
    if not found:
        yield passed("host", "no variable that breaks or slows engines is set",
                     evidence=saw("variables looked at", len(environment), "environment"))


def _compat(switch: str, gpus: Gpus | Unavailable) -> Finding:
    rule = cuda_driver.forward_compatibility()
    seen = saw(switch, "set", "environment")
    for gpu in () if isinstance(gpus, Unavailable) else gpus.answering:
        row = card(gpu)
        if row is not None and rule.works_on(row.kind) is False:
            return failed("host", "{switch} is set, and {name} may not use compatibility libraries: CUDA error {error}",
                          switch=switch, name=gpu.label, error=rule.error_unsupported_gpu, evidence=seen,
                          fix=step("Unset it where it is set, for this shell:", "unset {switch}"))
    return noted("host", "{switch} is set: vLLM starts with CUDA's compatibility libraries", switch=switch,
                 evidence=seen)
