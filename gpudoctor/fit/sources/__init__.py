"""Where models come from: names, files and folders to a `gpudoctor.fit.model.Model`."""

from gpudoctor.fit.sources.resolve import load, requantized

__all__ = ["load", "requantized"]
