"""Which service goes on which GPUs: branch and bound over every set that runs, exact where it ends by itself."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from gpudoctor.plan.needs import LADDER, RESERVE_BYTES, Needs
from gpudoctor.plan.service import LAYERED, PARALLEL, Flavour, Load, Service

# What a placement costs, the dearer before any number of the cheaper: a service left out, a shorter context than the
# engine's default, a change of what is written, tensor parallel without its links, over sockets or unequal cards,
# more GPUs than needed, a GPU shared, and at last how full the GPUs get (squares: evenly is better).
LEFT_OUT, SHORTER, CHANGED, UNLINKED, APART, CARDS, SHARED = 10**21, 10**19, 10**17, 10**15, 10**13, 10**11, 10**9
#: Choices looked at before the search stops with the best it has.
MOST_STEPS = 40_000
#: Sets of one size tried for one service; beyond it only neighbours, link groups and what is written.
_MOST_SETS = 600


class Choice(NamedTuple):
    """One way to place one service: GPUs, what it holds of each, and what it costs by itself."""

    gpus: tuple[int, ...]
    claims: tuple[int, ...]
    cost: int
    flavour: Flavour
    load: Load


class Placement(NamedTuple):
    """The best found: a choice for each service, None where it fits nowhere.

    ``exact``: nothing better exists, sets of more than four times the GPUs that a service needs aside (twice, on more
    than eight GPUs).
    """

    choices: tuple[Choice | None, ...]
    cost: int
    exact: bool
    steps: int


def choices_of(service: Service, needs: Needs, *, lessened: bool = False) -> tuple[tuple[Choice, ...], bool]:
    """Return every way to place a service on idle GPUs, cheapest first, and whether none was left out.

    ``lessened`` adds shorter contexts, and models that make room for each other.
    """
    numbers = tuple(needs.gpus)
    complete = True
    found: list[Choice] = []
    for flavour in flavours(service, lessened):
        sizes = _sizes(service, len(numbers))
        first = 0
        for count in sizes:
            # A set far larger than the smallest that runs only takes GPUs away from others.
            if first and count > (4 if len(numbers) <= 8 else 2) * first:
                break
            sets, all_of_them = _sets(service, count, needs)
            complete = complete and all_of_them
            for gpus in sets:
                load = needs.load(service, gpus, flavour)
                if load is None:
                    continue
                first = first or count
                if not all(load.claims) and gpus != service.written:
                    # An engine that leaves GPUs empty was counted with fewer.
                    continue
                found.append(Choice(gpus, load.claims, _cost(service, gpus, flavour, needs), flavour, load))
    found.sort(key=lambda choice: (choice.cost, choice.gpus))
    return tuple(found), complete


def flavours(service: Service, lessened: bool) -> tuple[Flavour, ...]:
    """Return the ways to run a service: its own words first, then with less."""
    shares = [False]
    if service.takes_share:
        shares = [True] if service.settings.gpu_memory_utilization is None else [False, True]
    contexts: list[int | None] = [None]
    if lessened and service.settings.context is None and service.engine is not None:
        contexts += LADDER
    turns = [False, True] if lessened and len(service.models) > 1 else [False]
    return tuple(
        Flavour(context, free, steps, lowered=free and len(shares) > 1, in_turn=turn)
        for steps, context in enumerate(contexts)
        for turn in turns
        for free in shares
    )


def _sizes(service: Service, most: int) -> tuple[int, ...]:
    if service.pinned and service.written:
        return (len(service.written),)
    ranks = (service.settings.tensor_parallel or 1) * (service.settings.pipeline_parallel or 1)
    told = service.settings.tensor_parallel is not None or service.settings.pipeline_parallel is not None
    if service.engine in PARALLEL:
        if told:
            return (ranks,) if ranks <= most else ()
        return tuple(n for n in (1, 2, 4, 8, 16) if n <= most)
    if service.engine is None or service.memory_bytes is not None:
        # Nobody says how a process that gpudoctor does not know divides itself.
        return (len(service.written),) if service.written else (1,)
    if service.engine == "transformers":
        return (1,)
    return tuple(range(1, min(most, 16) + 1))


def _sets(service: Service, count: int, needs: Needs) -> tuple[Sequence[tuple[int, ...]], bool]:
    if service.pinned and service.written:
        return ([service.written] if all(n in needs.gpus for n in service.written) else []), True
    if count not in needs.sets:
        needs.sets[count] = _sets_of(count, needs)
    sets, complete = needs.sets[count]
    written = service.written
    if written and len(written) == count and not complete and written not in sets:
        return [*sets, written], False
    return sets, complete


def _sets_of(count: int, needs: Needs) -> tuple[list[tuple[int, ...]], bool]:
    """Return all sets of so many GPUs; where they are too many, neighbours among all, among equals and among linked."""
    numbers = tuple(needs.gpus)
    if math.comb(len(numbers), count) <= max(_MOST_SETS, len(numbers)):
        return list(combinations(numbers, count)), True
    rows = {numbers}
    rows |= {tuple(sorted({gpu.number, *(gpu.peers or ())} & {*numbers})) for gpu in needs.gpus.values()}
    names = {gpu.name for gpu in needs.gpus.values()}
    rows |= {tuple(n for n in numbers if needs.gpus[n].name == name) for name in names}
    return sorted({row[i : i + count] for row in rows for i in range(len(row) - count + 1)}), False


def _cost(service: Service, gpus: tuple[int, ...], flavour: Flavour, needs: Needs) -> int:
    cost = SHORTER * (2 * flavour.steps + flavour.in_turn) + (CHANGED if flavour.lowered else 0)
    cost += CARDS * (len(gpus) - 1)
    if service.written is not None and set(gpus) != set(service.written):
        cost += CHANGED
    if len(gpus) < 2:
        return cost
    cards = [needs.gpus[n] for n in gpus]
    sockets = {card.numa_node for card in cards if card.numa_node is not None}
    cost += APART * max(len(sockets) - 1, 0)
    if service.engine in PARALLEL:
        chosen = set(gpus)
        if any(card.peers for card in needs.gpus.values()):
            cost += UNLINKED * sum(not chosen - {card.number} <= set(card.peers or ()) for card in cards)
        cost += APART * (len({card.name for card in cards}) - 1)
    return cost


class _Room:
    """What is left on every GPU while services are put on and taken off."""

    def __init__(self, needs: Needs) -> None:
        self.free = {n: gpu.free_bytes for n, gpu in needs.gpus.items()}
        self.total = {n: max(gpu.usable_bytes, 1) for n, gpu in needs.gpus.items()}
        self.used = dict.fromkeys(self.free, 0)
        self.count = dict.fromkeys(self.free, 0)

    def takes(self, choice: Choice) -> bool:
        """True if it fits beside what is there; several processes on a GPU need their reserve."""
        for n, claim in zip(choice.gpus, choice.claims, strict=True):
            if not claim:
                continue
            others = self.count[n]
            if self.used[n] + claim + (RESERVE_BYTES * (others + 1) if others else 0) > self.free[n]:
                return False
        return True

    def added(self, choice: Choice) -> int:
        """Return what it costs beside its own cost: GPUs shared, and how full they get."""
        cost = 0
        for n, claim in zip(choice.gpus, choice.claims, strict=True):
            if claim:
                cost += SHARED * self.count[n]
                before, now = self.used[n] * 1000 // self.total[n], (self.used[n] + claim) * 1000 // self.total[n]
                cost += now * now - before * before
        return cost

    def put(self, choice: Choice, sign: int = 1) -> None:
        """Put a service on its GPUs, or take it off with -1."""
        for n, claim in zip(choice.gpus, choice.claims, strict=True):
            if claim:
                self.used[n] += sign * claim
                self.count[n] += sign


def place(services: Sequence[Service], needs: Needs, busy: Mapping[int, int] | None = None) -> Placement:
    """Return the cheapest placement of all services.

    Args:
        services: Only those whose memory is known.
        needs: The GPUs and what fits on them.
        busy: Processes of unknown size by GPU: others avoid those GPUs where they can.
    """
    best = _spread(services, _placed(services, needs, busy or {}, lessened=False), needs)
    if any(choice is None for choice in best.choices):
        # A service left out costs more than every shorter context.
        best = _spread(services, _placed(services, needs, busy or {}, lessened=True), needs)
    return best


def _spread(services: Sequence[Service], best: Placement, needs: Needs) -> Placement:
    """Put those left out of engines that divide layers by what is free on GPUs that are partly taken.

    Such an engine takes less of a GPU that holds somebody else, which the search, on idle GPUs, does not see.
    """
    chosen = list(best.choices)
    for i, service in enumerate(services):
        if chosen[i] is None and service.engine in LAYERED:
            ways, _ = choices_of(service, beside(needs, [each for each in chosen if each is not None]))
            # Where it fits an idle GPU the search has tried it.
            way = next((each for each in ways if len(each.gpus) > 1), None)
            chosen[i] = way and way._replace(flavour=way.flavour._replace(beside=True))
    if chosen == list(best.choices):
        return best
    cost = best.cost - sum(LEFT_OUT for before, now in zip(best.choices, chosen, strict=True) if now and not before)
    return Placement(tuple(chosen), cost, False, best.steps)


def beside(needs: Needs, others: Sequence[Choice]) -> Needs:
    """Return what fits on the memory that others leave, their CUDA contexts' reserve set aside."""
    room = _Room(needs)
    for each in others:
        room.put(each)
    gpus = tuple(
        gpu._replace(free_bytes=max(room.free[gpu.number] - room.used[gpu.number] - (
            RESERVE_BYTES * (room.count[gpu.number] + 1) if room.count[gpu.number] else 0), 0))
        for gpu in needs.hardware.gpus
    )  # fmt: skip
    return Needs(needs.hardware._replace(gpus=gpus))


def _placed(services: Sequence[Service], needs: Needs, busy: Mapping[int, int], *, lessened: bool) -> Placement:
    every = [choices_of(service, needs, lessened=lessened) for service in services]
    options = [choices for choices, _ in every]
    room = _Room(needs)
    for n, count in busy.items():
        room.count[n] += count
    search = _Search(options, room, _twins(services, needs, busy), [_weight(each) for each in options])
    best = search.run()
    complete = all(whole for _, whole in every) and not search.stopped
    return Placement(tuple(best[1]), best[0], complete, search.steps)


def _weight(options: Sequence[Choice]) -> int:
    """Return the least memory that a service takes, over all its GPUs."""
    return min((sum(choice.claims) for choice in options), default=0)


def _twins(services: Sequence[Service], needs: Needs, busy: Mapping[int, int]) -> dict[int, int]:
    """Return by GPU a number that it shares with those for which it could stand while they are equally full."""
    named = {n for service in services for n in service.written or ()}
    keys: dict[int, tuple[object, ...]] = {}
    for n, gpu in needs.gpus.items():
        group = tuple(sorted({n, *(gpu.peers or ())}))
        linked = group if gpu.peers else ()
        alike = (gpu.name, gpu.usable_bytes, gpu.free_bytes, linked, gpu.numa_node)
        keys[n] = (n,) if n in named or n in busy else alike
    seen: dict[tuple[object, ...], int] = {}
    return {n: seen.setdefault(key, len(seen)) for n, key in keys.items()}


class _Search:
    def __init__(
        self, options: Sequence[Sequence[Choice]], room: _Room, twins: Mapping[int, int],
        weights: Sequence[int],
    ) -> None:  # fmt: skip
        self.options, self.room, self.twins, self.weights = options, room, twins, weights
        # The largest first, and those with the fewest ways among equals: what fails, fails early.
        self.order = sorted(range(len(options)), key=lambda i: (-weights[i], len(options[i]), i))
        # The least that the rest can cost: each at its own cheapest, alone on an empty GPU.
        self.rest = [0] * (len(options) + 1)
        for place_, i in reversed(list(enumerate(self.order))):
            self.rest[place_] = self.rest[place_ + 1] + min((c.cost for c in options[i]), default=LEFT_OUT)
        self.chosen: list[Choice | None] = [None] * len(options)
        self.best: tuple[int, list[Choice | None]] = (LEFT_OUT * (len(options) + 1), list(self.chosen))
        self.steps = 0
        self.stopped = False

    def run(self) -> tuple[int, list[Choice | None]]:
        """Begin with each service's own best, so that no search that stops early leaves one out that has a place."""
        self._greedily()
        self._down(0, 0)
        return self.best

    def _greedily(self) -> None:
        cost = 0
        chosen: list[Choice | None] = [None] * len(self.options)
        for i in self.order:
            open_ = [choice for choice in self.options[i] if self.room.takes(choice)]
            best = min(open_, key=lambda choice: choice.cost + self.room.added(choice), default=None)
            if best is None:
                cost += self._left_out(i)
                continue
            cost += best.cost + self.room.added(best)
            self.room.put(best)
            chosen[i] = best
        for choice in chosen:
            if choice is not None:
                self.room.put(choice, -1)
        self.best = (cost, chosen)

    def _left_out(self, i: int) -> int:
        return LEFT_OUT + self.weights[i] // 2**20

    def _down(self, depth: int, cost: int) -> None:
        if cost + self.rest[depth] >= self.best[0]:
            return
        if depth == len(self.order):
            self.best = (cost, list(self.chosen))
            return
        if self.steps > MOST_STEPS:
            self.stopped = True
            return
        i = self.order[depth]
        ways: list[tuple[int, Choice]] = []
        met: set[tuple[object, ...]] = set()
        for choice in self.options[i]:
            self.steps += 1
            if cost + choice.cost + self.rest[depth + 1] >= self.best[0]:
                break
            if not self.room.takes(choice):
                continue
            # Equal GPUs that are equally full: one of them stands for all.
            key = (choice.cost, tuple(sorted(
                (self.twins[n], self.room.used[n], self.room.count[n], claim) for n, claim
                in zip(choice.gpus, choice.claims, strict=True)
            )))  # fmt: skip
            if key not in met:
                met.add(key)
                ways.append((choice.cost + self.room.added(choice), choice))
        ways.sort(key=lambda way: way[0])
        for extra, choice in ways:
            if cost + extra + self.rest[depth + 1] >= self.best[0]:
                break
            self.room.put(choice)
            self.chosen[i] = choice
            self._down(depth + 1, cost + extra)
            self.chosen[i] = None
            self.room.put(choice, -1)
        # Leaving it out comes last: it costs more than anything else.
        left = self._left_out(i)
        if cost + left + self.rest[depth + 1] < self.best[0]:
            self._down(depth + 1, cost + left)
