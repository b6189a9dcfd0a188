"""A card: one thing that waits for a person, and the answers to it.

Each kind of card is a class with its evidence, its answers, and what each of them does. A new kind
is a class in event_cards.py or cards.py, its macro in templates/cards.html, which draws it by its
`kind`, and its line in `cards._cards`.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.ui.offers import make_tick
from pipeguard.ui.scans import make_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.review import StoredDefinition
    from pipeguard.state.store import Store
    from pipeguard.ui.decisions import DoneDecision
    from pipeguard.ui.scans import Scans

HOLDS_UP = "Holds up an agent"
HELD = "Held until you decide"
STOPPED = "Stopped, perhaps wrongly"
GROUPS = (HOLDS_UP, HELD, STOPPED)
SHOWN_CHARS = 16  # of the digest of what a card shows


class CardAnswer(NamedTuple):
    """One answer to a card.

    Attributes:
        name: of the button, as `approve`.
        label: on the button, without the dots of one that asks for the number.
        effect: what happens then, for an answer that opens nothing.
        opens: what passes then; empty for an answer that opens nothing.
        spares: what stays shut all the same.
        is_main: the one that the evidence speaks for.
        is_small: seldom wanted.
        needs_reason: whether the person says why.
    """

    name: str
    label: str
    effect: str | Markup = ""
    opens: str | Markup = ""
    spares: str | Markup = ""
    is_main: bool = False
    is_small: bool = False
    needs_reason: bool = False


class Card(ABC):
    """One thing that waits.

    Attributes:
        kind: of its evidence, as cards.html draws it.
        group: under which it is listed.
        id: in the page's address; the same as long as the same waits.
        server: the server's name.
        heading: a sentence of ours, with foreign names set apart.
        title: the same in fewer words, for the list; or empty.
        what: the kind of thing, in words.
        since: when the first of it happened (ISO 8601, UTC).
        last: when the last of it happened, if it happened more than once.
        count: how often it happened.
        event: that stopped something, or None.
        definitions: that wait, or none.
        more: how many definitions of the server wait that the card does not show.
        dismissal: the key by which it can be dismissed for good; or empty.
        bound: the texts that an answer holds for.
    """

    kind: str
    group = HELD
    title: Markup | str = ""
    last = ""
    count = 1
    event: AuditedEvent | None = None
    definitions: Sequence[StoredDefinition] = ()
    more = 0
    dismissal = ""
    names_server = True  # next to its heading in the list

    def __init__(self, id_: str, server: str, heading: Markup, what: str, since: str) -> None:
        self.id, self.server, self.heading = id_, server, heading
        self.what, self.since = what, since
        self.bound: tuple[str, ...] = ()

    @property
    @abstractmethod
    def answers(self) -> tuple[CardAnswer, ...]:
        """The answers; the first opens nothing."""

    @abstractmethod
    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Do what an answer says.

        Raises:
            NothingDoneError: it was decided elsewhere, or is no longer what was shown.
            PipeGuardError: the store or the policy cannot be written.
        """

    @property
    def digest(self) -> str:
        """The digest of what an answer holds for."""
        return sha256("\0".join((self.id, *self.bound)).encode()).hexdigest()[:SHOWN_CHARS]

    def find_answer(self, name: str) -> CardAnswer | None:
        """The answer of a button."""
        return next((each for each in self.answers if each.name == name), None)

    def choose_opening(self, scans: Scans, by: str) -> ChosenAnswer | None:
        """The answer that lets it pass from the list; None if the card has to be looked at.

        It has to be looked at for a reason, and if the rules found something or have not looked.
        """
        clean = [each for each in self.definitions if scans.found.get(make_key(each)) == []]
        if self.definitions and not clean:
            return None
        answer = next((each for each in self.answers if each.opens and not each.needs_reason), None)
        return answer and ChosenAnswer(self, answer, by, ticked=tuple(map(make_tick, clean)))


class ChosenAnswer(NamedTuple):
    """An answer that a person gave.

    Attributes:
        card: as it was shown.
        answer: one of its answers.
        by: who gave it, and where.
        why: the person's reason; empty where none is asked for.
        ticked: of a card with several definitions, those that are meant (offers.make_tick).
        until: the last day of an exception; None where none is asked for.
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
