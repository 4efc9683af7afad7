"""``gpudoctor profile``: the group of what is done with the golden node."""

#: Command -> (module, what it does in one line). The function has the command's name.
COMMANDS: dict[str, tuple[str, str]] = {
    "save": ("gpudoctor.cli.profile_save", "Save what equal nodes should have in common with this one."),
}
