"""The language of what people read. Texts are written in English; a gettext catalogue has them in another language.

Ids, JSON, logs, metrics and exit codes are never translated.
"""

import contextlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gettext

LANGUAGES = ("en", "ko")
_FOLDER = Path(__file__).parents[1] / "locale"
_DOMAIN = "gpudoctor"


class _Spoken:
    """The language in use and its catalogue; English has none."""

    language = "en"
    catalogue: "gettext.NullTranslations | None" = None


def language_of(option: str | None, environment: Mapping[str, str]) -> str:
    """Return the language to speak: the option, GPUDOCTOR_LANG, then the locale's variables in their order.

    Raises:
        ValueError: The option or GPUDOCTOR_LANG names a language that gpudoctor does not speak.
    """
    for named in (option, environment.get("GPUDOCTOR_LANG")):
        if named:
            if named.lower() not in LANGUAGES:
                raise ValueError(f"{named[:20]!r} is none of {', '.join(LANGUAGES)}")
            return named.lower()
    # LANGUAGE is gettext's own and comes first, but counts only where a locale is set at all.
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environment.get(name))), "")
    first = locale if locale in ("", "C", "POSIX") else environment.get("LANGUAGE", "").partition(":")[0] or locale
    code = first.partition(".")[0].partition("_")[0].lower()
    return code if code in LANGUAGES else "en"


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """Translate what is put into words inside this block."""
    before = _Spoken.language, _Spoken.catalogue
    _Spoken.language, _Spoken.catalogue = language, None if language == "en" else _catalogue(language)
    try:
        yield
    finally:
        _Spoken.language, _Spoken.catalogue = before


def spoken() -> str:
    """Return the language in use."""
    return _Spoken.language


@cache
def _catalogue(language: str) -> "gettext.NullTranslations":
    import gettext

    return gettext.translation(_DOMAIN, str(_FOLDER), [language], fallback=True)


def catalogue_texts() -> tuple[str, ...]:
    """Return the English of all that the language in use has; nothing for English."""
    # gettext itself offers no list of them.
    texts: dict[object, str] = getattr(_Spoken.catalogue, "_catalog", {})
    return tuple(text for text in texts if isinstance(text, str))


def manual(topic: str) -> str | None:
    """Return the manual of a check in the language in use; None where there is none but the check's own."""
    if _Spoken.catalogue is None:
        return None
    try:
        return (_FOLDER / _Spoken.language / "manuals" / f"{topic}.md").read_text(encoding="utf-8")
    except OSError:
        return None


def tell(text: str) -> str:
    """Return a text in the language in use; English where the catalogue lacks it."""
    # The empty text is the catalogue's own header.
    return text if _Spoken.catalogue is None or not text else _Spoken.catalogue.gettext(text)


def tell_many(one: str, many: str, count: int) -> str:
    """Return the text for this many, with ``{count}`` filled in. Korean has one form: it translates both alike."""
    return tell(one if count == 1 else many).replace("{count}", str(count))
