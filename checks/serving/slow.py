"""Measured tokens per second are far under what this hardware should reach.

## Why it matters
Decoding reads the active weights once for every token, so that the memory's bandwidth sets the speed
(`gpudoctor/fit/speed.py` has the figures and where they were checked). An engine at a small part of it computes partly
on the CPU, shares the GPU, is throttled, or was built without the right kernels.

Judged with `gpudoctor serving --live` only: one short streamed completion alone, tokens between the first and the last.

## How to fix
See the other findings first: layers on the CPU, throttling, other processes on the GPU.

## References
- https://docs.ollama.com/troubleshooting
- https://docs.vllm.ai/en/latest/benchmarking/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, failed, noted, passed, saw, skipped, step, warned
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.serving import Endpoint, LiveRun, Serving
from gpudoctor.judging.served import Machine, predicted


@check()
def slow(
    serving: Serving,
    gpus: Gpus | Unavailable,
    memory: Memory | Unavailable,
    driver: Driver | Unavailable,
    containers: Containers | Unavailable,
    policy: Policy,
) -> Iterator[Finding]:
    """Judge the single request of each model that was measured."""
    machine = Machine(gpus, memory, driver, containers)
    runs = [(each, run) for each in serving.answering for run in each.live]
    if not runs:
        yield skipped("host", "nothing was measured: --live asks for short completions")
    for each, run in runs:
        if run.concurrency == min(r.concurrency for r in each.live if r.model == run.model):
            yield _judge(each, run, machine, policy["live_speed_share"])
        elif run.failed and run.completed:
            yield warned(f"model:{run.model}", "{failed} of {count} requests at once failed: {failure}",
                         failed=run.failed, count=run.concurrency, failure=run.failure or "no end in time",
                         evidence=saw("completed", run.completed, each.url),
                         fix=step("Let fewer in at once, or read what the engine's log says.",
                                  "gpudoctor diagnose LOG"))  # fmt: skip


def _judge(each: Endpoint, run: LiveRun, machine: Machine, share: float) -> Finding:
    subject = f"model:{run.model}"
    model = next((m for m in each.loaded if m.name == run.model), None)
    seen = [saw("first token seconds", run.first_token_seconds, each.url),
            saw("tokens per second of one request", run.tokens_per_s, each.url),
            *(saw(f"{r.concurrency} at once: tokens per second together", r.total_tokens_per_s, each.url)
              for r in each.live if r.model == run.model)]
    if not run.completed and (run.failure or "").startswith("HTTP 4"):
        return noted(subject, "{model} takes no completions: {failure}", model=run.model, failure=run.failure,
                     evidence=seen)
    if not run.completed:
        return failed(subject, "{model} completes nothing: {failure}", model=run.model, failure=run.failure,
                      evidence=seen, fix=step("Read the engine's log.", "gpudoctor diagnose LOG"))
    if run.tokens_per_s is None:
        return noted(subject, "{model} answers, but with too few tokens to measure", model=run.model, evidence=seen)
    answer = predicted(each, model, machine) if model is not None else Unavailable("it is not loaded any more")
    expected = None if isinstance(answer, Unavailable) else answer.decode_tokens_per_s
    if expected is None:
        return passed(subject, "{speed} tokens/s, first token after {first:.2f} s; what to expect is not known",
                      speed=run.tokens_per_s, first=run.first_token_seconds, evidence=seen)
    if not isinstance(answer, Unavailable):
        seen.append(saw("expected tokens per second", expected, answer.speed_basis or "gpudoctor fit"))
    if run.concurrency == 1 and run.tokens_per_s < share * expected:
        return warned(
            subject,
            "{speed} tokens/s, first token after {first:.2f} s; this hardware should reach about {expected} "
            "({part:.0%} of it)",
            speed=run.tokens_per_s, first=run.first_token_seconds, expected=expected,
            part=run.tokens_per_s / expected, evidence=seen,
            fix=(step("See whether all layers are on GPUs and nothing else uses them.", "gpudoctor serving {url} -v",
                      url=each.url),
                 step("See whether the GPUs are throttled or badly connected.", "gpudoctor check --only gpu")),
        )  # fmt: skip
    return passed(subject, "{speed} tokens/s, first token after {first:.2f} s; expected about {expected}",
                  speed=run.tokens_per_s, first=run.first_token_seconds, expected=expected, evidence=seen)
