"""Which language a command line is answered in: ``--lang`` anywhere on it, GPUDOCTOR_LANG, the locale."""

import sys
from collections.abc import Mapping, Sequence

from gpudoctor.cli.failure import Failure
from gpudoctor.reports.language import language_of

LANG_HELP = "Language of what people read, before or after the command; JSON and ids are English. Also GPUDOCTOR_LANG."


def choose_language(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the language and the command line without ``--lang``. What stands behind ``--`` is another program's.

    Raises:
        Failure: No language that gpudoctor speaks.
    """
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    own, others = words[:end], words[end:]
    option, rest = None, []
    while own:
        word = own.pop(0)
        if word == "--lang":
            option = own.pop(0) if own else ""
        elif word.startswith("--lang="):
            option = word.removeprefix("--lang=")
        else:
            rest.append(word)
    try:
        if option == "":
            raise ValueError("no language is named")
        language = language_of(option, environment)
    except ValueError as error:
        where = "GPUDOCTOR_LANG" if option is None else "--lang"
        raise Failure(str(error), where, "for example --lang ko") from None
    return language if _shows(language) else "en", rest + others


def _shows(language: str) -> bool:
    """Tell whether standard output has the letters: on an ASCII console English says more than escapes do."""
    if language == "en":
        return True
    try:
        "한".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True
