"""Requests wait because the engine serves too few at once.

## Why it matters
Ollama serves a fixed number of requests per model at a time (`OLLAMA_NUM_PARALLEL`, one by default in current
releases) and queues the rest; models that do not fit together evict each other, and every change costs a load. Each
slot has its own part of the KV cache, so that more slots cost GPU memory. vLLM and SGLang batch continuously: many
requests share the reading of the weights, and the total rises with them.

Told by the engine's own queue (two looks), by `--users N` against its slots, and with `--live --concurrency 1,4,16` by
the first token of a crowd that waits while the total stays what one request gets.

## How to fix
Raise OLLAMA_NUM_PARALLEL as far as the KV caches fit (the finding says what it costs), keep models loaded, or use an
engine that batches continuously.

## References
- https://docs.ollama.com/faq
- https://docs.vllm.ai/en/latest/configuration/optimization/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, Target, check, passed, saw, skipped, step, warned
from gpudoctor.checking.finding import Evidence, Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.serving import Endpoint, LiveRun, Serving
from gpudoctor.judging.served import Machine, predicted, slots_of, variables_of

_SLOTTED = ("ollama", "llama.cpp")


@check()
def queueing(
    serving: Serving,
    gpus: Gpus | Unavailable,
    memory: Memory | Unavailable,
    driver: Driver | Unavailable,
    containers: Containers | Unavailable,
    target: Target,
    policy: Policy,
) -> Iterator[Finding]:
    """Judge each endpoint's slots against the demand that is known."""
    machine = Machine(gpus, memory, driver, containers)
    if not serving.answering:
        yield skipped("host", "no engine answers here")
    for each in serving.answering:
        crowd = _stalled(each, policy["queue_gain_min"], policy["queue_wait_seconds"])
        yield _judge(each, machine, target.users, crowd)


def _judge(
    each: Endpoint, machine: Machine, users: int | None, crowd: tuple[LiveRun, LiveRun] | None
) -> Finding:
    slots = slots_of(each, machine.containers)
    seen = (saw("requests served at once", slots, each.url), saw("running", each.running, each.url),
            saw("waiting", each.waiting, each.url), *_costs(each, machine, users or _crowd(each)),
            *_evicting(each, machine))
    if crowd is not None:
        alone, many = crowd
        return warned(
            each.subject,
            "{many} requests at once wait {wait:.1f} s for their first token (one alone: {first:.1f} s) and get "
            "{total} tokens/s together, one alone {single}: they queue",
            many=many.concurrency, wait=many.slowest_first_token_seconds, first=alone.first_token_seconds,
            total=many.total_tokens_per_s, single=alone.total_tokens_per_s,
            evidence=seen, fix=_ways(each, many.concurrency),
        )  # fmt: skip
    if each.waiting:
        return warned(each.subject, "{waiting} requests wait at {engine} while {running} run", waiting=each.waiting,
                      engine=each.engine, running=each.running, evidence=seen,
                      fix=_ways(each, each.waiting + (each.running or slots or 1)))
    if users is not None and slots is not None and users > slots:
        return warned(each.subject, "{engine} serves {slots} at once, {users} ask: up to {behind} wait for the answers "
                      "of others", engine=each.engine, slots=slots, users=users, behind=users - slots, evidence=seen,
                      fix=_ways(each, users))  # fmt: skip
    if each.waiting == 0:
        return passed(each.subject, "nobody waits at {engine}", engine=each.engine, evidence=seen)
    if users is not None and slots is not None:
        return passed(each.subject, "{engine} serves {slots} at once, {users} ask", engine=each.engine, slots=slots,
                      users=users, evidence=seen)
    tried = _crowd(each) or 1
    if tried > 1:
        return passed(each.subject, "{count} requests at once did not wait for each other", count=tried, evidence=seen)
    return skipped(each.subject, "{engine} does not tell whether requests wait: --users N says how many ask, --live "
                   "--concurrency 1,4 tries it", engine=each.engine, evidence=seen)


def _stalled(each: Endpoint, gain: float, seconds: float) -> tuple[LiveRun, LiveRun] | None:
    """The first step of the ladder at which a crowd only waits: one request's speed, shared out one by one."""
    first: dict[str, LiveRun] = {run.model: run for run in reversed(each.live) if run.concurrency == 1}
    for run in each.live:
        alone = first.get(run.model)
        if alone is None or run.concurrency < 2 or not run.completed:
            continue
        if not (alone.total_tokens_per_s and run.total_tokens_per_s and alone.first_token_seconds
                and run.slowest_first_token_seconds and alone.tokens):
            continue
        answer = alone.tokens / alone.total_tokens_per_s
        wait = run.slowest_first_token_seconds - alone.first_token_seconds
        if wait > max(answer / 2, seconds) and run.total_tokens_per_s < gain * alone.total_tokens_per_s:
            return alone, run
    return None


def _crowd(each: Endpoint) -> int | None:
    return max((run.concurrency for run in each.live), default=0) or None


def _costs(each: Endpoint, machine: Machine, users: int | None) -> Iterator[Evidence]:
    """What so many slots would take on the GPUs beside what they take now, by fit."""
    if users is None or each.engine not in _SLOTTED:
        return
    for model in each.loaded[:4]:
        now, then = predicted(each, model, machine), predicted(each, model, machine, parallel=users)
        if isinstance(now, Unavailable) or isinstance(then, Unavailable):
            continue
        for answer, count in ((now, now.prediction.settings.parallel or 1), (then, users)):
            needed = [need.total for need in answer.prediction.gpus]
            total = None if None in needed else sum(size or 0 for size in needed)
            yield saw(f"{model.name} with {count} slots on GPUs bytes", total, "gpudoctor fit")
        yield saw(f"{model.name}: most slots that fit", now.limits.max_parallel, "gpudoctor fit")


def _evicting(each: Endpoint, machine: Machine) -> Iterator[Evidence]:
    variables = variables_of(each, machine.containers)
    if each.engine != "ollama" or variables is None:
        return
    for name in ("OLLAMA_NUM_PARALLEL", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_KEEP_ALIVE"):
        yield saw(name, variables.get(name, "not set"), "the engine's environment")
    yield saw("models loaded, on disk", f"{len(each.loaded)}, {len(each.models)}", f"{each.url}/api/ps, /api/tags")


def _ways(each: Endpoint, wanted: int) -> tuple[Step, ...]:
    batching = step("With many at once vLLM is the better engine: it reads the weights once for all of them.",
                    "gpudoctor fit MODEL --engine vllm --max-parallel")
    if each.engine == "ollama":
        return (
            step("Give it as many slots as ask at once, as far as they fit; each has its own KV cache.",
                 "OLLAMA_NUM_PARALLEL={slots} ollama serve", risk="loads the models anew", slots=min(wanted, 16)),
            step("If models evict each other (a request waits for a load): let them stay, as far as they fit.",
                 "OLLAMA_MAX_LOADED_MODELS=2 OLLAMA_KEEP_ALIVE=1h ollama serve", risk="restarts the service"),
            batching,
        )  # fmt: skip
    if each.engine == "llama.cpp":
        return (step("Give it more slots; -c is shared out among them.", "llama-server -np {slots} -c CONTEXT",
                     slots=min(wanted, 16)), batching)  # fmt: skip
    if each.engine in ("vllm", "sglang", "tgi"):
        return (step("See whether the KV cache or the batch's limit holds them back: leave the cache more memory, "
                     "raise the limit, or add a replica.", "vllm serve MODEL --max-num-seqs 256"),)  # fmt: skip
    return (batching,)
