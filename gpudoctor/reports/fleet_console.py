"""A rack for people: the sick nodes first, what they share, what differs, one line at the end."""

from collections.abc import Iterator, Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpudoctor.fleet.diff import Diff
from gpudoctor.fleet.hosts import fold
from gpudoctor.fleet.merge import Fleet
from gpudoctor.fleet.read import Node
from gpudoctor.reports.console import STYLES, Look
from gpudoctor.reports.language import tell, tell_many
from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import harmless, short, told

#: How a verdict is told of several nodes.
WORDS = {"fail": "not ready", "unknown": "without verdict", "warn": "with warnings", "pass": "ready",
          "unreadable": "unreadable reports"}  # fmt: skip
#: More rows are no longer read; -v shows all.
_MOST_NODES = 40
_MOST_LINES = 25
_LONGEST_HOSTS = 200


def render(fleet: Fleet, look: Look) -> str:
    """Return the fleet's report as text that ends with a newline."""
    out = StringIO()
    console = look.console(out)
    sick = [node for node in fleet.nodes if node.verdict != "pass"]
    if not look.quiet:
        _nodes(console, fleet.nodes if look.verbose else sick, look)
    for line in _lines(fleet, look):
        console.print(line, soft_wrap=False, overflow="fold")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _nodes(console: Console, nodes: Sequence[Node], look: Look) -> None:
    if not nodes:
        return
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    most = len(nodes) if look.verbose else _MOST_NODES
    for node in nodes[:most]:
        first = node.problems[0] if node.problems else None
        what = "" if first is None else f"{first.id}: {retold(first.message)}"
        more = " " + told("(and {count} more)", {"count": len(node.problems) - 1}) if len(node.problems) > 1 else ""
        table.add_row(
            Text(node.verdict.upper(), style=STYLES[node.verdict]), Text(harmless(node.host)),
            Text(harmless(node.machine.get("GPUs", ""))), Text(harmless(what) + more),
        )  # fmt: skip
    console.print(table)
    if len(nodes) > most:
        console.print(told("and {count} more nodes (-v shows all)", {"count": len(nodes) - most}))
    console.print()


def _lines(fleet: Fleet, look: Look) -> Iterator[Text]:
    shown = fleet.problems if look.verbose else [p for p in fleet.problems if p.status != "warn" or not look.quiet]
    for problem in shown[: None if look.verbose else _MOST_LINES]:
        line = Text(f"{problem.status.upper():<8}", style=STYLES[problem.status])
        line.append(problem.id, style="bold")
        line.append(f"  {_nodes_in_words(problem.hosts)}")
        yield line
    if fleet.problems:
        yield Text()
    for each in fleet.drift[: None if look.verbose else _MOST_LINES]:
        line = Text("DRIFT   ", style="yellow")
        line.append(harmless(tell(each.what)), style="bold")
        usual = told("usual is {usual}", {"usual": each.usual})
        line.append(f"  {_nodes_in_words(each.hosts)}: {harmless(each.value)}, {usual}")
        yield line
    if len(fleet.drift) > _MOST_LINES and not look.verbose:
        yield Text(told("and {count} more deviations (-v shows all)", {"count": len(fleet.drift) - _MOST_LINES}))
    for broken in fleet.unreadable[: None if look.verbose else _MOST_LINES]:
        yield Text(f"UNREAD  {short(broken.file, 200)}: {short(retold(broken.problem), 300)}", style="magenta")
    if fleet.drift or fleet.unreadable:
        yield Text()
    counts = ", ".join(f"{count} {tell(WORDS[name])}" for name, count in fleet.summary.items() if count)
    yield Text(f"{tell_many('{count} node', '{count} nodes', len(fleet.nodes))}: {counts or tell('none')}.")


def _nodes_in_words(hosts: Sequence[str]) -> str:
    return f"{tell_many('{count} node', '{count} nodes', len(hosts))} ({short(fold(hosts), _LONGEST_HOSTS)})"


def render_diff(diff: Diff, look: Look) -> str:
    """Return a comparison of two reports as text that ends with a newline."""
    out = StringIO()
    console = look.console(out)
    console.print(Text(told("from {before} to {after}", {"before": diff.before, "after": diff.after})))
    for change in diff.machine:
        before, after = (harmless(value or tell("not known")) for value in (change.before, change.after))
        console.print(Text(f"  {harmless(tell(change.what))}: {before} -> {after}"), overflow="fold")
    for sign, style, problems in (("+", "red", diff.came), ("-", "green", diff.went)):
        for problem in problems:
            where = "" if problem.subject == "host" else f" {problem.subject}"
            text = f"  {sign} {problem.status.upper()} {problem.id}{where}: {retold(problem.message)}"
            console.print(Text(harmless(text), style=style), overflow="fold")
    if not diff.exit_code:
        console.print(Text("  " + tell("no difference")))
    return out.getvalue()
