"""The search against brute force: no placement is better than the one it calls exact."""

import random
from itertools import product

import pytest

from gpudoctor.facts.compose import Place
from gpudoctor.fit.hardware import Hardware, named
from gpudoctor.fit.settings import GIB, Settings
from gpudoctor.plan import search
from gpudoctor.plan.needs import RESERVE_BYTES, Needs
from gpudoctor.plan.search import LEFT_OUT, SHARED, Choice, choices_of, place
from gpudoctor.plan.service import Service

HERE = Place(file="plan.toml", line=1)
HOUSES = ("3x RTX 4090", "A100 80GB PCIe + 2x RTX 4090", "2x RTX 3090 + 2x RTX 4060 Ti 16GB", "4x Quadro RTX 8000")
MODELS = (
    ("vllm", "Qwen/Qwen3-8B"), ("vllm", "Qwen/Qwen3-14B-AWQ"), ("ollama", "gpt-oss:20b"), ("ollama", "llama3.3:70b"),
)  # fmt: skip


def house(text: str, *, joined: bool = False) -> Hardware:
    gpus = named(text)[0]
    if joined:
        gpus = tuple(gpu._replace(peers=(gpu.number ^ 1,), numa_node=gpu.number // 2) for gpu in gpus)
    return Hardware(gpus, live=True)


def services(seed: int, gpus: int) -> list[Service]:
    made = random.Random(seed)
    found = []
    for n in range(made.randint(2, 4)):
        written = tuple(sorted(made.sample(range(gpus), 1))) if made.random() < 0.4 else None
        pinned = written is not None and made.random() < 0.5
        if made.random() < 0.5:
            service = Service(f"s{n}", HERE, memory_bytes=made.randint(2, 40) * GIB, written=written, pinned=pinned)
        else:
            engine, model = made.choice(MODELS)
            settings = Settings(engine=engine, context=made.choice((4096, 16384)))
            service = Service(
                f"s{n}", HERE, engine=engine, models=(model,), settings=settings, written=written, pinned=pinned
            )
        found.append(service)
    return found


def cost_of(choices: tuple[Choice | None, ...], weights: list[int], needs: Needs) -> int | None:
    """Return what a placement costs, written anew from its definition; None where it does not hold."""
    on: dict[int, list[int]] = {n: [] for n in needs.gpus}
    cost = 0
    for choice, weight in zip(choices, weights, strict=True):
        if choice is None:
            cost += LEFT_OUT + weight // 2**20
            continue
        cost += choice.cost
        for n, claim in zip(choice.gpus, choice.claims, strict=True):
            if claim:
                on[n].append(claim)
    for n, claims in on.items():
        reserve = RESERVE_BYTES * len(claims) if len(claims) > 1 else 0
        if sum(claims) + reserve > needs.gpus[n].free_bytes:
            return None
        cost += SHARED * (len(claims) * (len(claims) - 1) // 2)
        cost += (sum(claims) * 1000 // needs.gpus[n].usable_bytes) ** 2
    return cost


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("text", HOUSES)
@pytest.mark.parametrize("seed", range(8))
def test_brute_force_finds_nothing_better(text: str, seed: int, joined: bool) -> None:
    needs = Needs(house(text, joined=joined))
    wanted = services(seed, len(needs.gpus))
    found = place(wanted, needs)
    assert found.exact
    lessened = any(choice is None for choice in place_without_less(wanted, needs))
    options = [choices_of(service, needs, lessened=lessened)[0] for service in wanted]
    weights = [min((sum(c.claims) for c in each), default=0) for each in options]
    ways = 1
    for each in options:
        ways *= len(each) + 1
    if ways > 60_000:
        pytest.skip(f"{ways} ways are too many to try")
    every = (cost_of(way, weights, needs) for way in product(*([*each, None] for each in options)))
    assert found.cost == min(cost for cost in every if cost is not None)
    assert cost_of(found.choices, weights, needs) == found.cost


def place_without_less(wanted: list[Service], needs: Needs) -> tuple[Choice | None, ...]:
    return search._placed(wanted, needs, {}, lessened=False).choices


def test_a_pair_joined_by_nvlink_stays_together() -> None:
    needs = Needs(house("4x Quadro RTX 8000", joined=True))
    settings = Settings(engine="vllm", tensor_parallel=2, context=8192)
    first = Service("first", HERE, memory_bytes=8 * GIB, written=(1,), pinned=True)
    group = Service("group", HERE, engine="vllm", models=("Qwen/Qwen3-32B",), settings=settings)
    choices = place([first, group], needs).choices
    assert choices[1] is not None
    assert choices[1].gpus == (2, 3)


def test_a_written_place_that_works_is_kept() -> None:
    needs = Needs(house("4x Quadro RTX 8000"))
    one = Service("one", HERE, memory_bytes=20 * GIB, written=(3,))
    two = Service("two", HERE, memory_bytes=20 * GIB, written=(3,))
    assert [choice and choice.gpus for choice in place([one, two], needs).choices] == [(3,), (3,)]


def test_one_that_fits_nowhere_leaves_the_others_their_place() -> None:
    needs = Needs(house("2x RTX 4090"))
    large = Service("large", HERE, memory_bytes=60 * GIB)
    small = Service("small", HERE, memory_bytes=6 * GIB)
    choices = place([large, small], needs).choices
    assert choices[0] is None
    assert choices[1] is not None


def test_two_uneven_cards_each_get_what_they_hold() -> None:
    needs = Needs(house("RTX 4060 Ti 16GB + RTX 4090"))
    large = Service("large", HERE, memory_bytes=20 * GIB)
    small = Service("small", HERE, memory_bytes=12 * GIB)
    assert [choice and choice.gpus for choice in place([small, large], needs).choices] == [(0,), (1,)]


def test_a_search_that_stops_early_leaves_nobody_out_who_has_a_place() -> None:
    needs = Needs(house("64x RTX 4090"))
    many = [Service(f"s{n}", HERE, memory_bytes=(1 + n % 11) * GIB) for n in range(200)]
    found = place(many, needs)
    assert not found.exact
    assert all(choice is not None for choice in found.choices)


def test_gpus_that_an_engine_leaves_empty_stay_written() -> None:
    needs = Needs(house("4x Quadro RTX 8000"))
    settings = Settings(engine="ollama", version="0.11.10", context=8192)
    service = Service("fast", HERE, engine="ollama", models=("gpt-oss:20b",), settings=settings, written=(2, 3))
    (choice,) = place([service], needs).choices
    assert choice is not None
    assert choice.gpus == (2, 3)
    assert sum(claim > 0 for claim in choice.claims) == 1
