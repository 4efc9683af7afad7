"""``gpudoctor fit``: will this model fit, before anything is pulled or launched."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.fit.settings import ENGINES, Settings, tokens

if TYPE_CHECKING:
    from gpudoctor.facts.snapshot import Snapshot
    from gpudoctor.fit.hardware import Hardware


def fit(
    model: Annotated[
        str | None, typer.Argument(help="An Ollama tag, a GGUF file, a safetensors folder, or a hub id.")
    ] = None,
    engine: Annotated[str | None, typer.Option(metavar="NAME", help=f"One of {', '.join(ENGINES)}.")] = None,
    engine_version: Annotated[str | None, typer.Option(metavar="V", help="Its version; the newest by default.")] = None,
    gpus: Annotated[str | None, typer.Option(metavar="0,1", help="GPUs of this machine or snapshot.")] = None,
    snapshot: Annotated[str | None, typer.Option(metavar="FILE", help="Judge on this recorded machine.")] = None,
    hardware: Annotated[str | None, typer.Option(metavar="NAMES", help='For example "2x RTX 4090 + L4".')] = None,
    free: Annotated[str | None, typer.Option(metavar="SIZES", help='Free of named GPUs: "22.5GiB,23GiB".')] = None,
    host_memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Host memory of named hardware.")] = None,
    link: Annotated[str | None, typer.Option(metavar="KIND", help="nvlink or pcie between named GPUs.")] = None,
    driver: Annotated[str | None, typer.Option(metavar="V", help="NVIDIA driver of named hardware.")] = None,
    quant: Annotated[str | None, typer.Option(metavar="NAME", help="Q4_K_M, AWQ, FP8 ...")] = None,
    dtype: Annotated[str | None, typer.Option(metavar="NAME", help="bf16, f16 or f32.")] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", "--max-model-len", "--num-ctx", metavar="N|max", help="Tokens per request."),
    ] = None,
    parallel: Annotated[int | None, typer.Option(min=1, max=65536, help="Requests at once.")] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, max=65536, help="vLLM's cap of a batch.")] = None,
    prompt_tokens: Annotated[int | None, typer.Option(min=1, max=2**31, help="Prompt within the context.")] = None,
    kv_cache_type: Annotated[str | None, typer.Option(metavar="TYPE", help="f16, q8_0, q4_0, fp8 ...")] = None,
    flash_attention: Annotated[
        bool | None, typer.Option("--flash-attention/--no-flash-attention", help="Not what the engine chooses.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=2**20, help="Logical batch.")] = None,
    ubatch: Annotated[int | None, typer.Option(min=1, max=2**20, help="Physical batch.")] = None,
    gpu_layers: Annotated[int | None, typer.Option(min=0, max=100000, help="Layers on the GPUs.")] = None,
    cpu_moe: Annotated[bool, typer.Option("--cpu-moe", help="Experts on the CPU.")] = False,
    allow_partial: Annotated[bool, typer.Option("--allow-partial", help="Partly on the CPU is fine.")] = False,
    tensor_parallel: Annotated[int | None, typer.Option(min=1, max=1024, help="GPUs that share each layer.")] = None,
    pipeline_parallel: Annotated[int | None, typer.Option(min=1, max=1024, help="Groups of layers in a row.")] = None,
    gpu_memory_utilization: Annotated[float | None, typer.Option(min=0.01, max=1.0, help="vLLM's share.")] = None,
    enforce_eager: Annotated[bool, typer.Option("--enforce-eager", help="No CUDA graphs.")] = False,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option(min=1, max=2**20, help="vLLM's tokens in one step.")
    ] = None,
    contexts: Annotated[str | None, typer.Option(metavar="32k,65k", help="A table over these contexts.")] = None,
    max_context: Annotated[bool, typer.Option("--max-context", help="The largest context that fits.")] = False,
    max_parallel: Annotated[bool, typer.Option("--max-parallel", help="The most requests at once that fit.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the arithmetic and its sources.")] = False,
    from_compose: Annotated[
        str | None, typer.Option(metavar="FILE[:SERVICE]", help="Take model, flags and GPUs of a Compose service.")
    ] = None,
    ollama_models: Annotated[str | None, typer.Option(metavar="DIR", envvar="OLLAMA_MODELS", help="Its store.")] = None,
    online: Annotated[bool, typer.Option("--online", help="Ask the hub or registry for headers.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Say whether a model fits, on which GPU how much, with which largest context, and if not, what does.

    Examples: gpudoctor fit gpt-oss:120b --gpus 0,1; gpudoctor fit llama3.3:70b --hardware "1x RTX 4090"
    """
    from gpudoctor.fit.model import Unusable

    try:
        settings = Settings(
            engine=_engine(engine), version=engine_version, quant=quant, dtype=dtype,
            context=0 if max_context else _context(context), parallel=parallel, max_num_seqs=max_num_seqs,
            prompt_tokens=prompt_tokens, kv_cache_type=kv_cache_type, flash_attention=flash_attention, batch=batch,
            ubatch=ubatch, gpu_layers=gpu_layers, cpu_moe=cpu_moe, allow_partial=allow_partial,
            tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel,
            gpu_memory_utilization=gpu_memory_utilization, enforce_eager=enforce_eager,
            max_num_batched_tokens=max_num_batched_tokens,
        )  # fmt: skip
        if from_compose is not None:
            model, settings, gpus = _composed(from_compose, model, settings, gpus if hardware is None else "")
        if not model:
            raise Unusable("no model is named", hint="gpudoctor fit MODEL, or --from-compose FILE")
        _agree(settings, max_context and context is not None, max_parallel and parallel is not None)
        wanted = [tokens(part) for part in contexts.split(",")] if contexts else []
        if len(wanted) > _MOST_CONTEXTS:
            raise Unusable(f"--contexts lists {len(wanted)} lengths", hint=f"at most {_MOST_CONTEXTS}")
        machine = _hardware(hardware, free, host_memory, link, driver, gpus, snapshot, quiet=json)
        from gpudoctor.fit.answer import answer
        from gpudoctor.fit.asking import question

        asked = question(
            model, settings, machine, online=online, ollama_models=ollama_models, hub_cache=_hub_cache(),
            token=os.environ.get("HF_TOKEN") if online else None,
        )  # fmt: skip
        answered = answer(asked, tuple(wanted))
        if max_parallel and answered.limits.max_parallel:
            again = asked.settings._replace(parallel=answered.limits.max_parallel)
            answered = answer(asked._replace(settings=again), tuple(wanted))
    except Unusable as problem:
        from gpudoctor.cli.failure import Failure

        raise Failure(problem.message, problem.where or "", problem.hint or "") from None
    from gpudoctor.cli.failure import say
    from gpudoctor.reports.fit_document import document, exit_code

    if json:
        from json import dumps

        from gpudoctor.reports.language import speaking

        with speaking("en"):
            say(dumps(document(answered), indent=1, allow_nan=False) + "\n")
    else:
        from gpudoctor.reports.fit_console import render

        say(render(answered, explain=explain))
    return exit_code(answered)


_MOST_CONTEXTS = 64


def _composed(
    text: str, model: str | None, asked: Settings, gpus: str | None
) -> tuple[str | None, Settings, str | None]:
    """A service's model, flags and GPUs, where the command line does not say otherwise."""
    from gpudoctor.fit.compose_service import read_service

    service = read_service(text, os.environ)
    plain = Settings()
    given = {key: value for key, value in asked._asdict().items() if value != getattr(plain, key)}
    if gpus is None and service.gpus is not None:
        gpus = ",".join(map(str, service.gpus))
    return model or service.model, service.settings._replace(**given), gpus or None


def _agree(settings: Settings, two_contexts: bool, two_parallels: bool) -> None:
    """Refuse flags that contradict each other."""
    from gpudoctor.fit.model import Unusable

    if two_contexts or two_parallels:
        flag = "context" if two_contexts else "parallel"
        raise Unusable(f"--max-{flag} asks for the largest, --{flag} names one", hint="choose one")
    if settings.cpu_moe and settings.engine in ("vllm", "sglang", "tgi", "transformers"):
        raise Unusable(f"{settings.engine} has no --cpu-moe", hint="llama.cpp places experts on the CPU")
    if settings.gpu_layers is not None and settings.engine in ("vllm", "sglang", "tgi"):
        raise Unusable(f"{settings.engine} places no layers on the CPU", hint="--gpu-layers is for llama.cpp")
    if settings.prompt_tokens and settings.context and settings.prompt_tokens > settings.context:
        raise Unusable("--prompt-tokens is more than --context", hint="the prompt is part of the context")


def _engine(name: str | None) -> str | None:
    from gpudoctor.fit.model import Unusable

    if name is None or name in ENGINES:
        return name
    raise Unusable(f"{name[:40]!r} is no engine", where="--engine", hint=f"one of {', '.join(ENGINES)}")


def _context(text: str | None) -> int | None:
    if text is None:
        return None
    return 0 if text == "max" else tokens(text)


def _hardware(
    hardware: str | None,
    free: str | None,
    host_memory: str | None,
    link: str | None,
    driver: str | None,
    gpus: str | None,
    snapshot: str | None,
    quiet: bool,
) -> "Hardware":
    """The GPUs to judge on: named, recorded, or this machine's."""
    from gpudoctor.fit.hardware import Hardware, named
    from gpudoctor.fit.model import Unusable
    from gpudoctor.fit.settings import size

    if link not in (None, "nvlink", "pcie"):
        raise Unusable(f"{str(link)[:20]!r} is no link", where="--link", hint="nvlink or pcie")
    memory = size(host_memory) if host_memory else None
    if hardware is not None:
        if gpus is not None or snapshot is not None:
            other = "--gpus" if gpus is not None else "--snapshot"
            raise Unusable(f"--hardware names GPUs, {other} a machine's", hint="choose one")
        found, assumed = named(hardware, free)
        return Hardware(found, memory, memory, driver=driver, link=link, assumed=assumed)
    if free is not None:
        raise Unusable("--free is for GPUs named with --hardware", hint="a machine's free memory is read")
    from gpudoctor.cli.words import parse_gpus

    wanted = parse_gpus(gpus)
    if snapshot is None and not _gpu_seen():
        if wanted:
            raise Unusable("this machine has no GPU", where="--gpus", hint='--hardware "2x RTX 4090" names others')
        return Hardware((), memory, memory, driver=driver, link=link)
    from gpudoctor.fit.machine import SECTIONS, hardware_of

    machine = hardware_of(_recorded(snapshot) if snapshot else _taken(SECTIONS, quiet), wanted)
    if memory is not None:
        machine = machine._replace(host_total_bytes=memory, host_free_bytes=memory)
    return machine._replace(driver=driver or machine.driver, link=link)


def _gpu_seen() -> bool:
    """Whether looking closer is worth a probe: a driver's device, or WSL's."""
    names = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/proc/driver/nvidia/version", "/dev/nvmap")
    return any(Path(name).exists() for name in names)


def _recorded(name: str) -> "Snapshot":
    from gpudoctor.facts.snapshot import SnapshotError, read_snapshot
    from gpudoctor.fit.model import Unusable

    try:
        return read_snapshot(Path(name))
    except SnapshotError as error:
        raise Unusable(str(error), hint="record one with gpudoctor snapshot -o FILE") from None


def _taken(sections: frozenset[str], quiet: bool) -> "Snapshot":
    from gpudoctor.cli.progress import progress_line
    from gpudoctor.probes.take import take_snapshot

    with progress_line(sys.stderr, enabled=not quiet) as progress:
        return take_snapshot(timeout=20.0, sections=sections, progress=progress)


def _hub_cache() -> str | None:
    """Hugging Face's own variables, in its own order; None for the usual place."""
    home = os.environ.get("HF_HOME")
    return os.environ.get("HF_HUB_CACHE") or (str(Path(home) / "hub") if home else None)
