"""Every kind of document that is recognised inside a paste. One line here, one file with its reader."""

from gpudoctor.evidence.blocks import Kind

KINDS: tuple[Kind, ...] = ()
