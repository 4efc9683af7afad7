"""The shares that a plan writes work whatever starts first."""

from itertools import permutations

import pytest

from gpudoctor.facts.compose import Place
from gpudoctor.fit.hardware import Hardware, named
from gpudoctor.fit.limits import predict
from gpudoctor.fit.settings import GIB, Settings
from gpudoctor.plan.answer import Placed, plan
from gpudoctor.plan.saying import to_write
from gpudoctor.plan.service import Service

HERE = Place(file="plan.toml", line=1)


def vllm(name: str, model: str, context: int, **more: object) -> Service:
    settings = Settings(engine="vllm", version="0.11.0", context=context, **more)  # type: ignore[arg-type]
    return Service(name, HERE, engine="vllm", models=(model,), settings=settings, written=(0,), pinned=True)


HOUSES = {
    "two-engines": [vllm("a", "Qwen/Qwen3-8B", 8192), vllm("b", "Qwen/Qwen3-4B", 8192)],
    "with-another": [
        vllm("a", "Qwen/Qwen3-8B", 8192),
        Service("w", HERE, kind="faster-whisper", models=("large-v3",), written=(0,), pinned=True),
    ],
    "three": [vllm("a", "Qwen/Qwen3-8B", 4096), vllm("b", "Qwen/Qwen3-4B", 4096), vllm("c", "Qwen/Qwen3-0.6B", 4096)],
    "written-too-high": [
        vllm("a", "Qwen/Qwen3-8B", 8192, gpu_memory_utilization=0.9),
        Service("tool", HERE, memory_bytes=8 * GIB, written=(0,), pinned=True),
    ],
}


def starts(each: Placed, taken: int) -> bool:
    """Ask fit whether it starts where the others hold so much already."""
    assert each.choice is not None
    question = each.choice.load.question
    if question is None:
        return each.choice.claims[0] + taken <= HOUSE.gpus[0].free_bytes
    gpu = HOUSE.gpus[0]._replace(free_bytes=HOUSE.gpus[0].free_bytes - taken)
    return predict(question._replace(hardware=HOUSE._replace(gpus=(gpu,)))).verdict == "fits"


HOUSE = Hardware(named("L40S")[0], live=True)


@pytest.mark.parametrize("name", HOUSES)
def test_every_order_of_starting_works(name: str) -> None:
    placed = plan(HOUSES[name], HOUSE).services
    assert all(each.choice is not None for each in placed)
    for order in permutations(placed):
        taken = 0
        for each in order:
            assert starts(each, taken), [one.service.name for one in order]
            taken += each.choice.claims[0] if each.choice else 0


def test_what_is_left_goes_to_those_that_take_shares() -> None:
    (one, two) = plan(HOUSES["two-engines"], HOUSE).services
    assert one.choice is not None
    assert two.choice is not None
    assert sum(one.choice.claims + two.choice.claims) > 0.9 * HOUSE.gpus[0].usable_bytes


@pytest.mark.parametrize("other", [Service("w", HERE, kind="faster-whisper", models=("large-v3",)),
                                   Service("tool", HERE, memory_bytes=10 * GIB)], ids=["whisper", "tool"])  # fmt: skip
def test_sglang_serves_as_many_tokens_first_as_last(other: Service) -> None:
    settings = Settings(engine="sglang", context=8192)
    chat = Service("chat", HERE, engine="sglang", models=("Qwen/Qwen3-8B",), settings=settings, written=(0,))
    placed = plan([other._replace(written=(0,), pinned=True), chat], HOUSE).services[1]
    assert placed.choice is not None
    assert placed.question is not None
    assert placed.max_tokens is not None
    share = placed.question.settings.gpu_memory_utilization
    for question in (placed.question, placed.question._replace(hardware=HOUSE)):
        found = predict(question, gpu_memory_utilization=share)
        assert found.kv_tokens is not None
        assert found.kv_tokens >= placed.max_tokens >= 8192
    assert f"--max-total-tokens {placed.max_tokens}" in to_write(placed)
