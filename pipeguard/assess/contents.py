"""What a server offers, and what the rules say of it: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeguard.detect.flows.tool_labels import Label
from pipeguard.firewall import finding


@dataclass(frozen=True, slots=True)
class Offer:
    """One definition that a server listed.

    Attributes:
        kind: `tool`, `prompt`, `resource` or `template`.
        name: its name, URI or URI template.
        labels: what a tool does.
    """

    kind: str
    name: str
    labels: Label = Label.NONE


@dataclass(frozen=True, slots=True)
class Flagged:
    """A rule's finding in what a server says of itself.

    Attributes:
        finding: the finding, masked.
        what: the definition that it is in, as `tool read_file`; else the kind of message.
    """

    finding: finding.Finding
    what: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What came of connecting to one server.

    Attributes:
        problem: why nothing is known, or not everything; else empty.
        offers: what it listed.
        flagged: what the rules found.
        drifted: definitions that differ from their pins, as `tool read_file`.
        info: its name and version, as it gives them.
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
        union = Label.NONE
        for offer in self.offers:
            union |= offer.labels
        return union
