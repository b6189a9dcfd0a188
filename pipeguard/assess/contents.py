"""What a server says that it offers, and what the rules say of that: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeguard.core import finding
from pipeguard.core.flows.tool_labels import Label


@dataclass(frozen=True, slots=True)
class Offer:
    """One definition that a server listed.

    Attributes:
        kind: `tool`, `prompt`, `resource` or `template`.
        name: its name, URI or URI template.
        labels: what it does, of a tool.
    """

    kind: str
    name: str
    labels: Label = Label.NONE


@dataclass(frozen=True, slots=True)
class Flagged:
    """What a rule saw in what a server said of itself.

    Attributes:
        finding: the rule's, masked.
        what: the definition that it stands in, as `tool read_file`; else what else was said.
    """

    finding: finding.Finding
    what: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What came of asking one server.

    Attributes:
        problem: why nothing is known, or not all; empty where all is.
        offers: what it listed.
        flagged: what the rules saw.
        drifted: definitions that are not what their pins say, as `tool read_file`.
        info: its name and version, as it says them.
        seconds: how long it took.
    """

    problem: str = ""
    offers: tuple[Offer, ...] = ()
    flagged: tuple[Flagged, ...] = ()
    drifted: tuple[str, ...] = ()
    info: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def labels(self) -> Label:
        """What all of its tools do together."""
        found = Label.NONE
        for offer in self.offers:
            found |= offer.labels
        return found
