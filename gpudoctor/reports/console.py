"""The report for people: the cause first, then its symptoms, then the rest; quiet when all is well."""

import os
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TextIO

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpudoctor import __version__
from gpudoctor.checking.finding import STATUSES
from gpudoctor.facts.gpus import Gpu, Gpus
from gpudoctor.facts.host import Host
from gpudoctor.facts.signatures import Signatures
from gpudoctor.facts.snapshot import Snapshot
from gpudoctor.reports.language import tell, tell_many
from gpudoctor.reports.report import Report, ReportResult
from gpudoctor.reports.retold import retold
from gpudoctor.reports.summary import nothing_judged
from gpudoctor.reports.words import duration, evidence_name, evidence_value, harmless, short, size, told

_WORDS = {"fail": "FAIL", "warn": "WARN", "unknown": "UNKNOWN", "info": "INFO", "skip": "SKIP", "pass": "PASS"}
STYLES = {"fail": "bold red", "warn": "yellow", "unknown": "magenta", "info": "cyan", "skip": "dim", "pass": "green"}
#: Width of what is not a terminal: logs and pipes.
_LOG_WIDTH = 100
#: Of a host, system or GPU in the header.
_LONGEST_NAME = 80
_MOST_KINDS = 6


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How the report looks: width in columns, colour, and how much of it there is."""

    width: int = _LOG_WIDTH
    color: bool = False
    verbose: int = 0
    quiet: int = 0

    @staticmethod
    def of(stream: TextIO, *, color: str, verbose: int, quiet: int) -> "Look":
        """Fit the stream. Precedence: flag, NO_COLOR, FORCE_COLOR or CLICOLOR_FORCE, terminal."""
        terminal = stream.isatty()
        width = _LOG_WIDTH
        if terminal:
            try:
                width = os.get_terminal_size(stream.fileno()).columns or _LOG_WIDTH
            except (OSError, ValueError):
                width = _LOG_WIDTH
        environment = os.environ  # noqa: TID251 - colour conventions are the console's matter
        if color == "auto":
            forced = environment.get("FORCE_COLOR") or environment.get("CLICOLOR_FORCE")
            wanted = False if environment.get("NO_COLOR") else bool(forced) or (
                terminal and environment.get("TERM") != "dumb"
            )
        else:
            wanted = color == "always"
        return Look(width=max(width, 40), color=wanted, verbose=verbose, quiet=quiet)


    def console(self, out: TextIO) -> Console:
        """Return a console that writes plain text, or text with colours, and takes nothing for markup."""
        return Console(
            file=out, width=self.width, color_system="standard" if self.color else None, force_terminal=self.color,
            no_color=not self.color, highlight=False, markup=False, emoji=False, legacy_windows=False,
        )  # fmt: skip


class Block(msgspec.Struct):
    """Results of one check that say the same about several subjects."""

    results: list[ReportResult]

    @property
    def first(self) -> ReportResult:
        """The one that stands for all."""
        return self.results[0]

    @property
    def subjects(self) -> str:
        """``gpu:0-3`` for a run of GPUs, else the subjects in a row."""
        return fold_subjects([r.subject for r in self.results])


def render(report: Report, facts: Snapshot, look: Look, closing: Text | None = None) -> str:
    """Return the whole report as text that ends with a newline; ``closing`` stands for the sentence on the machine."""
    out = StringIO()
    console = look.console(out)
    if not look.quiet:
        _header(console, header(facts, report))
        console.print()
        _areas(console, report)
    shown = _shown(report.results, look)
    for block in _blocks(shown):
        if not block.first.caused_by:
            console.print()
            _block(console, block, report.results, look)
    _orphans(console, shown, look)
    if look.verbose > 1:
        _timings(console, facts)
    console.print()
    _print(console, closing if closing is not None else _summary(report))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _header(console: Console, parts: Sequence[str]) -> None:
    """Print the parts in a row, broken between parts only, continuation lines indented."""
    line = ""
    for part in parts:
        if line.strip() and cell_len(line) + cell_len(part) > console.width:
            _print(console, line)
            line = "  "
        line += part + "  "
    _print(console, line)


def header(facts: Snapshot, report: Report) -> list[str]:
    """Return what the machine is: host, system, GPUs, driver."""
    named = isinstance(facts.host, Host) and isinstance(facts.host.hostname, str)
    pasted = isinstance(facts.signatures, Signatures) and not named
    host = told("what you pasted", {}) if pasted else short(retold(report.run.host), _LONGEST_NAME)
    parts = [f"gpudoctor {__version__}", host]
    if isinstance(facts.host, Host):
        parts.append(short(facts.host.os_name, _LONGEST_NAME))
    if isinstance(facts.gpus, Gpus):
        parts += _gpu_names(facts.gpus.gpus)
        if isinstance(facts.gpus.driver_version, str):
            parts.append(told("driver {version}", {"version": short(facts.gpus.driver_version, _LONGEST_NAME)}))
        if isinstance(facts.gpus.cuda_version, int):
            parts.append(f"CUDA {facts.gpus.cuda_version // 1000}.{facts.gpus.cuda_version % 1000 // 10}")
    return parts


def _gpu_names(gpus: Iterable[Gpu]) -> list[str]:
    counts: dict[str, int] = {}
    for gpu in gpus:
        label = short(gpu.label.removeprefix("NVIDIA "), _LONGEST_NAME)
        if isinstance(gpu.memory_total_bytes, int):
            label += f" ({size(gpu.memory_total_bytes)})"
        counts[label] = counts.get(label, 0) + 1
    names = [f"{n} x {label}" for label, n in counts.items()]
    if len(names) <= _MOST_KINDS:
        return names
    return [*names[:_MOST_KINDS], told("and {count} other kinds", {"count": len(names) - _MOST_KINDS})]


def fold_subjects(subjects: Sequence[str]) -> str:
    """Return ``gpu:0-3,7`` for GPUs, other subjects in a row."""
    numbers = sorted({int(s[4:]) for s in subjects if s.startswith("gpu:") and s[4:].isdigit()})
    others = list(dict.fromkeys(harmless(s) for s in subjects if not (s.startswith("gpu:") and s[4:].isdigit())))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    ranges = ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)
    return ", ".join(([f"gpu:{ranges}"] if ranges else []) + others)


def _shown(results: Sequence[ReportResult], look: Look) -> list[ReportResult]:
    keep = {"fail", "warn", "unknown"} | ({"info"} if not look.quiet else set())
    if look.verbose:
        keep |= {"pass", "skip"}
    return [r for r in results if r.status in keep]


def _blocks(results: Iterable[ReportResult]) -> list[Block]:
    blocks: dict[tuple[str, str, str, str | None], Block] = {}
    for result in results:
        key = (result.id, result.status, result.message, result.caused_by)
        blocks.setdefault(key, Block([])).results.append(result)
    return list(blocks.values())


def _print(console: Console, text: Text | str) -> None:
    console.print(text, soft_wrap=False, overflow="fold")


def _row(console: Console, label: str, text: str, style: str = "", indent: int = 2) -> None:
    """Print a label with its text beside it, continuation lines under the text."""
    grid = Table.grid(padding=0)
    grid.add_column(width=indent + 10, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(" " * indent + label), Text(text, style=style))
    console.print(grid)


def _block(console: Console, block: Block, results: Sequence[ReportResult], look: Look) -> None:
    first = block.first
    head = Text()
    head.append(f"{_WORDS[first.status]:<8}", style=STYLES[first.status])
    head.append(first.id, style="bold")
    head.append(f"  {block.subjects}" if block.subjects != "host" else "")
    _print(console, head)
    _row(console, "", first.message)
    places = [harmless(f"{p.file}:{p.line}" if p.line else p.file) for r in block.results if (p := r.location)]
    if places:
        _row(console, tell("in"), ", ".join(dict.fromkeys(places[:8])))
    problem = first.status in ("fail", "warn", "unknown")
    if problem or look.verbose:
        for evidence in first.evidence:
            where = f"  ({harmless(evidence.source)})" if evidence.source else ""
            value = evidence_value(evidence.what, evidence.value)
            _row(console, tell("seen"), f"{evidence_name(evidence.what)}: {value}{where}")
    if first.accepted:
        until = tell(" until {date}").replace("{date}", first.accepted.until) if first.accepted.until else ""
        _row(console, tell("accepted"), f"{harmless(first.accepted.reason)}{until}")
    _symptoms(console, first, results)
    _fixes(console, block)
    if problem and not look.quiet:
        _row(console, tell("more"), f"gpudoctor explain {first.id}")


def _fixes(console: Console, block: Block) -> None:
    printed: set[tuple[str, str | None]] = set()
    for result in block.results:
        for step in result.fix:
            if (step.text, step.command) in printed:
                continue
            if len(printed) >= 8:
                _row(console, "", tell("and the same for the others (--json lists every command)"))
                return
            printed.add((step.text, step.command))
            risk = f"  ({step.risk})" if step.risk else ""
            _row(console, tell("fix") if len(printed) == 1 else "", step.text + risk)
            if step.command:
                # Commands are copied: never wrapped.
                console.print(Text(" " * 14 + step.command, style="bold"), soft_wrap=True)


def _symptoms(console: Console, cause: ReportResult, results: Sequence[ReportResult]) -> None:
    label = tell("explains")
    for block in _blocks(r for r in results if r.caused_by == cause.id and r.id in cause.explains):
        _row(console, label, _symptom(block))
        label = ""
        for deeper in _blocks(r for r in results if r.caused_by == block.first.id):
            if deeper.first.id != cause.id:
                _row(console, "", "  " + _symptom(deeper))


def _symptom(block: Block) -> str:
    where = "" if block.subjects == "host" else f"  {block.subjects}"
    return f"{block.first.id}{where}: {block.first.message}"


def _orphans(console: Console, shown: Sequence[ReportResult], look: Look) -> None:
    """With -v, print symptoms in full, too: under their causes they were one line."""
    if not look.verbose:
        return
    for block in _blocks(r for r in shown if r.caused_by):
        console.print()
        _block(console, block, (), look)


def _areas(console: Console, report: Report) -> None:
    areas: dict[str, dict[str, int]] = {}
    for result in report.results:
        counts = areas.setdefault(result.id.partition(".")[0], {})
        key = "accepted" if result.accepted else result.status
        counts[key] = counts.get(key, 0) + 1
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    # Areas with nothing but skips share a line: a healthy server must fit on a screen.
    idle = {area: counts["skip"] for area, counts in areas.items() if set(counts) == {"skip"}}
    for area, counts in sorted(areas.items()):
        if area in idle:
            continue
        words = [f"{counts[s]} {s}" for s in (*reversed(STATUSES), "accepted") if counts.get(s)]
        worst = next((s for s in STATUSES if counts.get(s)), "pass")
        style = STYLES[worst] if worst in ("fail", "warn", "unknown") else ""
        grid.add_row(Text(f"  {area}"), Text("   ".join(words), style=style))
    if idle:
        grid.add_row(Text("  " + tell("others")), Text(f"{sum(idle.values())} skip: {', '.join(sorted(idle))}"))
    console.print(grid)


def _timings(console: Console, facts: Snapshot) -> None:
    console.print()
    for run in sorted(facts.probes, key=lambda r: -r.duration_s):
        _row(console, "probe", f"{run.name}: {duration(run.duration_s)}, {harmless(run.outcome)}")


def _summary(report: Report) -> Text:
    roots = [r for r in report.results if r.caused_by is None and r.accepted is None]
    causes = len({r.id for r in roots if r.status == "fail"})
    summary = report.summary
    words = []
    if causes:
        symptoms = sum(r.caused_by is not None for r in report.results)
        folded = f" ({tell_many('{count} symptom', '{count} symptoms', symptoms)})" if symptoms else ""
        blocked = tell_many("{count} cause blocks this machine", "{count} causes block this machine", causes)
        words.append(blocked + folded)
    if summary["warn"]:
        words.append(tell_many("{count} warning", "{count} warnings", summary["warn"]))
    if summary["unknown"]:
        words.append(tell_many("{count} unknown", "{count} unknown", summary["unknown"]))
    if summary["accepted"]:
        words.append(tell_many("{count} accepted", "{count} accepted", summary["accepted"]))
    text = Text(", ".join(words) + ". " if words else "")
    passed = tell("{count} passed in {time}. ").replace("{count}", str(summary["pass"]))
    text.append(passed.replace("{time}", duration(report.run.duration_s)))
    text.append(verdict(report), style=f"bold {STYLES[report.verdict]}".replace("bold bold", "bold"))
    return text


def verdict(report: Report) -> str:
    """Return the verdict as a sentence."""
    if nothing_judged(report):
        return tell("Nothing was judged: every check was skipped here.")
    if report.verdict == "unknown":
        return tell("No verdict: what decides could not be judged.")
    installing = report.run.stage == "pre-install"
    if report.verdict == "fail":
        return tell("Not ready for the driver and an engine to be installed.") if installing else tell("Not ready.")
    if report.verdict == "warn":
        return (
            tell("Ready for the driver and an engine to be installed, with warnings.")
            if installing
            else tell("Ready, with warnings.")
        )
    return tell("Ready for the driver and an engine to be installed.") if installing else tell("Ready.")
