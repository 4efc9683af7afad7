"""The catalogues of translations: collect every text that people read, keep what is translated, compile.

Without options it updates gpudoctor/locale/*/LC_MESSAGES/gpudoctor.po and .mo. ``--missing`` prints what is not
translated yet as a .po to fill in; ``--take FILE`` takes translations from such a file.

A text that is put together where it arises (``f"{name} is no wheel"``: why something failed or is not known) is
collected as the template ``{name} is no wheel``; gpudoctor/reports/retold.py finds it again by that.

Needs Babel, which is a tool for building only: the catalogues are read with Python's own gettext.
"""

import argparse
import ast
import collections
import datetime
import io
import itertools
import re
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
LOCALE = ROOT / "gpudoctor" / "locale"
LANGUAGES = ("ko",)
SOURCES = ("checks", "gpudoctor")
#: Function -> which positional arguments are texts; and keywords that hold one in any call.
CALLS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("passed", "failed", "warned", "noted", "unknown", "skipped"), (1,)),
    # What checks call the one of these that the case asks for.
    **dict.fromkeys(("said", "say", "not_known"), (1,)),
    "step": (0,), "Step": (0,), "saw": (0,), "tell_many": (0, 1), "Failure": (0, 2),
    **dict.fromkeys(("tell", "told", "_said", "wide"), (0,)),
    "tell_open": (1,), "Reason": (2, 4), "Advice": (0,),
}  # fmt: skip
KEYWORDS: dict[str, frozenset[str]] = {
    "risk": frozenset(CALLS), "message": frozenset({"Finding"}), "help": frozenset({"Option", "Argument"}),
    "text": frozenset({"Advice", "_replace"}), "steps": frozenset({"Reason"}),
}  # fmt: skip
#: Why something failed or is not known, in the words of the place where that happened: functions and keywords of
#: any. Values, names and figures stand in the same positions, so only what has words counts.
REASON_CALLS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("Unavailable", "give_up", "doing", "left_out", "_or_why", "closed_gate", "_fail", "expect",
                     "_read", "broken", "Broken", "_Form", "note"), (0, 1, 2)),
    **dict.fromkeys(("unavailable", "no", "wrong", "_note", "_failed", "_stand_in", "closed", "CudaError", "Term",
                     "Integration", "Unreadable", "_explained", "Verdict", "_Need", "Format", "_broken"), (0, 1, 2)),
    **dict.fromkeys(("NoAnswer", "Unusable", "ComposeError", "Refused", "NotReplaced"), (0, 1, 2)),
    "GpuPath": (3,), "FixStep": (0, 2), "Failure": (0, 1, 2), "render": (0,), "_tell": (0,),
}  # fmt: skip
#: Names of lists that such sentences are gathered in.
GATHERED = frozenset({"assumed", "why", "taken"})
REASONS = frozenset({"failure", "problem", "unreadable", "reason", "why", "hint", "title"})

#: Tables whose every text is said somewhere.
TABLES_OF_TEXTS = frozenset({"FOREIGN", "TABLES", "_OUTCOMES"})

Text = tuple[str, str]
#: Name -> what a file assigns to it, in any function: a sentence is chosen first and said later.
Constants = dict[str, list[ast.expr]]


def texts(root: Path = ROOT) -> Iterator[Text]:
    """Yield every text with the file it stands in; a text in several places comes several times."""
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            place = str(path.relative_to(root))
            yield from ((text, place) for text in _in_code(ast.parse(path.read_text(encoding="utf-8")), place))
    for path in sorted((root / "gpudoctor").rglob("*.j2")):
        told = re.findall(r'(?:tell|told)\("([^"]+)"', path.read_text(encoding="utf-8"))
        yield from ((text, str(path.relative_to(root))) for text in told)
    table = root / "gpudoctor" / "matrices" / "signatures.toml"
    yield from ((text, str(table.relative_to(root))) for text in _in_signatures(table))
    faults = table.with_name("containers.toml")
    yield from ((bug["what"], str(faults.relative_to(root))) for bug in _table(faults)["bugs"])


def _in_code(tree: ast.Module, place: str) -> Iterator[str]:
    constants: Constants = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    constants.setdefault(target.id, []).append(node.value)
                    if target.id in TABLES_OF_TEXTS:
                        yield from _texts_in(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for position in CALLS.get(name, ()):
                if position < len(node.args):
                    yield from _strings(node.args[position], constants)
            for position in REASON_CALLS.get(name, ()):
                if position < len(node.args):
                    yield from _sentences(node.args[position], constants)
            for keyword in node.keywords:
                if keyword.arg is not None and name in KEYWORDS.get(keyword.arg, ()):
                    yield from _strings(keyword.value, constants)
                if keyword.arg in REASONS:
                    yield from _sentences(keyword.value, constants)
            if name == "append" and getattr(getattr(node.func, "value", None), "id", "") in GATHERED:
                yield from _sentences(node.args[0], constants)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return) and node.value is not None:
            yield from _chosen(node, constants)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                yield from _sentences(argument, constants)
    if place.startswith("gpudoctor/cli/"):
        yield from _of_commands(tree)
    if place.startswith("checks/") and (manual := ast.get_docstring(tree)):
        yield " ".join(manual.split("\n\n")[0].split())


def _of_commands(tree: ast.Module) -> Iterator[str]:
    """Yield the help of commands: docstrings of functions with options, and the lists of commands."""
    for node in tree.body:
        text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
        if text and "Annotated" in ast.dump(node.args):  # type: ignore[attr-defined]
            yield text
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict) and "COMMANDS" in ast.dump(node.target):
            for value in node.value.values:
                yield ast.literal_eval(value)[1]


def _strings(node: ast.expr, constants: Constants) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _strings(node.body, constants)
        yield from _strings(node.orelse, constants)
    elif isinstance(node, ast.Name) and node.id in constants:
        for value in constants[node.id]:
            yield from _strings(value, {})
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _strings(value, constants)
    elif isinstance(node, ast.Tuple) and node.elts and all(isinstance(each, ast.Tuple) for each in node.elts):
        # Steps: words, command.
        for each in node.elts:
            yield from _strings(each.elts[0], constants)  # type: ignore[attr-defined]
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        yield from _strings(node.value, constants)
    elif isinstance(node, ast.JoinedStr | ast.BinOp):
        yield from filter(_is_sentence, (_template(pieces) for pieces in _variants(node)))


def _sentences(node: ast.expr, constants: Constants) -> Iterator[str]:
    return filter(_is_sentence, _strings(node, constants))


def _chosen(node: ast.Assign | ast.AugAssign | ast.Return, constants: Constants) -> Iterator[str]:
    """Yield the sentences of an assignment to such a list, and those that a function returns."""
    if isinstance(node, ast.Return):
        if isinstance(node.value, ast.JoinedStr | ast.Constant | ast.IfExp | ast.BinOp):
            yield from _sentences(node.value, {})
        return
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if not any(isinstance(target, ast.Name) and target.id in GATHERED for target in targets):
        return
    parts = node.value.elts if isinstance(node.value, ast.Tuple | ast.List) else [node.value]
    for part in parts:
        yield from _sentences(part, constants)


def _texts_in(node: ast.expr) -> Iterator[str]:
    table = ast.literal_eval(node)
    yield from table.values() if isinstance(table, dict) else table


def _is_sentence(text: str) -> bool:
    """Say whether there are words to translate, beside values."""
    try:
        words = " ".join(literal for literal, _, _, _ in string.Formatter().parse(text))
    except ValueError:
        words = text
    return " " in text.strip() and len(re.findall(r"[A-Za-z]{2,}", words)) >= 2


Pieces = list[str | ast.expr]


def _variants(node: ast.expr) -> list[Pieces]:
    """Return what a text is put together from: words and values; one row for each choice that stands in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [[node.value]]
    if isinstance(node, ast.IfExp):
        return _variants(node.body) + _variants(node.orelse)
    if isinstance(node, ast.FormattedValue):
        return _variants(node.value) if isinstance(node.value, ast.IfExp | ast.Constant) else [[node.value]]
    if isinstance(node, ast.JoinedStr):
        parts = [_variants(part) for part in node.values]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_variants(node.left), _variants(node.right)]
    else:
        return [[node]]
    return [[piece for row in rows for piece in row] for rows in itertools.islice(itertools.product(*parts), 8)]


def _template(pieces: Pieces) -> str:
    seen: collections.Counter[str] = collections.Counter()
    said = ""
    for piece in pieces:
        if isinstance(piece, str):
            said += piece.replace("{", "{{").replace("}", "}}")
            continue
        name = _named(piece)
        seen[name] += 1
        said += "{" + (name if seen[name] == 1 else f"{name}_{seen[name]}") + "}"
    return said


def _named(node: ast.expr) -> str:
    """Return what a value is called where it stands."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").lower() or "value"
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").lower()
    if isinstance(node, ast.BoolOp):
        return _named(node.values[-1])
    if isinstance(node, ast.BinOp):
        return _named(node.left)
    if isinstance(node, ast.Subscript):
        return _named(node.value)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Constant):
            return _named(node.func.value)
        return _named(node.args[0]) if node.args else _named(node.func)
    return "value"


def _table(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _in_signatures(path: Path) -> Iterator[str]:
    table = _table(path)
    for row in (*table.get("verdict", ()), *table.get("verdicts", ()), *table.get("signature", ()),
                *table.get("signatures", ())):  # fmt: skip
        if row.get("message"):
            yield row["message"]
        for way in row.get("fix", ()):
            yield from (way[key] for key in ("text", "risk") if way.get(key))
    for question in (*table.get("question", ()), *table.get("questions", ())):
        yield from (question[key] for key in ("ask", "text") if question.get(key))
        for answer in question.get("answers", question.get("answer", ())):
            yield from (answer[key] for key in ("text", "means") if answer.get(key))


def placeholders(text: str) -> list[str]:
    """Return the names in braces, sorted; a text whose braces are its own has none."""
    try:
        return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)
    except ValueError:
        return []


def catalogue(language: str, root: Path = ROOT) -> Catalog:
    """Return the language's catalogue with the texts of today: translations kept, those of vanished texts dropped."""
    path = root / "gpudoctor" / "locale" / language / "LC_MESSAGES" / "gpudoctor.po"
    old = Catalog(locale=language)
    if path.exists():
        with path.open("rb") as file:
            old = read_po(file, locale=language)
    fresh = Catalog(locale=language, project="gpudoctor", fuzzy=False, charset="utf-8")
    # Dates of runs would make every run a change.
    fresh.creation_date = fresh.revision_date = datetime.datetime(2026, 11, 20, tzinfo=datetime.timezone.utc)
    for text, place in texts(root):
        known = old.get(text)
        translated = known.string if known is not None and isinstance(known.string, str) else ""
        fresh.add(text, string=translated, locations=[(place, 0)])
    return fresh


def write(made: Catalog, language: str) -> None:
    """Write the catalogue as text and compiled."""
    folder = LOCALE / language / "LC_MESSAGES"
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("gpudoctor.po").write_bytes(as_text(made))
    folder.joinpath("gpudoctor.mo").write_bytes(compiled(made))


def as_text(made: Catalog) -> bytes:
    """Return the catalogue as a .po file, sorted, so that a change touches its own lines only."""
    out = io.BytesIO()
    write_po(out, made, width=120, sort_output=True, omit_header=False, include_lineno=False)
    return out.getvalue()


def compiled(made: Catalog) -> bytes:
    """Return the catalogue as a .mo file."""
    out = io.BytesIO()
    write_mo(out, made)
    return out.getvalue()


def main() -> int:
    """Do what the options say and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--missing", action="store_true", help="print what is not translated")
    parser.add_argument("--take", type=Path, help="take translations from this .po file")
    arguments = parser.parse_args()
    for language in LANGUAGES:
        made = catalogue(language)
        if arguments.take:
            with arguments.take.open("rb") as file:
                for message in read_po(file, locale=language):
                    if message.id and message.string and message.id in made:
                        made[message.id].string = message.string
        if arguments.missing:
            left = Catalog(locale=language, fuzzy=False)
            for message in made:
                if message.id and not message.string:
                    left.add(message.id, locations=message.locations)
            sys.stdout.buffer.write(as_text(left))
            continue
        write(made, language)
        total = sum(1 for message in made if message.id)
        done = sum(1 for message in made if message.id and message.string)
        sys.stdout.write(f"{language}: {done} of {total} texts\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
