"""Cards for all that waits for a person: what happened, the evidence, and the possible answers.

A card is made from the store alone, and again when it is answered: an answer holds for exactly what
the card showed (`Card.digest`), whatever has changed since.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.policy import DEFAULT_ASK_SECONDS
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.rule_texts import FAMILIES
from pipeguard.state.dismissals import dismissals
from pipeguard.state.exceptions import (
    AuditedEvent,
    call_mark,
    decisive,
    held_events,
    is_decided_by_call,
    is_wall,
    narrowest,
    scopes,
    stopped_events,
    stopping,
)
from pipeguard.state.proposals import Proposal, ProposalState, proposals
from pipeguard.state.review import HeldDefinition, held_definitions
from pipeguard.state.timestamps import to_utc_text
from pipeguard.ui.text import foreign, sentence, show_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeguard.detect.rules.rule import Rule
    from pipeguard.state.store import Store

STOPPED_DAYS = 7  # for which what was stopped has a card
MOST_EVENTS = 300  # that are read for them
MOST_CARDS = 60  # that are drawn at once; the rest is counted
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


@dataclass(frozen=True, slots=True)
class Card:
    """One thing that waits.

    Attributes:
        id: in the page's address; the same as long as the same waits.
        kind: the template that draws it: `call`, `stopped`, `wall`, `tools`, `proposal`.
        group: under which it is listed.
        server: the server's name.
        heading: a sentence of ours, with foreign names set apart.
        title: the same in few words, for the list.
        what: the kind of thing, in words.
        since: when the first of it happened (ISO 8601, UTC).
        last: likewise, the last.
        count: how often it happened.
        answers: the first opens nothing.
        bound: the texts that an answer holds for.
        event: that stopped something, or None.
        definitions: that wait, or none.
        proposal: of an agent, or None.
        dismissal: the key by which it can be dismissed for good; or empty.
    """

    id: str
    kind: str
    group: str
    server: str
    heading: Markup
    title: Markup
    what: str
    since: str
    last: str
    count: int
    answers: tuple[CardAnswer, ...]
    bound: tuple[str, ...]
    event: AuditedEvent | None = None
    definitions: tuple[HeldDefinition, ...] = ()
    proposal: Proposal | None = None
    dismissal: str = ""

    @property
    def digest(self) -> str:
        """The digest of what an answer holds for."""
        return sha256("\0".join((self.id, *self.bound)).encode()).hexdigest()[:SHOWN_CHARS]

    def findings(self) -> list[dict[str, str]]:
        """The findings that stopped the event, each with why it matters; the same passage once."""
        if self.event is None:
            return []
        rules = {rule.id: rule for rule in load_rules()}
        shown: dict[tuple[str, str], dict[str, str]] = {}
        for finding in stopping(self.event):
            key = finding["rule"], finding.get("excerpt", "")
            shown.setdefault(key, {**_BLANK, **finding, "why": _why(finding["rule"], rules)})
        return list(shown.values())[:MOST_FINDINGS]

    def find_answer(self, name: str) -> CardAnswer | None:
        """The answer of a button."""
        return next((each for each in self.answers if each.name == name), None)


MOST_FINDINGS = 5  # of an event, that a card shows
_BLANK = dict.fromkeys(("excerpt", "note", "arguments", "differs", "place"), "")


def _why(rule: str, rules: dict[str, Rule]) -> str:
    if rule in rules:
        return rules[rule].why
    return FAMILIES.get(rule) or FAMILIES.get(rule.partition(".")[0], "")


HOLDS_UP = "Holds up an agent"
HELD = "Held until you decide"
STOPPED = "Stopped, perhaps wrongly"
GROUPS = (HOLDS_UP, HELD, STOPPED)


@dataclass(slots=True)
class Waiting:
    """All that waits.

    Attributes:
        cards: in the order in which they are drawn.
        more: how many are not drawn.
    """

    cards: list[Card] = field(default_factory=list)
    more: int = 0


def find_waiting(store: Store, ask_seconds: float = DEFAULT_ASK_SECONDS) -> Waiting:
    """Everything that waits for the person, the most urgent first.

    Raises:
        StateError: the store cannot be read.
    """
    gone = dismissals(store)
    cards = [card for card in _cards(store, ask_seconds) if card.dismissal not in gone]
    cards.sort(key=lambda card: GROUPS.index(card.group))  # stable: the newest first in each
    return Waiting(cards[:MOST_CARDS], max(0, len(cards) - MOST_CARDS))


def find_card(store: Store, card_id: str, ask_seconds: float = DEFAULT_ASK_SECONDS) -> Card | None:
    """The card with this id, if it still waits."""
    return next((card for card in _cards(store, ask_seconds) if card.id == card_id), None)


def _cards(store: Store, ask_seconds: float) -> Iterator[Card]:
    now = time.time()
    waiting = held_events(store, to_utc_text(now - ask_seconds))
    for event in reversed(waiting):
        yield _call_card(event)
    yield from _definition_cards(held_definitions(store))
    for proposal in proposals(store):
        if proposal.state is not ProposalState.APPROVED:
            yield _proposal_card(proposal)
    since = to_utc_text(now - STOPPED_DAYS * 86_400)
    held = {event.name for event in waiting}
    yield from _stopped_cards(
        event for event in stopped_events(store, since, MOST_EVENTS) if event.name not in held
    )


# --- calls --------------------------------------------------------------------------------

_HEADINGS = {
    "flows.ordered": "A text that the model read has it call {tool}",
    "flows.private-out": "{tool} would send out private text",
    "flows.secret-out": "{tool} would send out a secret that another tool returned",
    "flows.untrusted-acts": "{tool} would act on a text that anybody may have written",
    "secrets": "A secret was on its way to {tool}",
    "injection": "A result of {tool} gives the model orders",
    "poisoning": "A definition of {server} gives the model orders",
    "commands": "{tool} would run a dangerous command",
    "pii": "Personal numbers were on their way to {tool}",
    "egress": "{server} wants to reach {subject}",
    "isolation": "{server} wants {subject}",
}
_REFUSE = CardAnswer(
    "refuse",
    "Refuse",
    "The model is told no, and goes on without it. Nothing leaves.",
    is_main=True,
)


def write_heading(event: AuditedEvent, rule: str) -> Markup:
    """A sentence that says what happened, and because of what."""
    template = _HEADINGS.get(rule) or _HEADINGS.get(rule.partition(".")[0], "{tool} was stopped")
    finding = stopping(event)[0] if stopping(event) else {}
    subject = finding.get("host") or finding.get("path") or finding.get("excerpt", "")
    tool = event.tool or finding.get("tool", "") or event.method or "a message"
    return sentence(
        template, tool=foreign(tool), server=show_own(event.server), subject=foreign(subject)
    )


def _allow_once(*, is_waiting: bool) -> CardAnswer:
    return CardAnswer(
        "once",
        "Allow this call once",
        opens="this call with these arguments, once"
        + (
            ", and it goes on now"
            if is_waiting
            else ", when the agent repeats it within 30 minutes"
        ),
        spares="other arguments, other calls, or the same call again",
    )


def _call_card(event: AuditedEvent) -> Card:
    rule = decisive(stopping(event))
    return Card(
        id=event.name,
        kind="call",
        group=HOLDS_UP,
        server=event.server,
        heading=write_heading(event, rule),
        title=write_heading(event, rule),
        what="A call asks",
        since=event.time,
        last=event.time,
        count=1,
        answers=(_REFUSE, _allow_once(is_waiting=True)),
        bound=(call_mark(event),),
        event=event,
    )


def _stopped_cards(events: Iterable[AuditedEvent]) -> Iterator[Card]:
    groups: defaultdict[tuple[str, ...], list[AuditedEvent]] = defaultdict(list)
    for event in events:  # the newest first
        if key := _likeness(event):
            groups[key].append(event)
    for key, alike in groups.items():
        yield _stopped_card(key, alike)


def _likeness(event: AuditedEvent) -> tuple[str, ...]:
    """By what an event is the same as another for a person; empty for one without a decision."""
    stopped = stopping(event)
    if not stopped:
        return ()
    rule = decisive(stopped)
    way = find_remedy(rule).way
    if is_wall(rule):
        subject = stopped[0].get("host") or stopped[0].get("path") or stopped[0].get("excerpt", "")
        return ("wall", event.server, rule, subject) if way is Way.GRANT else ()
    if way is not Way.EXCEPTION and not call_mark(event):
        return ()
    contents = sorted(item.get("content", "") for item in stopped)
    return ("stopped", event.server, event.tool, rule, *contents)


def _stopped_card(key: tuple[str, ...], alike: list[AuditedEvent]) -> Card:
    event, rule = alike[0], decisive(stopping(alike[0]))
    kind = key[0]
    keep = CardAnswer(
        "keep", "Keep it blocked", "Nothing changes. The next time asks again.", is_main=True
    )
    never = CardAnswer(
        "never",
        "Keep it blocked, never ask again",
        "The same gets no card any more, and stays blocked.",
        is_small=True,
    )
    return Card(
        id=event.name,
        kind=kind,
        group=STOPPED,
        server=event.server,
        heading=write_heading(event, rule),
        title=write_heading(event, rule),
        what="A wall of isolation" if kind == "wall" else "Stopped",
        since=alike[-1].time,
        last=event.time,
        count=len(alike),
        answers=(keep, *_openings(event, kind), never),
        bound=(call_mark(event), *(str(each) for each in _exemptions(event))),
        event=event,
        dismissal=sha256("\0".join(key).encode()).hexdigest()[:32],
    )


def _exemptions(event: AuditedEvent) -> tuple[object, ...]:
    try:
        return narrowest(event, None, "")
    except PipeGuardError:
        return ()


def _openings(event: AuditedEvent, kind: str) -> Iterator[CardAnswer]:
    """The answers that let something pass."""
    if kind == "wall":
        yield CardAnswer(
            "give", "Give it exactly that", opens="what the card names, for this server"
        )
        return
    if call_mark(event):
        yield _allow_once(is_waiting=False)
    if not is_decided_by_call(event) and _exemptions(event):
        for scope in scopes(event):
            first = narrowest(event, None, "", scope)[0]
            yield CardAnswer(
                f"allow-{scope.value}",
                f"Allow this {scope.value}"
                if scope.value != "tool"
                else "Allow all calls of the tool",
                opens=first.opens(),
                spares="another finding in the same message",
                is_small=scope is not scopes(event)[0],
                needs_reason=True,
            )


# --- definitions and servers ----------------------------------------------------------------


def _definition_cards(definitions: list[HeldDefinition]) -> Iterator[Card]:
    new: defaultdict[str, list[HeldDefinition]] = defaultdict(list)
    for definition in definitions:
        if definition.trusted_version is None:
            new[definition.server].append(definition)
        else:
            yield _changed_card(definition)
    for server, offered in new.items():
        yield _new_card(server, offered)


def _changed_card(definition: HeldDefinition) -> Card:
    name = foreign(definition.pin.name)
    return Card(
        id=_definition_id(definition),
        kind="tools",
        group=HELD,
        server=definition.server,
        heading=Markup("{} of {} is not what you approved").format(name, definition.server),
        title=Markup("{} changed").format(name),
        what=f"A {definition.pin.kind} changed",
        since=definition.pin.held_at,
        last=definition.pin.held_at,
        count=1,
        answers=(
            CardAnswer(
                "reject",
                "Reject",
                "Discards the new words. The old ones stay approved; calls are refused while the"
                " server offers others.",
            ),
            CardAnswer(
                "approve",
                "Approve",
                opens="exactly this version, in every client, within a second",
                spares="a later change",
            ),
        ),
        bound=(definition.pin.held_fingerprint or "",),
        definitions=(definition,),
    )


def _new_card(server: str, definitions: list[HeldDefinition]) -> Card:
    count = len(definitions)
    times = sorted(definition.pin.held_at for definition in definitions)
    what = "1 definition" if count == 1 else f"{count} definitions"
    return Card(
        id=f"new-{sha256(server.encode()).hexdigest()[:12]}",
        kind="tools",
        group=HELD,
        server=server,
        heading=Markup("{} offers {} that nobody approved").format(server, what),
        title=Markup("{} of {}").format(what, server),
        what="New",
        since=times[0],
        last=times[-1],
        count=1,
        answers=(
            CardAnswer(
                "reject",
                "Reject all" if count > 1 else "Reject",
                "Discards them. If the server offers them again, they are held again.",
            ),
            CardAnswer(
                "approve",
                "Approve what is ticked",
                opens="those, exactly as they are worded here, in every client",
                spares="the others: no agent sees or calls them",
            ),
        ),
        bound=tuple(
            f"{each.pin.kind} {each.pin.name} {each.pin.held_fingerprint}" for each in definitions
        ),
        definitions=tuple(definitions),
    )


def _definition_id(definition: HeldDefinition) -> str:
    names = "\0".join((definition.server, definition.pin.kind, definition.pin.name))
    return f"def-{sha256(names.encode()).hexdigest()[:12]}"


def _proposal_card(proposal: Proposal) -> Card:
    name = foreign(proposal.name)
    leaving = proposal.state is ProposalState.LEAVING
    words = "An agent proposes the server {name}"
    if leaving:
        words = "An agent wants {name} removed"
    return Card(
        id=f"proposal-{proposal.fingerprint[:12]}",
        kind="proposal",
        group=HELD,
        server=proposal.name,
        heading=sentence(words, name=name),
        title=sentence(words, name=name),
        what="A proposal",
        since=proposal.proposed,
        last=proposal.proposed,
        count=1,
        answers=(
            CardAnswer(
                "reject", "Reject", "It stays." if leaving else "The proposal is forgotten."
            ),
            CardAnswer(
                "approve",
                "Remove it" if leaving else "Approve",
                opens="its removal" if leaving else "its start; its tools then wait here",
                spares="" if leaving else "its tools: no agent sees them before you approve them",
            ),
        ),
        bound=(proposal.fingerprint, proposal.state.value),
        proposal=proposal,
    )
