"""A rack as one page."""

from gpudoctor.fleet.hosts import fold
from gpudoctor.fleet.merge import Fleet
from gpudoctor.reports.fleet_console import WORDS
from gpudoctor.reports.html import environment
from gpudoctor.reports.language import tell, tell_many


def render(fleet: Fleet) -> str:
    """Return the fleet's report as one self-contained page."""
    templates = environment()
    templates.filters["fold"] = fold
    template = templates.get_template("fleet.html.j2")
    count = tell_many("{count} node", "{count} nodes", len(fleet.nodes))
    return template.render(fleet=fleet, count=count, title=tell("gpudoctor: nodes"), words=WORDS)
