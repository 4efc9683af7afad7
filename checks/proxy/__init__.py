"""nginx in front of an engine."""
