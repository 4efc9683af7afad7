"""``gpudoctor explain ID``: a check's manual, from the check's own file."""

from typing import Annotated

import typer

from gpudoctor.cli.failure import Failure, say
from gpudoctor.reports.language import manual as manual_of
from gpudoctor.reports.language import spoken, tell

EXIT_CODES = """\
Exit codes

  0    a report, and nothing in it at or above --fail-on (default: fail)
  1    a report with at least one such finding
  2    no report: wrong usage, broken configuration, internal error
  3    a report, but a gatekeeper could not be judged (unknown): the check that guards the facts about
       the PCI bus, the driver or the GPUs, or one named with --require. Other unknowns are shown and
       leave the code alone.
  130, 143  interrupted

compose fix: 0 nothing to mend, or --apply wrote the file; 1 there are changes to make; 2 the file cannot
be edited or written, or nothing that --only or --service named could be mended.

1 beats 3. Warnings change the code only with --fail-on warn. An accepted finding changes nothing.
"""

COMPAT_ANSWER = """\
compat.answer

What gpudoctor compat concludes from the checks beside it: whether the release that was asked for runs on this
machine, and if not, which release and build would, with the line that installs it. A version, image or GPU that
the tables do not know is unknown, never a pass; gpudoctor matrices shows the tables, their age and their sources.
"""


def explain(
    topic: Annotated[str, typer.Argument(metavar="ID", help="A check's id, or exit-codes.")],
    json: Annotated[bool, typer.Option("--json", help="As one JSON document.")] = False,
) -> int:
    """Print the manual of a check: what it says is wrong, why it matters, how to fix it, where the rule is from."""
    from gpudoctor.checking.plugins import load_checks
    from gpudoctor.checking.selection import nearest

    if topic == "compat.answer":
        say(_json(topic, COMPAT_ANSWER, ()) if json else _told(topic, COMPAT_ANSWER))
        return 0
    if topic == "exit-codes":
        say(_json("exit-codes", EXIT_CODES, ()) if json else _told(topic, EXIT_CODES))
        return 0
    catalogue = load_checks()
    found = catalogue.get(topic)
    if found is None:
        near = nearest(topic, catalogue.checks)
        hint = f"did you mean {' or '.join(near)}?" if near else "gpudoctor list shows every id"
        raise Failure(f"no check is called {topic!r}", "explain", hint)
    reads = ("every GPU" if name == "gpu" else name for name in found.wants)
    if json:
        say(_json(found.id, found.manual, found.wants))
    else:
        manual = _told(found.id, found.manual).strip()
        say(f"{found.id}\n\n{manual}\n\n## {tell('Reads')}\n{', '.join(reads)}\n")
    return 0


def _told(topic: str, english: str) -> str:
    """Return the manual in the language in use; one line says where it is in English only."""
    if spoken() == "en":
        return english
    return manual_of(topic) or f"{tell('This manual is in English only.')}\n\n{english}"


def _json(topic: str, manual: str, reads: object) -> str:
    from gpudoctor.reports.json_report import encode

    document = {"schema": "gpudoctor.manual/1", "id": topic, "manual": manual, "reads": list(reads)}  # type: ignore[call-overload]
    return encode(document) + "\n"
