"""Where models come from: names, files and folders to a `gpudoctor.fit.model.Model`.

A model to add is one table in ``catalogue.toml``. An architecture to add is one rule from a configuration to
a `Blueprint` (`dense` when a few switches tell it from Llama, else a module of its own) and its name in
`config.rule_for`; the catalogue's test then wants the published parameter count to the last digit.
"""

from gpudoctor.fit.sources.resolve import load, requantized

__all__ = ["load", "requantized"]
