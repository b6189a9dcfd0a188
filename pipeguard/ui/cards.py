"""Makes cards for all pending decisions, and carries out the answers.

A card is made from the store only, and made again when it is answered: an answer applies to exactly
the content that the card showed (`Card.digest`), whatever has changed in the meantime.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from markupsafe import Markup

from pipeguard.assess.logins import NeededLogin, find_logins
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.finding import tells_private
from pipeguard.firewall.session.remedies import Way, find_remedy
from pipeguard.firewall.session.replies import REFUSED_WAIT
from pipeguard.state import exceptions, grants, proposals
from pipeguard.state import proposals as proposed
from pipeguard.state.dismissals import dismissals
from pipeguard.state.exceptions import AuditedEvent
from pipeguard.state.page_address import definition_card, new_card
from pipeguard.state.pins import Store
from pipeguard.state.review import StoredDefinition, approve, reject, restore, stored_definitions
from pipeguard.state.timestamps import from_utc_text, to_utc_text
from pipeguard.ui import evidence, own_policy
from pipeguard.ui.card import GROUPS, HELD, Card, CardAnswer, ChosenAnswer
from pipeguard.ui.decisions import DoneDecision, NothingDoneError
from pipeguard.ui.event_cards import (
    CallCard,
    EventProof,
    StoppedCard,
    describe_stop,
    make_event_card,
    make_wall_card,
)
from pipeguard.ui.headings import POISONED, find_subject
from pipeguard.ui.offers import make_tick
from pipeguard.ui.text import foreign, sentence, show_own
from pipeguard.unicode.display import pluralize

STOPPED_DAYS = 7  # for which stopped calls and results have a card
MOST_EVENTS = 300  # that are read for them
MOST_CARDS = 15  # that are drawn at once, in 100 KB; the rest is counted
MOST_OFFERS = 50  # new definitions of one server on its card: no answer holds for the rest


def describe_waiting(cards: Sequence[Card]) -> str:
    """Count pending decisions in a sentence, without its full stop: cards, and definitions."""
    if not cards:
        return "Nothing waits for you"
    counts = Counter(card.group for card in cards)
    held = [len(card.definitions) + card.more for card in cards if card.definitions]
    also = {HELD: f", with {sum(held)} definitions"} if sum(held) > len(held) else {}
    listed = "; ".join(
        f"{name.lower()}: {counts[name]}{also.get(name, '')}" for name in GROUPS if counts[name]
    )
    verb = "waits" if len(cards) == 1 else "wait"
    return f"{pluralize(len(cards), 'thing')} {verb} for you ({listed})"


def find_waiting(store: Store, wanted: str = "") -> list[Card]:
    """List all pending decisions, the most urgent first; the page draws the first `MOST_CARDS`.

    Args:
        store: the store.
        wanted: the id of a card that is enough.

    Raises:
        StateError: the store cannot be read.
    """
    # stable: the newest first in each group
    return sorted(_cards(store, wanted), key=lambda card: GROUPS.index(card.group))


def carry_out_all(store: Store, chosen: Sequence[ChosenAnswer]) -> DoneDecision:
    """Carry out answers; if there are several, name and skip those that are no longer possible.

    Raises:
        NothingDoneError: a single one was decided elsewhere, or differs from what was shown.
        PipeGuardError: the store or the policy cannot be written.
    """
    if len(chosen) == 1:
        return chosen[0].card.carry_out(store, chosen[0])
    done, failed = list[DoneDecision](), list[str]()
    for each in chosen:
        try:
            done.append(each.card.carry_out(store, each))
        except PipeGuardError as error:
            failed.append(f"{each.card.server}: {error}")
    if not done:
        raise NothingDoneError("\n".join(failed))
    words = Markup("You decided on {}.").format(pluralize(len(done), "thing"))
    if failed:
        words += Markup(" Not on {}: {}").format(len(failed), foreign(failed[0], 300))
    undos = [each.undo for each in reversed(done) if each.undo is not None]

    def undo(store: Store) -> bool:
        return all([each(store) for each in undos])  # noqa: C419  each is tried

    return DoneDecision(words, undo if undos else None)


def _cards(store: Store, wanted: str) -> Iterator[Card]:
    """Yield all cards; at least the wanted one, unless its id is empty."""
    now, ask_seconds = time.time(), own_policy.read_ask_seconds()
    waiting = exceptions.held_events(store, to_utc_text(now - ask_seconds))
    for event in reversed(waiting):
        yield CallCard(event, to_utc_text(from_utc_text(event.time) + ask_seconds))
    yield from _definition_cards(store, wanted)
    yield from (ProposalCard(each) for each in proposed.proposals(store) if each.waits)
    gone = dismissals(store)
    logins = map(_make_login_card, find_logins(store))
    yield from (card for card in logins if not {card.id, card.dismissal} & gone)
    since = to_utc_text(now - STOPPED_DAYS * 86_400)
    decided = {(event.server, event.name) for event in waiting} | grants.find_granted(store, since)
    stopped = exceptions.stopped_events(store, since, MOST_EVENTS)
    yield from _stopped_cards(store, stopped, decided, wanted)


def _stopped_cards(
    store: Store, events: Iterable[AuditedEvent], decided: set[tuple[str, str]], wanted: str
) -> Iterator[Card]:
    """Make cards of undecided events, the newest first."""
    groups: defaultdict[tuple[str, ...], list[AuditedEvent]] = defaultdict(list)
    for event in events:
        if key := _likeness(event):
            groups[key].append(event)
    gone = dismissals(store)
    for key, alike in groups.items():
        names = [each.name for each in alike]
        place = names.index(wanted) if wanted in names else 0  # more may have come in the meantime
        last, later = alike[place], names[: place + 1]
        dismissal = sha256("\0".join(key).encode()).hexdigest()[:32]
        is_gone = {*later, dismissal} & gone or decided & {(last.server, n) for n in later}
        if is_gone or (wanted and wanted != last.name):
            continue
        if key[0] == "wall":
            wall = make_wall_card(dismissal, alike[place:])
            if wall is not None:
                yield wall
        elif not own_policy.is_exempt(last):
            yield make_event_card(dismissal, alike[place:])


def _likeness(event: AuditedEvent) -> tuple[str, ...]:
    """Return a key that events share if one decision covers them; empty if none is needed."""
    stopped = exceptions.stopping(event)
    if not stopped or any(REFUSED_WAIT in item.get("note", "") for item in stopped):
        return ()
    rule = exceptions.decisive(stopped)
    way = find_remedy(rule).way
    if exceptions.is_wall(rule):
        return ("wall", event.server, rule, find_subject(stopped[0])) if way is Way.GRANT else ()
    if way is not Way.EXCEPTION and not exceptions.call_mark(event):
        return ()
    # The rest of a result may differ each time; of a secret or a call, the excerpt is not all.
    key = "content" if tells_private(rule) or event.kind == "request" else "excerpt"
    marks = {item.get(key) or item.get("content", "") for item in stopped if item["rule"] == rule}
    return ("stopped", event.server, event.tool, rule, describe_stop(event), *sorted(marks))


# --- definitions and servers ----------------------------------------------------------------


def _definition_cards(store: Store, wanted: str) -> Iterator[Card]:
    new: defaultdict[str, list[StoredDefinition]] = defaultdict(list)
    for definition in stored_definitions(store):
        if not (definition.waits or (wanted and definition.pin.is_rejected)):
            continue
        if definition.waits and definition.trusted_version is None:
            new[definition.server].append(definition)
        elif wanted in {"", _changed_id(definition)}:
            yield ChangedCard(definition)
    for server, offered in new.items():
        if wanted in {"", new_card(server)}:
            yield NewCard(server, offered, store.find_launch(server))


def _changed_id(definition: StoredDefinition) -> str:
    return definition_card(definition.server, definition.pin.kind, definition.pin.name)


def _decide_definitions(card: Card, store: Store, chosen: ChosenAnswer) -> DoneDecision:
    """Approve or reject pending definitions of one server; of several, approve the ticked ones."""
    is_approval, by = chosen.answer.name == "approve", chosen.by
    meant = card.definitions
    if is_approval and len(meant) > 1:
        meant = [each for each in meant if make_tick(each) in chosen.ticked]
    if not meant:
        raise NothingDoneError("Nothing is ticked, so nothing was approved.")
    done = (approve if is_approval else reject)(store, meant, by)
    if not done:
        raise NothingDoneError("The server has changed it since, or it was decided elsewhere.")
    verb = "approved" if is_approval else "rejected"
    what = foreign(done[0].pin.name) if len(done) == 1 else f"{len(done)} definitions"
    words = Markup("You {} {} of {}.").format(verb, what, show_own(card.server))
    if len(done) < len(meant):
        left = len(meant) - len(done)
        words += Markup(" {} changed in the meantime and still wait.").format(left)
    return DoneDecision(words, lambda store: restore(store, done, by, is_approval=is_approval))


class ChangedCard(Card):
    """A definition that changed after it was trusted."""

    kind = "change"
    launched, starts = "", ()

    def __init__(self, definition: StoredDefinition) -> None:
        pin, name, since = definition.pin, foreign(definition.pin.name), definition.since
        template = "{name} of {of} changed since it was {since}" if since else "{name} of {of}"
        heading = sentence(template, name=name, of=show_own(definition.server), since=since)
        what = f"A {pin.kind} changed"
        super().__init__(_changed_id(definition), definition.server, heading, what, pin.held_at)
        self.title = Markup("{} changed").format(name)
        refused = {"tool": "calls", "skill": "files"}.get(pin.kind)
        use = f", and its {refused} are refused," if refused else ""
        version = "approved version" if pin.is_reviewed else f"version {pin.origin}"
        self.now = f"Agents still see the {version}{use} until you decide."
        if pin.kind == "content":
            self.now = "No agent can read it until you decide."
        self.definitions = (definition,)
        self.bound = (pin.held_fingerprint or "",)
        if self.change() is None:
            self.kind = NewCard.kind

    @property
    def answers(self) -> tuple[CardAnswer, ...]:
        """Keep the approved version, or trust this one."""
        never = "No agent sees the new version. While the server offers it, its use is refused."
        version = "exactly this version, in every client, within a second"
        return (
            CardAnswer("reject", "Reject", never),
            CardAnswer("approve", "Approve", opens=version, spares="a later change"),
        )

    carry_out = _decide_definitions

    def change(self) -> dict[str, object] | None:
        """The difference of the definition from its approved version."""
        old, new = self.definitions[0].trusted_version, self.definitions[0].pin.held_definition
        return None if old is None or new is None else evidence.compare_definitions(old, new)


class NewCard(Card):
    """New definitions of a server, and its command.

    Args:
        server: its name.
        offered: the definitions.
        launched: its program in words, or empty.

    Attributes:
        starts: how clients start it.
    """

    kind = "new"
    now = "No agent sees or calls any of this until you approve it."
    starts: Sequence[dict[str, str]] = ()

    def __init__(self, server: str, offered: list[StoredDefinition], launched: str) -> None:
        self.definitions = definitions = offered[:MOST_OFFERS]
        self.more, self.launched = len(offered[MOST_OFFERS:]), launched
        count = len(definitions)
        kinds = {definition.pin.kind for definition in definitions}
        what = pluralize(count, kinds.pop() if len(kinds) == 1 else "definition")
        bad = sum(each.pin.reason.startswith(POISONED) for each in definitions)
        misused = "with words meant to misuse the model"
        known = f"that nobody has approved{f', {bad} of them {misused}' if bad else ''}"
        known = misused if bad == count else known
        heading = Markup("{} offers {} {}").format(show_own(server), what, known)
        since = min(definition.pin.held_at for definition in definitions)
        super().__init__(new_card(server), server, heading, "New", since)
        self.title = Markup("{} of {}").format(what, show_own(server))
        self.bound = tuple(map(make_tick, definitions))

    @property
    def answers(self) -> tuple[CardAnswer, ...]:
        """Reject all, or approve the ticked definitions."""
        are_several = len(self.definitions) > 1
        return (
            CardAnswer(
                "reject",
                "Reject all" if are_several else "Reject",
                "No agent sees or calls it. It waits again only if the server changes it. If you"
                " change your mind, approve it on its page under Tools.",
            ),
            CardAnswer(
                "approve",
                "Approve what is ticked" if are_several else "Approve",
                opens="use of exactly what is shown, in every client, within a second",
                spares=f"{'the others, which still wait, or ' * are_several}a later change",
            ),
        )

    carry_out = _decide_definitions


def _make_login_card(needed: NeededLogin) -> StoppedCard:
    """Make the card of a server that asks for a login, which the page cannot give."""
    server = needed.event.server
    card = StoppedCard(EventProof([needed.event]), f"login {server}", "logged out")
    card.kind, card.group, card.what, card.needed = "login", HELD, "A login", needed
    card.heading = Markup("{} asks for a login").format(show_own(server))
    return card


class ProposalCard(Card):
    """A server that an agent proposes."""

    kind = "proposal"
    now = "Nothing was started; nothing is started if you do nothing."
    names_server = False

    def __init__(self, proposal: proposals.Proposal) -> None:
        heading = sentence("An agent proposes the server {name}", name=foreign(proposal.name))
        card_id = f"proposal-{proposal.fingerprint[:12]}"
        super().__init__(card_id, proposal.name, heading, "A proposal", proposal.proposed)
        self.proposal, self.client = proposal, proposal.proposed_by
        self.bound = (proposal.fingerprint,)

    @property
    def answers(self) -> tuple[CardAnswer, ...]:
        """Reject it, or start the server."""
        spares = "its tools: no agent sees them before you approve them"
        opens = "this server: it is started, and its tools wait here"
        return (
            CardAnswer("reject", "Reject", "Nothing is started."),
            CardAnswer("approve", "Approve", opens=opens, spares=spares),
        )

    def carry_out(self, store: Store, chosen: ChosenAnswer) -> DoneDecision:
        """Approve or reject the agent's proposal."""
        proposal, by = self.proposal, chosen.by
        is_approval = chosen.answer.name == "approve"
        if not (proposed.approve if is_approval else proposed.reject)(store, proposal, by):
            raise NothingDoneError("It was decided elsewhere, or the agent took it back.")
        verb, name = "approved" if is_approval else "rejected", foreign(proposal.name)
        words = Markup("You {} what an agent asked for: {}.").format(verb, name)
        return DoneDecision(words, lambda store: proposed.restore(store, proposal, by))
