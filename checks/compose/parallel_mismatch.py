"""The engine's flags spread a model over another number of GPUs than the service gets.

## Why it matters
With more ranks than GPUs vLLM, SGLang and TGI stop at the start ("world size is larger than the number of available
GPUs", "invalid device ordinal"). With fewer, the others stand idle, reserved for nobody, and a model that needs them
does not fit.

## How to fix
Let `--tensor-parallel-size` (`--tp`, `--num-shard`) times the pipeline stages equal the number of GPUs in the request.

## References
- https://docs.vllm.ai/en/stable/serving/parallelism_scaling.html
- https://docs.sglang.ai/advanced_features/server_arguments.html
- https://huggingface.co/docs/text-generation-inference/reference/launcher
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.compose import Compose, Service
from gpudoctor.facts.gpus import Gpus
from gpudoctor.fit.compose_service import plain_words
from gpudoctor.judging.composed import asked, at, given, group_size

_FLAGS = {"vllm": "--tensor-parallel-size", "sglang": "--tp", "tgi": "--num-shard"}
#: Copies of the model, each on a group of its own.
_COPIES = ("--data-parallel-size", "-dp", "--dp-size", "--dp")


@check()
def parallel_mismatch(compose: Compose, gpus: Gpus | Unavailable) -> Iterator[Finding]:
    """Compare tensor and pipeline parallel sizes with the GPUs that CUDA shows the engine."""
    for service in compose.services:
        question = asked(service)
        engine = question.settings.engine if question is not None else None
        if question is None or engine not in _FLAGS:
            yield skipped(service.subject, "runs no engine that is given a number of GPUs")
            continue
        got = given(service, gpus)
        have = len(got.used) if got.used is not None and not got.missing else got.number
        if not have:
            yield skipped(service.subject, "how many GPUs it gets is not known, or none")
            continue
        # SGLang's data-parallel attention lies within the tensor-parallel group.
        alone = engine == "tgi" or "--enable-dp-attention" in plain_words(service.command)
        yield _judge(service, engine, group_size(question, have) * (1 if alone else _copies(service)), have)


def _copies(service: Service) -> int:
    words = plain_words(service.command)
    for flag in _COPIES:
        for at_, word in enumerate(words):
            name, _, text = word.partition("=")
            text = text or (words[at_ + 1] if at_ + 1 < len(words) else "")
            if name == flag and text.isascii() and text.isdigit() and 0 < int(text[:4]) < 1024:
                return int(text[:4])
    return 1


def _judge(service: Service, engine: str, wanted: int, have: int) -> Finding:
    place, flag = service.place_of("command"), _FLAGS[engine]
    seen = (saw("GPUs the flags ask for", wanted, place.file), saw("GPUs it gets", have, "the service's requests"))
    if wanted == have:
        return passed(service.subject, "{engine} spreads over the {have} GPUs that it gets", engine=engine, have=have,
                      evidence=seen)
    equal = step("Let them agree: {flag} {have}, or as many GPUs in the request.", flag=flag)
    if wanted < have:
        return at(place, warned(
            service.subject, "{engine} uses {wanted} of the {have} GPUs that the service gets: {flag} says no more",
            engine=engine, wanted=wanted, have=have, flag=flag, evidence=seen, fix=equal))
    words = plain_words(service.command)
    if "ray" in words or (service.network_mode == "host" and "--nnodes" in " ".join(words)):
        return skipped(service.subject, "spreads over several machines")
    return at(place, failed(
        service.subject, "{engine} wants {wanted} GPUs, and the service gets {have}: it will stop at the start",
        engine=engine, wanted=wanted, have=have, evidence=seen, fix=equal))
