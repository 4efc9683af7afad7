"""Text that users paste, read into the same facts that probes fill: one file per kind."""
