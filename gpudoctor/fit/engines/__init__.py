"""One module per engine: its own rules, constants and the version breaks that change the answer."""
