"""``gpudoctor fit``: will this model fit, before anything is pulled or launched."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.fit.settings import ENGINES, Settings, tokens

if TYPE_CHECKING:
    from gpudoctor.fit.answer import Question
    from gpudoctor.fit.hardware import Hardware


def fit(
    model: Annotated[str, typer.Argument(help="An Ollama tag, a GGUF file, a safetensors folder, or a hub id.")],
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
    flash_attention: Annotated[bool | None, typer.Option("--flash-attention/--no-flash-attention")] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=2**20, help="Logical batch.")] = None,
    ubatch: Annotated[int | None, typer.Option(min=1, max=2**20, help="Physical batch.")] = None,
    gpu_layers: Annotated[int | None, typer.Option(min=0, max=100000, help="Layers on the GPUs.")] = None,
    cpu_moe: Annotated[bool, typer.Option("--cpu-moe", help="Experts on the CPU.")] = False,
    allow_partial: Annotated[bool, typer.Option("--allow-partial", help="Partly on the CPU is fine.")] = False,
    tensor_parallel: Annotated[int | None, typer.Option("--tensor-parallel", min=1, max=1024)] = None,
    pipeline_parallel: Annotated[int | None, typer.Option("--pipeline-parallel", min=1, max=1024)] = None,
    gpu_memory_utilization: Annotated[float | None, typer.Option(min=0.01, max=1.0)] = None,
    enforce_eager: Annotated[bool, typer.Option("--enforce-eager", help="No CUDA graphs.")] = False,
    max_num_batched_tokens: Annotated[int | None, typer.Option(min=1, max=2**20)] = None,
    contexts: Annotated[str | None, typer.Option(metavar="32k,65k", help="A table over these contexts.")] = None,
    ollama_models: Annotated[str | None, typer.Option(metavar="DIR", envvar="OLLAMA_MODELS")] = None,
    online: Annotated[bool, typer.Option("--online", help="Ask the hub or registry for headers.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> int:
    """Say whether a model fits, on which GPU how much, with which largest context, and if not, what does.

    Examples: gpudoctor fit gpt-oss:120b --gpus 0,1; gpudoctor fit llama3.3:70b --hardware "1x RTX 4090"
    """
    from gpudoctor.fit.model import Unusable

    try:
        settings = Settings(
            engine=_engine(engine), version=engine_version, quant=quant, dtype=dtype, context=_context(context),
            parallel=parallel, max_num_seqs=max_num_seqs, prompt_tokens=prompt_tokens, kv_cache_type=kv_cache_type,
            flash_attention=flash_attention, batch=batch, ubatch=ubatch, gpu_layers=gpu_layers, cpu_moe=cpu_moe,
            allow_partial=allow_partial, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel,
            gpu_memory_utilization=gpu_memory_utilization, enforce_eager=enforce_eager,
            max_num_batched_tokens=max_num_batched_tokens,
        )  # fmt: skip
        machine = _hardware(hardware, free, host_memory, link, driver, gpus, snapshot)
        question = _question(model, settings, machine, online, ollama_models)
        from gpudoctor.fit.answer import answer
        from gpudoctor.fit.document import document, exit_code

        answered = answer(question, tuple(tokens(part) for part in contexts.split(",")) if contexts else ())
    except Unusable as problem:
        from gpudoctor.cli.failure import Failure

        raise Failure(problem.message, problem.where or "", problem.hint or "") from None
    if json:
        from json import dumps

        sys.stdout.write(dumps(document(answered), indent=1, allow_nan=False) + "\n")
    return exit_code(answered)


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
) -> "Hardware":
    from gpudoctor.fit.hardware import Hardware, named
    from gpudoctor.fit.settings import size

    if hardware is not None:
        found, assumed = named(hardware, free)
        memory = size(host_memory) if host_memory else None
        return Hardware(found, memory, memory, driver=driver, link=link, assumed=assumed)
    return Hardware(())


def _question(
    name: str, settings: Settings, machine: "Hardware", online: bool, ollama_models: str | None
) -> "Question":
    from gpudoctor.fit import sources
    from gpudoctor.fit.answer import Question
    from gpudoctor.fit.engines import engine

    form = engine(settings.engine).FORM if settings.engine else None
    model = sources.load(
        name, quant=settings.quant, dtype=settings.dtype, form=form, online=online, ollama_models=ollama_models
    )
    chosen = settings.engine or default_engine(model.form, model.source)
    return Question(model, settings._replace(engine=chosen), machine)


def default_engine(form: str, source: str) -> str:
    """The engine for a model when none is named: by what the name is."""
    if form == "safetensors":
        return "vllm"
    return "llama.cpp" if source == "gguf" else "ollama"
