"""The command line: one file per command, imported only when it is called."""

import contextlib
import difflib
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from gpudoctor.cli.failure import Failure

#: Command -> (module, what it does in one line). The function has the command's name.
COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("gpudoctor.cli.check", "Judge this machine, or a recorded one: ready for language models or not?"),
    "run": ("gpudoctor.cli.run", "Start a command only on a machine that is ready for it."),
    "fit": ("gpudoctor.cli.fit", "Say whether a model fits before it is pulled or launched, and what does."),
    "plan": ("gpudoctor.cli.plan", "Place all services of one machine: which GPUs, which shares, who starves whom."),
    "diagnose": ("gpudoctor.cli.diagnose", "Name the cause of a trouble, from whatever you paste: logs, reports."),
    "serving": ("gpudoctor.cli.serving", "Say whether the engines that run here do what their owner thinks."),
    "compat": ("gpudoctor.cli.compat", "Say whether a release runs here, which one would, and how to install it."),
    "compose": ("gpudoctor.cli.compose", "Judge Compose files before they start: lint shows, fix mends."),
    "verify": ("gpudoctor.cli.verify", "Compare copied models, images and wheels with the checksums beside them."),
    "report": ("gpudoctor.cli.report", "Merge the reports of many nodes, or compare two."),
    "profile": ("gpudoctor.cli.profile", "Keep the golden node, to which others are compared."),
    "matrices": ("gpudoctor.cli.matrices", "Show what the tables of versions know, their age and their sources."),
    "explain": ("gpudoctor.cli.explain", "Print the manual of a check, or of the exit codes."),
    "list": ("gpudoctor.cli.list_checks", "List every check with what it says is wrong."),
    "integrate": ("gpudoctor.cli.integrate", "Print the files by which Slurm, systemd and others run gpudoctor."),
    "snapshot": ("gpudoctor.cli.snapshot", "Record this machine's facts in a file, without secrets."),
    "bundle": ("gpudoctor.cli.bundle", "Make one archive that installs gpudoctor where there is no network."),
    "schema": ("gpudoctor.cli.schema", "Print the JSON Schema of a document that gpudoctor reads or writes."),
}

_HELP = (
    "Preflight and diagnosis for GPU servers that run large language models. It changes nothing on the machine and "
    "asks no network."
)
_EPILOG = (
    "Exit codes: 0 nothing at or above --fail-on, 1 at least one such finding, 2 no report (usage, configuration), "
    "3 a report, but what decides could not be judged. gpudoctor explain exit-codes says more."
)


def main() -> NoReturn:
    """Run the command line and exit."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, _terminated)
        # A closed terminal must not leave the probes' children behind; under nohup it is to be ignored.
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            signal.signal(signal.SIGHUP, _terminated)
    code = 0
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (head, less); what it read is what it wanted. A verdict keeps its exit code.
        _discard_output()
    except OSError as error:
        _discard_output()
        with contextlib.suppress(OSError):
            sys.stderr.write(f"gpudoctor: standard output: cannot write: {error.strerror or error}\n")
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _open_closed_streams() -> None:
    """Give a caller's closed descriptors (``>&-``) to /dev/null, before a pipe or a report gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the whole process
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the whole process


def _discard_output() -> None:
    """Let what is still buffered go nowhere, else Python complains about it at its own end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminated(signal_number: int, frame: FrameType | None) -> None:
    from gpudoctor.checking.foreign import Terminated

    raise Terminated(128 + signal_number)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every failure is one line, or one JSON document."""
    from gpudoctor.cli.choose_language import choose_language
    from gpudoctor.cli.failure import Failure, report_failure
    from gpudoctor.reports.language import speaking

    try:
        language, arguments = choose_language(arguments, os.environ)
    except Failure as failure:
        return report_failure(failure, arguments)
    with speaking(language):
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) in (["-V"], ["--version"]):
        return _version()
    import typer.exceptions

    from gpudoctor.cli.failure import Failure, report_failure

    if not arguments:
        # A script whose arguments got lost must not take the help for a verdict.
        _run(["--help"])
        return 2
    _use_newer_tables()
    try:
        result = _group().main(args=list(arguments), prog_name="gpudoctor", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except Failure as failure:
        return report_failure(failure, arguments)
    except typer.exceptions.TyperException as error:
        return report_failure(_usage(error), arguments)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:
        if os.environ.get("GPUDOCTOR_DEBUG"):
            raise
        return report_failure(_defect(error), arguments)


def _use_newer_tables() -> None:
    """Let readers prefer the tables that the user took with ``matrices --from``."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.environ.get("HOME") or "/", ".local", "share")  # noqa: PTH118
    folder = os.path.join(home, "gpudoctor", "matrices")  # noqa: PTH118
    if os.path.isdir(folder):  # noqa: PTH112
        from pathlib import Path

        from gpudoctor.matrices.table import FOLDERS

        FOLDERS.newer = Path(folder)


def _usage(error: Exception) -> "Failure":
    from gpudoctor.cli.failure import Failure

    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "gpudoctor"
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    typed = re.fullmatch(r"No such command '(.*)'\.", text, re.DOTALL)
    near = difflib.get_close_matches(typed[1], COMMANDS, 1) if typed else []
    hint = f"did you mean gpudoctor {near[0]}?" if near else f"{command} --help lists what there is"
    return Failure(text, "command line", hint)


def _defect(error: Exception) -> "Failure":
    from gpudoctor.cli.failure import Failure

    return Failure(
        f"internal error: {type(error).__name__}: {error}",
        "gpudoctor itself",
        "please report it with the output of the same command under GPUDOCTOR_DEBUG=1",
    )


def _version() -> int:
    from gpudoctor import __version__
    from gpudoctor.matrices import MATRICES_DATE

    sys.stdout.write(f"gpudoctor {__version__} (matrices of {MATRICES_DATE})\n")
    return 0


def lazy_group(commands: dict[str, tuple[str, str]]) -> Any:
    """Return a class of group whose commands are imported when they are called, and listed without that.

    A module is a command by its function of that name (or called ``command``), or a group by its own ``COMMANDS``.
    """
    import typer
    from typer.core import TyperGroup

    from gpudoctor.cli.help_text import Command, translate, wide
    from gpudoctor.reports.words import undoubled

    class LazyGroup(TyperGroup):
        def get_help(self, ctx: Any) -> str:
            return undoubled(super().get_help(ctx))

        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name not in commands:
                return None
            module_name, about = commands[cmd_name]
            module = importlib.import_module(module_name)
            if hasattr(module, "COMMANDS"):
                return _subgroup(cmd_name, module.COMMANDS, about)
            function = getattr(module, cmd_name, None) or module.command
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            settings = {"help_option_names": ["-h", "--help"]}
            app.command(cmd_name, cls=Command, help=function.__doc__ or about, context_settings=settings)(function)
            return translate(typer.main.get_command(app))

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, wide(about)) for name, (_, about) in commands.items()])

    return LazyGroup


def _subgroup(name: str, commands: dict[str, tuple[str, str]], about: str) -> Any:
    import typer

    from gpudoctor.cli.help_text import translate

    settings = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(
        name=name, cls=lazy_group(commands), add_completion=False, rich_markup_mode=None, help=about,
        context_settings=settings,
    )  # fmt: skip
    app.callback()(_no_options)
    return translate(typer.main.get_command(app))


def _no_options() -> None:
    """Take the options of a group itself (none but --help)."""


def _group() -> Any:
    import typer

    from gpudoctor.cli.choose_language import LANG_HELP
    from gpudoctor.cli.help_text import translate, wide

    app = typer.Typer(
        name="gpudoctor",
        cls=lazy_group(COMMANDS),
        add_completion=False,
        rich_markup_mode=None,
        epilog=wide(_EPILOG),
        help=_HELP,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    lang = typer.Option(None, "--lang", metavar="en|ko", help=LANG_HELP)

    def options(lang: str | None = lang) -> None:
        # --lang stands here for the help only: it is taken from the command line before that is parsed.
        pass

    app.callback()(options)
    return translate(typer.main.get_command(app))
