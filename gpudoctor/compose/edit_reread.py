"""Reading again only the service that an edit changed: the whole of a large file for every edit takes minutes."""

from gpudoctor.compose.edit_tree import Refused, Spot, read_spots
from gpudoctor.compose.tree import ComposeError


def reread(root: Spot, old: str, new: str) -> Spot:
    """Return where everything of the new text is written; ``root`` is of the old one, and no longer of use.

    Raises:
        Refused, ComposeError: As `read_spots`.
    """
    start = old.rfind("\n", 0, _same_start(old, new)) + 1
    most = min(len(old), len(new)) - start
    end = len(old) - _same_start(old[::-1][:most], new[::-1][:most])
    return root if _spliced(root, old, new, start, end) else read_spots(new)


def _same_start(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _spliced(root: Spot, old: str, new: str, start: int, end: int) -> bool:
    """Put the one service between whose lines the change lies in its place; False where there is no such."""
    at = next((n for n, (key, _) in enumerate(root.pairs) if key.text == "services"), None)
    if root.flow or at is None or root.pairs[at][1].kind != "mapping" or root.pairs[at][1].flow:
        return False
    services, behind = root.pairs[at][1], root.pairs[at + 1 :]
    grown = len(new) - len(old)
    for index, (key, value) in enumerate(services.pairs):
        later = [*services.pairs[index + 1 :], *behind]
        first = old.rfind("\n", 0, key.start) + 1
        last = old.rfind("\n", 0, later[0][0].start) + 1 if later else len(old)
        if not (first < start and end <= last):
            continue
        try:
            part = read_spots(new[first : last + grown])
        except (Refused, ComposeError):
            return False
        if [name.text for name, _ in part.pairs] != [key.text] or _shares(value) or _shares(part):
            return False
        _move(part, first)
        services.pairs[index] = part.pairs[0]
        for pair in later:
            _move(pair[0], grown)
            _move(pair[1], grown)
        services.end = services.pairs[-1][1].end
        root.end = root.pairs[-1][1].end
        return True
    return False


def _spots(spot: Spot) -> list[Spot]:
    """Return it and all that is written below it."""
    found, waiting = [], [spot]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += each.items
        waiting += [one for pair in each.pairs for one in pair]
    return found


def _shares(spot: Spot) -> bool:
    return any(each.anchor or each.kind == "alias" for each in _spots(spot))


def _move(spot: Spot, by: int) -> None:
    for each in _spots(spot):
        each.start += by
        each.content += by
        each.end += by
