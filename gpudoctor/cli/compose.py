"""``gpudoctor compose``: the group of what is done with Compose files."""

from typing import Any

#: Command -> (module, what it does in one line). The function has the command's name.
COMMANDS: dict[str, tuple[str, str]] = {
    "lint": ("gpudoctor.cli.compose_lint", "Judge Compose files for this machine, a recorded or a named one."),
    "fix": ("gpudoctor.cli.compose_fix", "Show the corrected file as a diff, or write it with --apply."),
}


def group() -> Any:
    """Build the group; its commands are imported when they are called."""
    import typer

    from gpudoctor.cli import lazy_group

    app = typer.Typer(
        name="compose",
        cls=lazy_group(COMMANDS),
        add_completion=False,
        rich_markup_mode=None,
        help="Judge Compose files before they start, and mend them.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    return typer.main.get_command(app)


def _options() -> None:
    """Take the options of the group itself (none but --help)."""
