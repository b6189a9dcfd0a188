"""A card: one pending decision, and the possible answers.

Each kind of card has its evidence, its answers, and the effect of each. A new kind is a class in
cards.py or an opening in event_cards.py, its macro in templates/cards.html, which draws it by its
`kind`, and its line in `cards._cards`.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

from pipeguard.ui.offers import make_tick
from pipeguard.ui.scans import Scans, make_key
from pipeguard.ui.text import foreign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.assess.logins import NeededLogin
    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.pins import Store
    from pipeguard.state.review import StoredDefinition
    from pipeguard.ui.decisions import DoneDecision

HOLDS_UP = "Holds up an agent"
HELD = "Held until you decide"
STOPPED = "Stopped, perhaps wrongly"
GROUPS = (HOLDS_UP, HELD, STOPPED)
SHOWN_CHARS = 16  # of the digest of a card's content


class CardAnswer(NamedTuple):
    """A possible answer to a card.

    Attributes:
        name: the button's name, as `approve`.
        label: the button's label, without the dots that announce the number.
        effect: the consequence, for an answer that opens nothing.
        opens: what the answer lets pass, or empty.
        spares: what stays blocked.
        is_main: the answer that the evidence suggests.
        is_small: rarely wanted.
        needs_reason: whether the person must give a reason.
        subject: the end of the label, from outside.
    """

    name: str
    label: str
    effect: str | Markup = ""
    opens: str | Markup = ""
    spares: str | Markup = ""
    is_main: bool = False
    is_small: bool = False
    needs_reason: bool = False
    subject: str = ""

    @property
    def button(self) -> Markup:
        """The whole label."""
        whole = Markup("<span>{} {}</span>")
        return (
            whole.format(self.label, foreign(self.subject)) if self.subject else escape(self.label)
        )


class Card(ABC):
    """A pending decision.

    Attributes:
        kind: the kind of its evidence, as cards.html draws it.
        group: the group that lists it.
        id: part of the page's address; stable as long as the decision is pending.
        heading: a sentence of ours, with foreign names set apart.
        title: a shorter heading for the list, or empty.
        what: the kind of thing, in words.
        now: what is true now, and stays so without an answer.
        since: when the first of it happened (ISO 8601, UTC).
        last: when the last of it happened, if it happened more than once.
        count: how often it happened.
        event: the event that stopped something, or None.
        definitions: the pending definitions, if any.
        more: the number of pending definitions that the card does not show.
        dismissal: the key to dismiss it permanently, or empty.
        needed: the login that a server asks for, or None.
        client: the name of whoever asks, or empty.
        until: when the wait of a call ends (ISO 8601, UTC), or empty.
        is_answer: whether the event is a result, not a call.
        is_whole: whether the card shows long values in full.
        bound: the texts to which an answer applies.
    """

    kind: str
    group = HELD
    title: Markup | str = ""
    now: Markup | str = ""
    last = ""
    count = 1
    event: AuditedEvent | None = None
    definitions: Sequence[StoredDefinition] = ()
    more = 0
    dismissal = ""
    needed: NeededLogin | None = None
    client = ""
    until = ""
    is_answer = is_whole = False
    names_server = True  # next to its heading in the list

    def __init__(self, id_: str, server: str, heading: Markup, what: str, since: str) -> None:
        self.id, self.server, self.heading = id_, server, heading
        self.what, self.since = what, since
        self.bound: tuple[str, ...] = ()

    @property
    @abstractmethod
    def answers(self) -> tuple[CardAnswer, ...]:
        """The possible answers; the first opens nothing."""

    @abstractmethod
    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Carry out an answer.

        Raises:
            NothingDoneError: it was decided elsewhere, or differs from what was shown.
            PipeGuardError: the store or the policy cannot be written.
        """

    @property
    def digest(self) -> str:
        """The digest of the content to which an answer applies."""
        words = (self.id, *self.bound, *(["in full"] * self.is_whole))
        return sha256("\0".join(words).encode()).hexdigest()[:SHOWN_CHARS]

    def find_answer(self, name: str) -> CardAnswer | None:
        """Return the answer of a button."""
        return next((each for each in self.answers if each.name == name), None)

    def choose_opening(self, scans: Scans, by: str) -> ChosenAnswer | None:
        """Return the answer that lets it pass from the list; None if the card must be opened.

        It must be opened for a reason, or if the rules object to any of it or have not looked.
        """
        clean = [each for each in self.definitions if scans.found.get(make_key(each)) == []]
        if len(clean) < len(self.definitions):
            return None
        answer = next((each for each in self.answers if each.opens and not each.needs_reason), None)
        return answer and ChosenAnswer(self, answer, by, ticked=tuple(map(make_tick, clean)))


class ChosenAnswer(NamedTuple):
    """An answer that a person gave.

    Attributes:
        card: the card, as it was shown.
        answer: one of its answers.
        by: the person, and where they gave it.
        why: the person's reason, if the answer needs one.
        ticked: the chosen definitions of a card with several (offers.make_tick).
        until: the last day of an exception, if the answer makes one.
    """

    card: Card
    answer: CardAnswer
    by: str
    why: str = ""
    ticked: tuple[str, ...] = ()
    until: datetime.date | None = None

    @property
    def mark(self) -> str:
        """The answer in every detail."""
        card, until = self.card, str(self.until or "")
        words = (card.id, card.digest, self.answer.name, self.why, until, *sorted(self.ticked))
        return "\0".join(words)
