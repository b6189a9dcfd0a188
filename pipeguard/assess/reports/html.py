"""One page of HTML that needs nothing else: score, findings, and who reaches what."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.drawing import draw
from pipeguard.clients.catalog import clients
from pipeguard.core.unicode.display import shown, visible
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = "report.html"
NAMED_CHARS = 120  # of a name or a command in a table or a heading
TOLD_CHARS = 2_000  # of a finding, which has names in it
_COLUMNS = (
    ("server", "server"),
    ("what", "what it is"),
    ("clients", "clients"),
    ("state", "state"),
    ("touches", "can touch"),
)


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
    environment.filters |= {"visible": visible, "named": _named, "marked": _marked}
    groups = []
    for name in dict.fromkeys(one.check for one in assessment.findings):
        found = [one for one in assessment.findings if one.check == name]
        groups.append((checks()[name], max(one.severity for one in found), found))
    return environment.get_template(TEMPLATE).render(
        assessment=assessment,
        grade=assessment.grade,
        counts=[(one.name.lower(), count) for one, count in assessment.counts().items()],
        groups=groups,
        columns=_COLUMNS,
        told=_told,
        drawing=draw(assessment.reached, {name: one.name for name, one in clients().items()}),
        clients={name: one.name for name, one in clients().items()},
        command=shlex.join,
        version=VERSION,
    )


def _told(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _named(text: str) -> str:
    return shown(text, NAMED_CHARS)


def _marked(text: str) -> Markup:
    """A sentence, escaped; what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = re.split("`([^`]+)`", shown(text, TOLD_CHARS))
    told = (
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )
    return Markup("").join(told)
