"""Help in the language in use, wrapped by columns: a Hangul syllable takes two, and click counts characters."""

import inspect
import unicodedata
from typing import Any

from typer.core import TyperCommand

from gpudoctor.reports.language import spoken, tell

#: Stands behind every wide character while lines are broken, so that it counts as two.
_SECOND = "\0"


def wide(text: str) -> str:
    """Return a text in the language in use, prepared for click's line breaking."""
    told = tell(text)
    if told.isascii():
        return told
    return "".join(c + _SECOND if unicodedata.east_asian_width(c) in "WF" else c for c in told)


def narrow(text: str) -> str:
    """Return lines that were broken as they are meant to be printed."""
    return text.replace(_SECOND, "")


class Command(TyperCommand):
    """A command whose help is in the language in use."""

    def get_help(self, ctx: Any) -> str:
        """Return the help, translated."""
        return narrow(super().get_help(ctx))


def translate(command: Any) -> Any:
    """Return the command with the help of itself and of its options in the language in use."""
    if spoken() != "en":
        command.help = wide(inspect.cleandoc(command.help or ""))
        for each in command.params:
            if getattr(each, "help", None):
                each.help = wide(each.help)
    return command
