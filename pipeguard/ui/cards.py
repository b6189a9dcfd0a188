"""Cards for all that waits for a person: what happened, the evidence, and the possible answers.

A card is made from the store alone, and again when it is answered: an answer holds for exactly what
the card showed (`Card.digest`), whatever has changed since.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from pipeguard.errors import PipeGuardError
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.firewall.session.replies import REFUSED_WAIT
from pipeguard.rulebook.packs import load_rules, sources
from pipeguard.rulebook.rule_texts import find_text
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
from pipeguard.state.exemption import describe_opening
from pipeguard.state.grants import find_granted
from pipeguard.state.page_address import definition_card, new_card
from pipeguard.state.proposals import Proposal, proposals
from pipeguard.state.review import StoredDefinition, held_definitions
from pipeguard.state.timestamps import to_utc_text
from pipeguard.ui.evidence import compare_definitions, read_call
from pipeguard.ui.headings import POISONED, find_subject, make_heading
from pipeguard.ui.offers import make_tick
from pipeguard.ui.text import foreign, sentence, show_own
from pipeguard.ui.walls import is_exempt, read_ask_seconds, view_wall
from pipeguard.unicode.display import pluralize, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeguard.state.store import Store
    from pipeguard.ui.evidence import CallEvidence, DefinitionChange
    from pipeguard.ui.walls import WallView

STOPPED_DAYS = 7  # for which what was stopped has a card
MOST_EVENTS = 300  # that are read for them
MOST_CARDS = 15  # that are drawn at once, in 100 KB; the rest is counted
MOST_OFFERS = 50  # new definitions of one server on its card: no answer holds for the rest
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
        group: under which it is listed.
        server: the server's name.
        heading: a sentence of ours, with foreign names set apart.
        what: the kind of thing, in words.
        since: when the first of it happened (ISO 8601, UTC).
        answers: the first opens nothing.
        bound: the texts that an answer holds for.
        title: the heading in fewer words, for the list; or empty.
        last: when the last of it happened, if it happened more than once.
        count: how often it happened.
        event: that stopped something, or None.
        definitions: that wait, or none.
        proposal: of an agent, or None.
        dismissal: the key by which it can be dismissed for good; or empty.
        wall: what would open the wall that it is about, or None.
        launched: how the server is started; or empty.
        more: how many definitions of the server wait that the card does not show.
    """

    id: str
    group: str
    server: str
    heading: Markup
    what: str
    since: str
    answers: tuple[CardAnswer, ...]
    bound: tuple[str, ...]
    title: str = ""
    last: str = ""
    count: int = 1
    event: AuditedEvent | None = None
    definitions: tuple[StoredDefinition, ...] = ()
    proposal: Proposal | None = None
    dismissal: str = ""
    wall: WallView | None = None
    launched: str = ""
    more: int = 0

    @property
    def digest(self) -> str:
        """The digest of what an answer holds for."""
        return sha256("\0".join((self.id, *self.bound)).encode()).hexdigest()[:SHOWN_CHARS]

    def findings(self) -> list[dict[str, str]]:
        """The findings that stopped the event, one for each rule, each with why it matters."""
        if self.event is None:
            return []
        shown: dict[str, dict[str, str]] = {}
        for finding in stopping(self.event):
            shown.setdefault(
                finding["rule"], {**_BLANK, **finding, "why": find_why(finding["rule"])}
            )
        return list(shown.values())[:MOST_FINDINGS]

    def call(self) -> CallEvidence:
        """The evidence about a stopped call."""
        return read_call(stopping(self.event) if self.event else ())

    def change(self) -> DefinitionChange | None:
        """The difference of a definition from its approved version."""
        definition = self.definitions[0]
        if definition.trusted_version is None or definition.pin.held_definition is None:
            return None
        return compare_definitions(definition.trusted_version, definition.pin.held_definition)

    def find_answer(self, name: str) -> CardAnswer | None:
        """The answer of a button."""
        return next((each for each in self.answers if each.name == name), None)


MOST_FINDINGS = 5  # of an event, that a card shows
_BLANK = dict.fromkeys(("excerpt", "note", "arguments", "differs", "place"), "")


@lru_cache(maxsize=256)
def find_why(rule: str) -> str:
    """Why a rule matters: reads the files of its pack, and no other."""
    pack = rule.partition(".")[0]
    if text := find_text(rule):
        return text.why
    files = [each for each in sources() if f"{Path(each.path).stem}-".startswith(f"{pack}-")]
    rules = (each for file in files for each in load_rules([file]))
    return next((each.why for each in rules if each.id == rule), "")


HOLDS_UP = "Holds up an agent"
HELD = "Held until you decide"
STOPPED = "Stopped, perhaps wrongly"
GROUPS = (HOLDS_UP, HELD, STOPPED)


class Waiting(NamedTuple):
    """All that waits, as the page, `pipeguard status` and the icon count it.

    Attributes:
        cards: in the order in which they are drawn.
    """

    cards: list[Card]

    @property
    def page(self) -> list[Card]:
        """The cards that are drawn."""
        return self.cards[:MOST_CARDS]

    def describe(self) -> str:
        """Count them in a sentence, without its full stop: cards, and the definitions on them."""
        if not self.cards:
            return "Nothing waits for you"
        counts = Counter(card.group for card in self.cards)
        held = [len(card.definitions) + card.more for card in self.cards if card.definitions]
        also = {HELD: f", with {sum(held)} definitions"} if sum(held) > len(held) else {}
        listed = "; ".join(
            f"{name.lower()}: {counts[name]}{also.get(name, '')}" for name in GROUPS if counts[name]
        )
        verb = "waits" if len(self.cards) == 1 else "wait"
        return f"{pluralize(len(self.cards), 'thing')} {verb} for you ({listed})"


def find_waiting(store: Store) -> Waiting:
    """Everything that waits for the person, the most urgent first.

    Raises:
        StateError: the store cannot be read.
    """
    # stable: the newest first in each group
    return Waiting(sorted(_cards(store), key=lambda card: GROUPS.index(card.group)))


def find_card(store: Store, card_id: str) -> Card | None:
    """The card with this id, if it still waits."""
    return next((card for card in _cards(store, card_id) if card.id == card_id), None)


def _cards(store: Store, wanted: str = "") -> Iterator[Card]:
    """All cards; at least the wanted one, if its id is given."""
    now = time.time()
    waiting = held_events(store, to_utc_text(now - read_ask_seconds()))
    for event in reversed(waiting):
        yield _call_card(event)
    yield from _definition_cards(store, wanted)
    for proposal in proposals(store):
        if proposal.waits:
            yield _proposal_card(proposal)
    since = to_utc_text(now - STOPPED_DAYS * 86_400)
    decided = {(event.server, event.name) for event in waiting} | find_granted(store, since)
    yield from _stopped_cards(store, stopped_events(store, since, MOST_EVENTS), decided, wanted)


# --- calls --------------------------------------------------------------------------------

_REFUSE = CardAnswer(
    "refuse",
    "Refuse",
    "The model is told no, and goes on without it. Nothing leaves.",
    is_main=True,
)


def _allow_once(when: str) -> CardAnswer:
    return CardAnswer(
        "once",
        "Allow this call once",
        opens=f"this call with these arguments, once: {when}",
        spares="any other call, or the same one again",
    )


def _call_card(event: AuditedEvent) -> Card:
    rule = decisive(stopping(event))
    return Card(
        id=event.name,
        group=HOLDS_UP,
        server=event.server,
        heading=make_heading(event, rule),
        what="A call asks",
        since=event.time,
        answers=(_REFUSE, _allow_once("it goes on at once")),
        bound=(call_mark(event),),
        event=event,
    )


def _stopped_cards(
    store: Store, events: Iterable[AuditedEvent], decided: set[tuple[str, str]], wanted: str
) -> Iterator[Card]:
    """The cards of events, the newest first; none for those that were decided."""
    groups: defaultdict[tuple[str, ...], list[AuditedEvent]] = defaultdict(list)
    for event in events:
        if key := _likeness(event):
            groups[key].append(event)
    gone = dismissals(store)
    for key, alike in groups.items():
        names = [each.name for each in alike]
        place = names.index(wanted) if wanted in names else 0  # more may have come since
        last, later = alike[place], names[: place + 1]
        dismissal = sha256("\0".join(key).encode()).hexdigest()[:32]
        is_gone = {*later, dismissal} & gone or decided & {(last.server, n) for n in later}
        if is_gone or (wanted and wanted != last.name):
            continue
        wall = view_wall(last) if key[0] == "wall" else None
        if not (is_exempt(last) if wall is None else wall.is_settled):
            yield _stopped_card(dismissal, alike[place:], wall)


def _likeness(event: AuditedEvent) -> tuple[str, ...]:
    """By what an event is the same as another for a person; empty for one without a decision."""
    stopped = stopping(event)
    if not stopped or any(REFUSED_WAIT in item.get("note", "") for item in stopped):
        return ()
    rule = decisive(stopped)
    way = find_remedy(rule).way
    if is_wall(rule):
        return ("wall", event.server, rule, find_subject(stopped[0])) if way is Way.GRANT else ()
    if way is not Way.EXCEPTION and not call_mark(event):
        return ()
    contents = sorted(item.get("content", "") for item in stopped)
    return ("stopped", event.server, event.tool, rule, _describe_stop(event), *contents)


_CHANGED = frozenset({"redact", "cut"})  # actions after which the rest goes on


def _describe_stop(event: AuditedEvent) -> str:
    noun = "A result" if event.kind in {"result", "error"} else "A call"
    return f"{noun} was {'changed' if event.action in _CHANGED else 'stopped'}"


def _stopped_card(dismissal: str, alike: list[AuditedEvent], wall: WallView | None) -> Card:
    event = alike[0]
    is_changed = event.action in _CHANGED
    keep, never = _refuse("shut" if wall else "hidden" if is_changed else "blocked")
    grant = "" if wall is None or wall.grant is None else f"{wall.grant.kind} {wall.grant.value}"
    exemptions = () if wall is not None else _exemptions(event)
    return replace(
        _call_card(event),
        group=STOPPED,
        what=_describe_stop(event) if wall is None else "Blocked by isolation",
        since=alike[-1].time,
        last=event.time,
        count=len(alike),
        answers=(keep, *(_wall_openings(event, wall) if wall else _openings(event)), never),
        bound=(call_mark(event), grant, *(str(each) for each in exemptions)),
        dismissal=dismissal,
        wall=wall,
    )


def _refuse(shut: str) -> tuple[CardAnswer, CardAnswer]:
    keep = CardAnswer(
        "keep",
        f"Keep it {shut}",
        "This card goes away. If it happens again, you get a new one.",
        is_main=True,
    )
    gone = "This card goes away for good, even if it happens again."
    return keep, CardAnswer("never", f"Keep it {shut}, never ask again", gone, is_small=True)


def _wall_openings(event: AuditedEvent, wall: WallView) -> Iterator[CardAnswer]:
    if wall.grant is not None:
        opens = sentence(
            "{server} may {what}. {start}",
            server=show_own(event.server),
            what=foreign(wall.grant.opens, 300),
            start=visible(wall.grant.describe_start(event.server)),
        )
        spares = "another host, another file, or another server"
        yield CardAnswer("give", "Give it exactly that", opens=opens, spares=spares)


def _exemptions(event: AuditedEvent) -> tuple[object, ...]:
    try:
        return narrowest(event, None, "")
    except PipeGuardError:
        return ()


def _openings(event: AuditedEvent) -> Iterator[CardAnswer]:
    """The answers that let something pass."""
    if call_mark(event):
        yield _allow_once("when the agent repeats it within 30 minutes")
    if not is_decided_by_call(event) and _exemptions(event):
        for scope in scopes(event):
            opened = describe_opening(narrowest(event, None, "", scope))
            label = f"Allow {'all calls of the' if scope.value == 'tool' else 'this'} {scope.value}"
            yield CardAnswer(
                f"allow-{scope.value}",
                label,
                opens="; ".join(opened),
                spares="what any other rule finds",
                is_small=scope is not scopes(event)[0],
                needs_reason=True,
            )


# --- definitions and servers ----------------------------------------------------------------


def _definition_cards(store: Store, wanted: str) -> Iterator[Card]:
    new: defaultdict[str, list[StoredDefinition]] = defaultdict(list)
    for definition in held_definitions(store):
        if definition.trusted_version is None:
            new[definition.server].append(definition)
        elif wanted in {"", _changed_id(definition)}:
            yield _changed_card(definition)
    for server, offered in new.items():
        if wanted in {"", new_card(server)}:
            card = _new_card(server, offered[:MOST_OFFERS], store.find_launch(server))
            yield replace(card, more=len(offered[MOST_OFFERS:]))


def _changed_id(definition: StoredDefinition) -> str:
    return definition_card(definition.server, definition.pin.kind, definition.pin.name)


def _changed_card(definition: StoredDefinition) -> Card:
    name, changed = foreign(definition.pin.name), Markup("{} of {} changed since it was {}")
    return Card(
        id=_changed_id(definition),
        group=HELD,
        server=definition.server,
        heading=changed.format(name, show_own(definition.server), definition.since),
        title=Markup("{} changed").format(name),
        what=f"A {definition.pin.kind} changed",
        since=definition.pin.held_at,
        answers=(
            CardAnswer(
                "reject",
                "Reject",
                "Clients keep the approved version, and its calls are refused while the server"
                " offers another one.",
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


def _new_card(server: str, definitions: list[StoredDefinition], launched: str) -> Card:
    count = len(definitions)
    kinds = {definition.pin.kind for definition in definitions}
    what = pluralize(count, kinds.pop() if len(kinds) == 1 else "definition")
    bad = sum(each.pin.reason.startswith(POISONED) for each in definitions)
    misused = "with words meant to misuse the model"
    known = f"that nobody has approved{f', {bad} of them {misused}' if bad else ''}"
    known = misused if bad == count else known
    return Card(
        id=new_card(server),
        group=HELD,
        server=server,
        heading=Markup("{} offers {} {}").format(show_own(server), what, known),
        title=Markup("{} of {}").format(what, show_own(server)),
        what="New",
        launched=launched,
        since=min(definition.pin.held_at for definition in definitions),
        answers=(
            CardAnswer(
                "reject",
                "Reject all" if count > 1 else "Reject",
                "No agent sees or calls it. If the server offers it again, it waits again: then"
                " stop using the server, or list the tool under `tools.block` in your policy.",
            ),
            CardAnswer(
                "approve",
                "Approve what is ticked" if count > 1 else "Approve",
                opens="use of exactly what is shown, in every client, within a second",
                spares=f"{'the others, or ' * (count > 1)}a later change",
            ),
        ),
        bound=tuple(map(make_tick, definitions)),
        definitions=tuple(definitions),
    )


def _proposal_card(proposal: Proposal) -> Card:
    name = foreign(proposal.name)
    return Card(
        id=f"proposal-{proposal.fingerprint[:12]}",
        group=HELD,
        server=proposal.name,
        heading=sentence("An agent proposes the server {name}", name=name),
        what="A proposal",
        since=proposal.proposed,
        answers=(
            CardAnswer("reject", "Reject", "Nothing is started."),
            CardAnswer(
                "approve",
                "Approve",
                opens="starting it. Its tools then wait here",
                spares="its tools: no agent sees them before you approve them",
            ),
        ),
        bound=(proposal.fingerprint,),
        proposal=proposal,
    )
