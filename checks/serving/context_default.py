"""Requests are longer than the context that the engine was started with.

## Why it matters
Engines start with a default far below what the model can do, cut what is longer, or refuse it. Cut prompts show as
answers that miss half of the question. Ollama's default depends on its version and on the GPU memory that it sees:
4096 on a large server is itself a sign that it sees no GPU.

## How to fix
Raise the context to what model and memory hold; `gpudoctor fit` says how much that is. A context that somebody set on
purpose is a note, a default that leaves room unused a warning.

## References
- https://docs.ollama.com/context-length
- https://docs.ollama.com/faq
- https://docs.vllm.ai/en/latest/configuration/conserving_memory/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, Policy, check, noted, passed, saw, skipped, step, warned
from gpudoctor.checking.finding import Evidence, Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.docker import Containers
from gpudoctor.facts.driver import Driver
from gpudoctor.facts.gpus import Gpus
from gpudoctor.facts.host import Memory
from gpudoctor.facts.serving import Endpoint, ServedModel, Serving
from gpudoctor.judging.served import Machine, predicted, settings_of, slots_of, variables_of


@check()
def context_default(
    serving: Serving,
    gpus: Gpus | Unavailable,
    memory: Memory | Unavailable,
    driver: Driver | Unavailable,
    containers: Containers | Unavailable,
    policy: Policy,
) -> Iterator[Finding]:
    """Judge the context of each loaded model against the model's own and against the room."""
    machine = Machine(gpus, memory, driver, containers)
    known = [(each, model) for each in serving.answering for model in each.loaded if model.context]
    if not known:
        yield skipped("host", "no engine here tells the context of a loaded model")
    for each, model in known:
        yield _judge(each, model, machine, policy["context_room_factor"])


def _judge(each: Endpoint, model: ServedModel, machine: Machine, factor: float) -> Finding:
    context, subject = model.context or 1, f"model:{model.name}"
    answer = predicted(each, model, machine)
    most = model.context_maximum
    room = None
    if not isinstance(answer, Unavailable):
        most = most or answer.question.model.context_maximum
        room = answer.limits.max_context
    seen = (saw("context of a request", context, each.url), saw("the model's own", most, each.url),
            saw("fits here", room, "gpudoctor fit"), *_set(each, machine))
    if most is None:
        return skipped(subject, "the longest context of {model} is not known", model=model.name, evidence=seen)
    if context >= most:
        return passed(subject, "{context} tokens, all that {model} was made for", context=context, model=model.name,
                      evidence=seen)
    if room is None:
        return skipped(subject, "{context} of {most} tokens; what fits here is not known", context=context, most=most,
                       evidence=seen)
    best = min(room, most)
    if best < context * factor:
        return passed(subject, "{context} tokens; at most {best} would fit", context=context, best=best, evidence=seen)
    if _chosen(each, model, machine):
        return noted(subject, "{model} is set to {context} tokens; up to {best} fit here", model=model.name,
                     context=context, best=best, evidence=seen, fix=_raise(each, best))
    return warned(subject, "{model} runs with the default context of {context} tokens; up to {best} fit here",
                  model=model.name, context=context, best=best, evidence=seen, fix=_raise(each, best))


def _set(each: Endpoint, machine: Machine) -> tuple[Evidence, ...]:
    variables = variables_of(each, machine.containers)
    if each.engine != "ollama" or variables is None:
        return ()
    text = variables.get("OLLAMA_CONTEXT_LENGTH", "not set")
    return (saw("OLLAMA_CONTEXT_LENGTH", text, "the engine's environment"),
            saw("parallel slots", slots_of(each, machine.containers), "its environment, or its default"))


def _chosen(each: Endpoint, model: ServedModel, machine: Machine) -> bool:
    """True unless it can be seen that nobody chose the context: a model or a request may have brought it, too."""
    if each.engine == "ollama":
        variables = variables_of(each, machine.containers)
        if variables is None or "OLLAMA_CONTEXT_LENGTH" in variables:
            return True
        left_alone = predicted(each, model, machine, context=None)
        return isinstance(left_alone, Unavailable) or left_alone.prediction.settings.context != model.context
    settings = settings_of(each, machine.containers)
    # The others take the model's own length when nobody says otherwise.
    return each.engine != "llama.cpp" or not settings or "context" in settings


def _raise(each: Endpoint, best: int) -> tuple[Step, ...]:
    if each.engine == "ollama":
        return (step("Set OLLAMA_CONTEXT_LENGTH for its service; a request may also ask with options.num_ctx.",
                     "OLLAMA_CONTEXT_LENGTH={best} ollama serve", risk="loads the models anew", best=best),)
    if each.engine == "llama.cpp":
        return (step("-c is the context of all slots together: context times slots.", "llama-server -c {best}",
                     best=best),)
    return (step("Start it with a longer maximum.", "vllm serve MODEL --max-model-len {best}", best=best),)
