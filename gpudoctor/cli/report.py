"""``gpudoctor report``: the group of what is done with reports that were written before."""

#: Command -> (module, what it does in one line). The function has the command's name.
COMMANDS: dict[str, tuple[str, str]] = {
    "merge": ("gpudoctor.cli.report_merge", "Make one report of many nodes': the worst first, and what differs."),
    "diff": ("gpudoctor.cli.report_diff", "Show what differs between two reports."),
}
