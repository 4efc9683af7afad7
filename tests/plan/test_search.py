"""The search against brute force: no placement is better than the one it calls exact."""

import random
from collections.abc import Callable
from itertools import product

import pytest

from gpudoctor.facts.compose import Place
from gpudoctor.fit.hardware import Hardware, named
from gpudoctor.fit.settings import GIB, Settings
from gpudoctor.plan import search
from gpudoctor.plan.answer import plan
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


CARDS = ("RTX 4090", "RTX 3090", "A100 80GB PCIe", "Quadro RTX 8000", "RTX 4060 Ti 16GB")
#: How GPUs are joined, by number of the GPU and of all.
JOINED: dict[str, Callable[[int, int], tuple[int, ...] | None]] = {
    "not told": lambda i, n: None, "in pairs": lambda i, n: (i ^ 1,) if i ^ 1 < n else (),
    "all": lambda i, n: tuple(x for x in range(n) if x != i),
    "three of them": lambda i, n: tuple(x for x in range(min(3, n)) if x != i) if i < 3 else (),
}  # fmt: skip


def random_house(dice: random.Random) -> Hardware:
    """Two to four cards, equal or mixed, with links, sockets and memory that others hold."""
    count = dice.randint(2, 4)
    kinds = [dice.choice(CARDS)] * count if dice.random() < 0.5 else [dice.choice(CARDS) for _ in range(count)]
    joined = JOINED[dice.choice(tuple(JOINED))]
    gpus = []
    for gpu in named(" + ".join(kinds))[0]:
        i = gpu.number
        node = dice.choice((None, i // 2, i % 2, 0)) if dice.random() < 0.2 else i // 2
        left = dice.choice((0.5, 0.8, 0.95)) if dice.random() < 0.25 else 1.0
        gpus.append(gpu._replace(peers=joined(i, count), numa_node=node, free_bytes=int(gpu.free_bytes * left)))
    return Hardware(tuple(gpus), live=True)


def random_service(dice: random.Random, name: str, gpus: int) -> Service:
    """One of known size, a group of two, an Ollama with two models, or an engine by itself."""
    written = tuple(sorted(dice.sample(range(gpus), dice.choice((1, 1, 1, 2))))) if dice.random() < 0.4 else None
    pinned = written is not None and dice.random() < 0.5
    kind = dice.random()
    if kind < 0.45:
        return Service(name, HERE, memory_bytes=dice.randint(2, 40) * GIB, written=written, pinned=pinned)
    if kind < 0.6:
        model = dice.choice(("Qwen/Qwen3-32B", "Qwen/Qwen3-8B", "Qwen/Qwen3-14B-AWQ"))
        written = written if written and len(written) == 2 else None
        settings = Settings(engine="vllm", context=8192, tensor_parallel=2)
        return Service(name, HERE, engine="vllm", models=(model,), settings=settings, written=written,
                       pinned=pinned and written is not None)  # fmt: skip
    if kind < 0.7:
        settings = Settings(engine="ollama", context=dice.choice((4096, None)))
        return Service(name, HERE, engine="ollama", models=("gpt-oss:20b", "qwen3:8b"), settings=settings,
                       max_loaded=dice.choice((None, 1)), written=written, pinned=pinned)  # fmt: skip
    engine, model = dice.choice((*MODELS, ("sglang", "Qwen/Qwen3-8B"), ("tgi", "Qwen/Qwen3-8B")))
    share = dice.choice((None, None, 0.5, 0.9)) if engine == "vllm" else None
    settings = Settings(engine=engine, context=dice.choice((4096, 16384, None)), gpu_memory_utilization=share)
    return Service(name, HERE, engine=engine, models=(model,), settings=settings, written=written, pinned=pinned)


@pytest.mark.parametrize("part", range(8))
def test_brute_force_finds_nothing_better_in_random_houses(part: int) -> None:
    for seed in range(part * 25, part * 25 + 25):
        dice = random.Random(seed)
        needs = Needs(random_house(dice))
        wanted = [random_service(dice, f"s{n}", len(needs.gpus)) for n in range(dice.randint(2, 4))]
        found = search._placed(wanted, needs, {}, lessened=False)
        options = [choices_of(service, needs)[0] for service in wanted]
        weights = [min((sum(c.claims) for c in each), default=0) for each in options]
        every = (cost_of(way, weights, needs) for way in product(*([*each, None] for each in options)))
        assert found.exact, seed
        assert found.cost == min(cost for cost in every if cost is not None), seed
        assert cost_of(found.choices, weights, needs) == found.cost, seed


def test_ollama_takes_less_of_a_gpu_that_holds_another() -> None:
    hardware = house("3x RTX 4090")
    settings = Settings(engine="ollama", context=32768)
    wanted = [Service("fixed", HERE, memory_bytes=10 * GIB, written=(0,), pinned=True),
              Service("big", HERE, engine="ollama", models=("llama3.3:70b",), settings=settings)]  # fmt: skip
    made = plan(wanted, hardware)
    big = made.services[1]
    assert big.choice is not None
    assert big.prediction is not None
    assert (big.choice.gpus, big.choice.flavour.beside, big.prediction.verdict) == ((0, 1, 2), True, "fits")
    assert big.choice.claims[0] < min(big.choice.claims[1:])
    for gpu in hardware.gpus:
        taken = sum(each.choice.claims[each.choice.gpus.index(gpu.number)] for each in made.services
                    if each.choice and gpu.number in each.choice.gpus)  # fmt: skip
        assert taken <= gpu.free_bytes


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
