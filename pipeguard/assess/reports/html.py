"""One page of HTML that needs nothing else: score, findings, and who reaches what."""

from __future__ import annotations

import shlex
from pathlib import Path

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.drawing import draw
from pipeguard.clients.catalog import clients
from pipeguard.core.visible import visible
from pipeguard.version import VERSION

TEMPLATE = "report.html"


def render(assessment: Assessment) -> str:
    """The page. Every text is escaped by the template engine; no script is in it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    groups = []
    for name in dict.fromkeys(one.check for one in assessment.findings):
        found = [one for one in assessment.findings if one.check == name]
        groups.append((checks()[name], max(one.severity for one in found), found))
    return environment.get_template(TEMPLATE).render(
        assessment=assessment,
        grade=assessment.grade,
        counts=[(one.name.lower(), count) for one, count in assessment.counts().items()],
        groups=groups,
        drawing=draw(assessment.reached, {name: one.name for name, one in clients().items()}),
        clients={name: one.name for name, one in clients().items()},
        command=shlex.join,
        version=VERSION,
    )
