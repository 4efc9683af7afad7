"""Help in the language in use, wrapped by columns: a Hangul syllable takes two, and click counts characters."""

import inspect
from typing import Any

from typer.core import TyperCommand

from gpudoctor.reports.language import spoken, tell
from gpudoctor.reports.words import doubled, undoubled


def wide(text: str) -> str:
    """Return a text in the language in use, prepared for click's line breaking."""
    return doubled(tell(text))


#: Type of an option -> what stands for its value in the help.
_VALUES = {"int range": "N", "float range": "N", "int": "N", "float": "N", "path": "FILE"}


def _name_value(param: Any) -> None:
    """Name a parameter's value as people do (``N``, ``MODEL``), and leave out defaults that say nothing."""
    kind = getattr(param.type, "name", "")
    if param.metavar is None and kind != "boolean" and not getattr(param, "count", False):
        param.metavar = _VALUES.get(kind, param.name.strip("_").upper())
    if getattr(param, "count", False) or param.default is True:
        param.show_default = False


class Command(TyperCommand):
    """A command whose help is in the language in use."""

    def get_help(self, ctx: Any) -> str:
        """Return the help, translated."""
        return undoubled(super().get_help(ctx))


def translate(command: Any) -> Any:
    """Return the command with the help of itself and of its options in the language in use."""
    for each in command.params:
        _name_value(each)
    if spoken() != "en":
        command.help = wide(inspect.cleandoc(command.help or ""))
        for each in command.params:
            if getattr(each, "help", None):
                each.help = wide(each.help)
    return command
