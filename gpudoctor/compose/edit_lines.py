"""Insert, take out and replace one thing in a YAML text; whoever calls proves that only that changed.

No comment is lost: one that stood behind what is taken out stays on a line of its own.
"""

from bisect import bisect_right
from typing import Any

from gpudoctor.compose.edit_render import Manner, block, inline
from gpudoctor.compose.edit_tree import Refused, Spot


def manner_of(text: str, root: Spot | None) -> Manner:
    """Return how the file is written, by its first examples of each habit."""
    if root is None:
        return Manner()
    step = dash = 0
    waiting = [root]
    while waiting and not (step and dash):
        spot = waiting.pop(0)
        for key, value in spot.pairs if not spot.flow else ():
            if value.kind == "mapping" and not value.flow and value.pairs:
                step = step or _column(text, value.pairs[0][0].start) - _column(text, key.start)
            elif value.kind == "sequence" and not value.flow and not dash and value.items:
                dash = _column(text, _dash(text, value.items[0])) - _column(text, key.start) + 1
        waiting += [value for _, value in spot.pairs] + spot.items
    step = step if step > 0 else 2
    styles = {spot.style for spot in root.scalars()}
    quote = '"' if '"' in styles and "'" not in styles else "'"
    newline = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    return Manner(step, dash - 1 if dash else step, quote, newline, bool(root.pairs) and root.pairs[0][0].style == '"')


def insert_pair(text: str, root: Spot, holder: Spot, key: str, value: Any, after: str = "") -> str:
    """Return the text with a new key in a mapping, behind the key ``after`` or at its end."""
    manner = manner_of(text, root)
    if holder.kind != "mapping":
        raise Refused(f"{key} would stand in no mapping")
    pair = f"{inline(key, manner)}: {inline(value, manner)}"
    if not holder.pairs:
        return text[: holder.content] + "{" + pair + "}" + text[holder.end :]
    sibling = next((pair for pair in holder.pairs if pair[0].text == after), holder.pairs[-1])
    end = max(sibling[0].end, sibling[1].end)
    if holder.flow:
        return text[:end] + ", " + pair + text[end:]
    lines = manner.newline.join(block(key, value, _column(text, holder.pairs[0][0].start), manner))
    return _insert_lines(text, _line_end(text, end), lines, manner.newline)


def fill_pair(text: str, root: Spot, holder: Spot, index: int, value: Any) -> str:
    """Return the text with a value for a key that has none."""
    key, empty = holder.pairs[index]
    if empty.end > empty.start:
        raise Refused(f"{key.text} has a value already")
    manner = manner_of(text, root)
    _, *lines = block(key.text, value, _column(text, key.start), manner)
    if holder.flow or not lines:
        return text[: empty.end] + " " + inline(value, manner) + text[empty.end :]
    return _insert_lines(text, _line_end(text, empty.end), manner.newline.join(lines), manner.newline)


def insert_item(text: str, root: Spot, holder: Spot, item: str) -> str:
    """Return the text with one more item at the end of a list that has some."""
    manner = manner_of(text, root)
    if holder.kind != "sequence" or not holder.items:
        raise Refused("it would stand in no list")
    last = holder.items[-1]
    if holder.flow:
        return text[: last.end] + ", " + inline(item, manner) + text[last.end :]
    dash = _dash(text, last)
    line = " " * _column(text, dash) + text[dash : last.start] + inline(item, manner)
    return _insert_lines(text, _line_end(text, last.end), line, manner.newline)


def _insert_lines(text: str, stop: int, lines: str, newline: str) -> str:
    """Put lines behind a line; behind the last one, which may not end, the text ends as before."""
    if text[:stop].endswith("\n"):
        return text[:stop] + lines + newline + text[stop:]
    return text + newline + lines


def replace_scalar(text: str, spot: Spot, written: str) -> str:
    """Return the text with other characters for a scalar, quotes included."""
    return text[: spot.content] + written + text[spot.end :]


def delete_pair(text: str, root: Spot, holder: Spot, index: int) -> str:
    """Return the text without a key and its value; a mapping that loses its last key becomes ``{}``."""
    key, value = holder.pairs[index]
    end = max(key.end, value.end)
    if holder.flow:
        return _delete_flow(text, root, [pair[0] for pair in holder.pairs], key.start, end)
    first, stop = _line_start(text, key.start), _line_end(text, end)
    before = text[first : key.start]
    # Behind a dash, a comment goes where the dash is.
    kept = _comments(text, root, first + len(before) - len(before.lstrip(" ")), stop)
    if len(holder.pairs) == 1:
        opening = _opening(text, root, holder)
        if before.strip(" "):
            raise Refused(f"without {key.text} an item of a list would be left with nothing")
        return text[:opening] + " {}" + text[opening:first] + kept + text[stop:]
    if not before.strip(" "):
        return text[:first] + kept + text[stop:]
    if index or before.strip(" -"):
        raise Refused(f"{key.text} shares its line with something else")
    # The first key behind a dash: the next one moves up, and comments between them to the line before.
    following = holder.pairs[1][0].start
    if not text[stop:following].strip():
        return text[:first] + kept + before + text[following:]
    line = _line_start(text, following)
    return text[:first] + kept + text[stop:line] + before + text[following:]


def delete_item(text: str, root: Spot, holder: Spot, index: int) -> str:
    """Return the text without an item of a list that has others."""
    item = holder.items[index]
    if holder.flow:
        return _delete_flow(text, root, holder.items, item.start, item.end)
    dash = _dash(text, item)
    first, stop = _line_start(text, dash), _line_end(text, item.end)
    if text[first:dash].strip(" "):
        raise Refused("an item of a list shares its line with something else")
    return text[:first] + _comments(text, root, dash, stop) + text[stop:]


def _delete_flow(text: str, root: Spot, siblings: list[Spot], start: int, end: int) -> str:
    spans = _spans(root)
    comma = _skip(text, end, spans)
    if text[comma : comma + 1] == ",":
        # What stands between value and comma (a comment) stays.
        rest = comma + 1
        if not text[end:comma].strip():
            while text[rest : rest + 1] in (" ", "\t"):
                rest += 1
            return _without_blank_line(text[:start], text[rest:])
        return text[:start] + text[end:comma] + text[rest:]
    earlier = max((each.start for each in siblings if each.start < start), default=None)
    if earlier is None:
        return text[:start] + text[end:]
    comma = text.rfind(",", earlier, start)
    while comma > 0 and (_inside(comma, spans) or _in_comment(text, comma, spans)):
        comma = text.rfind(",", earlier, comma)
    if comma < 0:
        raise Refused("a list or mapping in brackets cannot be taken apart")
    between = text[comma + 1 : start]
    return _without_blank_line(text[:comma] + (between if between.strip() or "\n" in between else ""), text[end:])


def _without_blank_line(before: str, behind: str) -> str:
    """Join, without the line that was left with nothing on it."""
    line = before.rpartition("\n")[2]
    rest, newline, following = behind.partition("\n")
    if "\n" in before and newline and not line.strip() and not rest.strip():
        return before[: len(before) - len(line)] + following
    return before + behind


def _comments(text: str, root: Spot, start: int, stop: int) -> str:
    """Return the comments of some whole lines, each on its own line, and the blank lines among them."""
    spans, kept = _spans(root), []
    indent, first = " " * _column(text, start), _line_start(text, start)
    position = first
    while position < stop:
        end = _line_end(text, position)
        sign = _comment_start(text, position, end, spans)
        if sign is not None:
            own = not text[position:sign].strip()
            kept.append(text[position:end] if own else indent + text[sign:end])
        elif not text[position:end].strip() and not _inside(position - 1, spans):
            kept.append(text[position:end])
        position = end
    return "".join(kept)


def _comment_start(text: str, start: int, end: int, spans: tuple[list[int], list[int]]) -> int | None:
    sign = text.find("#", start, end)
    while sign >= 0:
        if (sign == start or text[sign - 1] in " \t") and not _inside(sign, spans):
            return sign
        sign = text.find("#", sign + 1, end)
    return None


def _in_comment(text: str, offset: int, spans: tuple[list[int], list[int]]) -> bool:
    return _comment_start(text, _line_start(text, offset), offset, spans) is not None


def _skip(text: str, offset: int, spans: tuple[list[int], list[int]]) -> int:
    """Return the offset of the next character that is neither space nor comment."""
    while offset < len(text):
        if text[offset] == "#" and text[offset - 1] in " \t\n":
            offset = _line_end(text, offset)
        elif text[offset].isspace():
            offset += 1
        else:
            break
    return offset


def _spans(root: Spot) -> tuple[list[int], list[int]]:
    scalars = sorted((spot.start, spot.end) for spot in root.scalars())
    return [start for start, _ in scalars], [end for _, end in scalars]


def _inside(offset: int, spans: tuple[list[int], list[int]]) -> bool:
    index = bisect_right(spans[0], offset) - 1
    return index >= 0 and offset < spans[1][index]


def _opening(text: str, root: Spot, holder: Spot) -> int:
    """Return where a mapping's first line of its own could have begun: behind the key's colon, or its anchor."""
    if holder.content > holder.start:
        return holder.start + len(text[holder.start : holder.content].rstrip())
    waiting = [root]
    while waiting:
        spot = waiting.pop()
        for key, value in spot.pairs:
            if value is holder:
                return text.index(":", key.end) + 1
        waiting += [value for _, value in spot.pairs] + spot.items
    raise Refused("the file would be left with nothing")


def _dash(text: str, item: Spot) -> int:
    dash = text.rfind("-", 0, item.start)
    if dash < 0 or text[dash + 1 : item.start].strip():
        raise Refused("a list cannot be taken apart")
    return dash


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _line_end(text: str, offset: int) -> int:
    """Return the offset behind the line's break."""
    end = text.find("\n", offset)
    return len(text) if end < 0 else end + 1


def _column(text: str, offset: int) -> int:
    return offset - _line_start(text, offset)
