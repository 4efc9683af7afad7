"""What ``compose fix`` says to people: the diff, what it mends, what it leaves and why, what remains to be done."""

import sys
from textwrap import fill

from gpudoctor.reports.diff import colored
from gpudoctor.reports.fix_schema import ComposeFix, FixedFinding, LeftFinding
from gpudoctor.reports.language import tell, tell_many
from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import doubled, harmless, short, told, undoubled


def as_text(document: ComposeFix, color: str) -> str:
    """Return the answer for a terminal or a log."""
    from gpudoctor.reports.console import Look

    look = Look.of(sys.stdout, color=color, verbose=0, quiet=0)
    width = min(look.width, 120)
    parts = []
    if document.diff:
        parts.append((colored(document.diff) if look.color else document.diff).rstrip("\n"))
    if document.fixed:
        title = tell("Mended:") if document.applied else tell("Would be mended:")
        # Two findings of one check in one service are mended by one edit.
        parts.append("\n".join(dict.fromkeys([title, *(_fixed(each, width) for each in document.fixed)])))
    if document.left:
        left = (_left(each, document.file, width) for each in document.left)
        parts.append("\n".join([tell("Left as it is:"), *left]))
    parts.append(_verdict(document))
    if document.steps:
        parts.append("\n".join(
            "\n".join([_wrapped(retold(step.text) + (f" ({retold(step.risk)})" if step.risk else ""), width, "  "),
                       *([f"    {step.command}"] if step.command else [])])
            for step in document.steps
        ))  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _fixed(each: FixedFinding, width: int) -> str:
    return _wrapped(f"{each.id}  {each.subject}: {retold(each.change)}", width, "  ")


def _left(each: LeftFinding, file: str, width: int) -> str:
    place = f"{each.file or file}:{each.line}" if each.line else each.subject
    text = f"{each.status.upper()}  {each.id}  {place}  {short(retold(each.message))}"
    return _wrapped(text, width, "  ") + "\n" + _wrapped(retold(each.reason), width, "      ")


def _verdict(document: ComposeFix) -> str:
    name = harmless(document.file)
    if document.applied:
        then = " " + tell("Then:") if document.steps else ""
        return told("{name} is written; the old file is {backup}.", {"name": name, "backup": document.backup}) + then
    if document.fixed:
        count = tell_many("{count} finding can be mended.", "{count} findings can be mended.", len(document.fixed))
        then = " " + tell("After that:") if document.steps else ""
        return f"{count} " + told("Nothing is written yet: --apply writes {name}.", {"name": name}) + then
    return told("Nothing to mend in {name}." if document.exit_code == 0 else "Refused: {name} is as it was.",
                {"name": name})  # fmt: skip


def _wrapped(text: str, width: int, indent: str) -> str:
    return undoubled(fill(doubled(harmless(text)), width, initial_indent=indent, subsequent_indent=indent + "  ",
                          break_long_words=False, break_on_hyphens=False))  # fmt: skip
