"""``gpudoctor compose``: the group of what is done with Compose files."""

#: Command -> (module, what it does in one line). The function has the command's name.
COMMANDS: dict[str, tuple[str, str]] = {
    "lint": ("gpudoctor.cli.compose_lint", "Judge Compose files for this machine, a recorded or a named one."),
    "fix": ("gpudoctor.cli.compose_fix", "Show the corrected file as a diff, or write it with --apply."),
}
