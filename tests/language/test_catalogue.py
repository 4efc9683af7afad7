"""The Korean catalogue: it fits today's texts, loses no value, and every console can show it."""

import importlib.util
import re
import string
import sys
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from gpudoctor.checking.plugins import load_checks
from gpudoctor.reports import language

CHECKOUT = Path(__file__).parents[2]
INSTALLED = Path(language.__file__).parents[1] / "locale" / "ko"
PO = CHECKOUT / "gpudoctor" / "locale" / "ko" / "LC_MESSAGES" / "gpudoctor.po"
MANUALS = sorted(INSTALLED.glob("manuals/*.md"))
#: Pages that are no check's.
OTHER_PAGES = {"exit-codes", "compat.answer"}


@pytest.fixture(scope="module")
def messages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("messages", CHECKOUT / "tools" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["messages"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def korean() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="ko")


def values(text: str) -> list[tuple[str, str]] | None:
    """Return the names in braces with their formats; None where the braces are the text's own."""
    try:
        return sorted((name, form or "") for _, name, form, _ in string.Formatter().parse(text) if name)
    except ValueError:
        return None


def test_a_translation_has_the_values_of_its_original(korean: Catalog) -> None:
    wrong = [m.id for m in korean if m.id and m.string and values(str(m.id)) != values(str(m.string))]
    assert wrong == []


def test_a_translation_begins_and_ends_as_its_original(korean: Catalog) -> None:
    """Sentences are put in a row: a space that is lost glues two of them."""
    def edges(text: str) -> tuple[bool, bool]:
        return text.startswith(" "), text.endswith(" ")

    assert [m.id for m in korean if m.id and m.string and edges(str(m.id)) != edges(str(m.string))] == []


@pytest.mark.parametrize("console", ["cp949", "euc_kr"])
def test_korean_consoles_have_every_letter(korean: Catalog, console: str) -> None:
    texts = [str(m.string) for m in korean if m.id] + [path.read_text(encoding="utf-8") for path in MANUALS]
    assert "".join(texts).encode(console, "replace").decode(console) == "".join(texts)


def test_korean_consoles_have_every_letter_of_our_english(messages: ModuleType) -> None:
    text = "".join(text for text, _ in messages.texts())
    assert text.encode("cp949", "replace").decode("cp949") == text


def test_no_translation_is_of_a_text_that_is_gone(messages: ModuleType, korean: Catalog) -> None:
    known = {text for text, _ in messages.texts()}
    assert [m.id for m in korean if m.id and m.string and m.id not in known] == [], "run tools/messages.py"


def test_what_is_installed_is_what_is_translated(messages: ModuleType, korean: Catalog) -> None:
    assert (INSTALLED / "LC_MESSAGES" / "gpudoctor.mo").read_bytes() == messages.compiled(korean)


def test_commands_stay_as_they_are(korean: Catalog) -> None:
    """Variables, options and keys are what people type or search for; in another order is fine."""
    def words(text: str) -> set[str]:
        return set(re.findall(r"--[a-z][a-z-]+|(?<![A-Z_])[A-Z]+(?:_[A-Z]+)+", text))

    assert [m.id for m in korean if m.id and m.string and not words(str(m.id)) <= words(str(m.string))] == []


def test_the_commonest_checks_have_a_manual() -> None:
    assert len({path.stem for path in MANUALS} - OTHER_PAGES) >= 25


def quoted(manual: str) -> set[str]:
    """What stands in backticks, wherever its line is broken."""
    return {" ".join(each.split()) for each in re.findall(r"`([^`]+)`", manual)}


@pytest.mark.parametrize("path", [p for p in MANUALS if p.stem not in OTHER_PAGES], ids=lambda p: p.stem)
def test_a_manual_says_what_its_original_says(path: Path) -> None:
    check = load_checks().get(path.stem)
    assert check is not None
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["왜 중요한가", "고치는 방법", "참고 자료"]
    assert re.findall(r"https://\S+", text) == re.findall(r"https://\S+", check.manual)
    assert quoted(check.manual) == quoted(text)
    with language.speaking("ko"):
        assert text.startswith(language.tell(check.title) + "\n")
