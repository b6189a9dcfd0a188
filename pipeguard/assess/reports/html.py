"""A self-contained page of HTML: score, findings, then who reaches what."""

from __future__ import annotations

import platform
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeguard.assess.assessing import Assessment
from pipeguard.assess.checking import checks
from pipeguard.assess.cures import shared_cure
from pipeguard.assess.drawing import draw
from pipeguard.clients.catalog import clients
from pipeguard.unicode.display import shown, visible
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = "report.html"
NAMED_CHARS = 120  # shown of a name or a command in a table or a heading
TEXT_CHARS = 2_000  # shown of a finding, which quotes names
_COLUMNS = (
    ("server", "server"),
    ("what", "what it is"),
    ("clients", "clients"),
    ("state", "state"),
    ("touches", "can touch"),
)


def render(assessment: Assessment) -> str:
    """The page. The template engine escapes every text; the page has no script."""
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
    for name in dict.fromkeys(finding.check for finding in assessment.findings):
        findings = [finding for finding in assessment.findings if finding.check == name]
        worst = max(finding.severity for finding in findings)
        groups.append((checks()[name], worst, findings, shared_cure(findings)))
    names = {name: client.name for name, client in clients().items()}
    return environment.get_template(TEMPLATE).render(
        assessment=assessment,
        grade=assessment.grade,
        counts=[(level.name.lower(), count) for level, count in assessment.counts().items()],
        groups=groups,
        columns=_COLUMNS,
        plural=_plural,
        drawing=draw(assessment.reached, names),
        clients=names,
        command=shlex.join,
        version=VERSION,
        made=datetime.now(UTC),
        what=assessment.target.root or f"machine {platform.node()}",
    )


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _named(text: str) -> str:
    return shown(text, NAMED_CHARS)


def _marked(text: str) -> Markup:
    """A sentence, escaped; text between backticks as code."""
    from markupsafe import Markup, escape

    parts = re.split("`([^`]+)`", shown(text, TEXT_CHARS))
    marked = (
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )
    return Markup("").join(marked)
