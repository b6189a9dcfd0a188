"""Carries out an answer to a card with the functions that the commands use, and takes it back."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from pipeguard.config.isolate_entry import with_entry
from pipeguard.config.user_policy import own_policy_path
from pipeguard.errors import PipeGuardError
from pipeguard.isolation import find_wall_grant, plan_grant
from pipeguard.state import proposals as proposed
from pipeguard.state.audit import decision_entry
from pipeguard.state.decisions import exception_entry, save_decision, wall_entry
from pipeguard.state.dismissals import dismiss, recall
from pipeguard.state.exceptions import allow, call_mark, narrowest, save
from pipeguard.state.exemption import Breadth
from pipeguard.state.grants import CallGrant, make_grant, refuse_call, revoke_grant
from pipeguard.state.review import StoredDefinition, approve, reject, restore
from pipeguard.state.timestamps import now_text
from pipeguard.ui.offers import make_tick
from pipeguard.ui.scans import make_key
from pipeguard.ui.text import foreign, show_own, when
from pipeguard.ui.walls import read_policy, today
from pipeguard.unicode.display import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.store import Store
    from pipeguard.ui.cards import Card, CardAnswer
    from pipeguard.ui.scans import Scans

Undo = Callable[["Store"], bool]


class DoneDecision(NamedTuple):
    """An answer that was carried out.

    Attributes:
        sentence: what was done.
        undo: takes it back, if that is still possible; None if it cannot be taken back.
    """

    sentence: Markup
    undo: Undo | None = None


class NothingDoneError(PipeGuardError):
    """The subject of an answer has changed, or was decided elsewhere."""


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


def choose_opening(card: Card, scans: Scans, by: str) -> ChosenAnswer | None:
    """The answer that lets a card pass from the list; None if its own card has to be looked at.

    It has to be looked at for a reason, and where the rules found something or have not looked.
    """
    clean = [each for each in card.definitions if scans.found.get(make_key(each)) == []]
    if card.definitions and not clean:
        return None
    answer = next((each for each in card.answers if each.opens and not each.needs_reason), None)
    return answer and ChosenAnswer(card, answer, by, ticked=tuple(map(make_tick, clean)))


def carry_out_all(store: Store, chosen: Sequence[ChosenAnswer]) -> DoneDecision:
    """Do what answers say; of several, what is no longer possible is named and left out.

    Raises:
        NothingDoneError: a single one was decided elsewhere, or is no longer what was shown.
        PipeGuardError: the store or the policy cannot be written.
    """
    if len(chosen) == 1:
        return _carry_out(store, chosen[0])
    done, failed = list[DoneDecision](), list[str]()
    for each in chosen:
        try:
            done.append(_carry_out(store, each))
        except PipeGuardError as error:
            failed.append(f"{each.card.server}: {error}")
    if not done:
        raise NothingDoneError("\n".join(failed))
    sentence = Markup("You decided on {}.").format(pluralize(len(done), "thing"))
    if failed:
        sentence += Markup(" Not on {}: {}").format(len(failed), foreign(failed[0], 300))
    undos = [each.undo for each in reversed(done) if each.undo is not None]

    def undo(store: Store) -> bool:
        return all([each(store) for each in undos])  # noqa: C419  each is tried

    return DoneDecision(sentence, undo if undos else None)


def _carry_out(store: Store, chosen: ChosenAnswer) -> DoneDecision:
    if chosen.card.definitions:
        return _decide_definitions(store, chosen)
    if chosen.card.proposal is not None:
        return _decide_proposal(store, chosen)
    return _decide_event(store, chosen)


def _decide_event(store: Store, chosen: ChosenAnswer) -> DoneDecision:
    event = chosen.card.event
    assert event is not None  # noqa: S101  the caller's
    match chosen.answer.name:
        case "once":
            return _grant(store, event, chosen)
        case "give":
            return _give(store, event, chosen.by)
        case "refuse":
            return _refuse(store, event, chosen)
        case "keep" | "never":
            return _dismiss(store, event, chosen)
    return _except(store, event, chosen)


def _decide_definitions(store: Store, chosen: ChosenAnswer) -> DoneDecision:
    is_approval = chosen.answer.name == "approve"
    meant: Sequence[StoredDefinition] = chosen.card.definitions
    if is_approval and len(meant) > 1:
        meant = [each for each in meant if make_tick(each) in chosen.ticked]
    if not meant:
        raise NothingDoneError("Nothing is ticked, so nothing was approved.")
    done = (approve if is_approval else reject)(store, meant, chosen.by)
    if not done:
        raise NothingDoneError("The server changed it meanwhile, or it was decided elsewhere.")
    verb = "approved" if is_approval else "rejected"
    what = foreign(done[0].pin.name) if len(done) == 1 else f"{len(done)} definitions"
    sentence = Markup("You {} {} of {}.").format(verb, what, show_own(chosen.card.server))
    if len(done) < len(meant):
        sentence += Markup(" {} changed meanwhile and still wait.").format(len(meant) - len(done))
    by = chosen.by
    return DoneDecision(sentence, lambda store: restore(store, done, by, is_approval=is_approval))


def _decide_proposal(store: Store, chosen: ChosenAnswer) -> DoneDecision:
    proposal = chosen.card.proposal
    assert proposal is not None  # noqa: S101  the caller's
    is_approval = chosen.answer.name == "approve"
    take = proposed.approve if is_approval else proposed.reject
    if not take(store, proposal, chosen.by):
        raise NothingDoneError("It was decided elsewhere, or the agent took it back.")
    verb = "approved" if is_approval else "rejected"
    sentence = Markup("You {} what an agent asked for: {}.").format(verb, foreign(proposal.name))
    return DoneDecision(sentence, lambda store: proposed.restore(store, proposal, chosen.by))


def _grant(store: Store, event: AuditedEvent, chosen: ChosenAnswer) -> DoneDecision:
    mark = call_mark(event)
    grant = CallGrant(mark, event.name, event.server, event.tool, chosen.why)
    expires = make_grant(store, grant, chosen.by)
    sentence = Markup("You allowed one call of {} until {}.").format(
        foreign(event.tool), when(expires)
    )
    return DoneDecision(sentence, lambda store: revoke_grant(store, mark))


def _refuse(store: Store, event: AuditedEvent, chosen: ChosenAnswer) -> DoneDecision:
    grant = CallGrant(call_mark(event), event.name, event.server, event.tool, chosen.why)
    refuse_call(store, grant, chosen.by)
    words = Markup("You refused the call of {}: the model is told so within a second.")
    return DoneDecision(words.format(foreign(event.tool)))


def _dismiss(store: Store, event: AuditedEvent, chosen: ChosenAnswer) -> DoneDecision:
    is_lasting = chosen.answer.name == "never"
    key = chosen.card.dismissal if is_lasting else chosen.card.id
    note = f"event {event.name}{', and what is like it' if is_lasting else ''}"
    dismiss(
        store, key, event.server, decision_entry("dismiss", now_text(), note=note, by=chosen.by)
    )

    def undo(store: Store) -> bool:
        recall(store, key)
        return True

    kept = chosen.answer.label.removeprefix("Keep it ").partition(",")[0]
    words = Markup("You kept it {}. If it happens again, you get {} card.")
    return DoneDecision(words.format(kept, "no" if is_lasting else "a new"), undo)


def _except(store: Store, event: AuditedEvent, chosen: ChosenAnswer) -> DoneDecision:
    day, scope = today(), Breadth(chosen.answer.name.removeprefix("allow-"))
    until = chosen.until
    assert until is not None  # noqa: S101  the caller's
    path = own_policy_path()
    before = read_policy(path)
    exemptions = narrowest(event, until, chosen.why, scope)
    text = allow(path, exemptions, day)
    if text is None:
        raise NothingDoneError(f"{path} allows this already.")
    entry = exception_entry(event, exemptions, f"{path} ({chosen.why})", chosen.by)
    save_decision(path, text, event.server, entry)
    sentence = Markup("You allowed it until {}: it is in {}.").format(until, path)
    return DoneDecision(sentence, restore_file(path, before, text))


def _give(store: Store, event: AuditedEvent, by: str) -> DoneDecision:
    grant = find_wall_grant(event, None, is_wide=False)
    if grant is None:
        raise NothingDoneError("Nothing can be given for this event.")
    day, path = today(), own_policy_path()
    before = read_policy(path)
    entry, is_new = plan_grant(event.server, grant, path, day)
    if not is_new:
        raise NothingDoneError(f"{path} grants it already.")
    text = with_entry(path, entry, day)
    save_decision(path, text, event.server, wall_entry(event, grant.opens, path, by))
    sentence = Markup("{} may now {}: it is in {}. {}").format(
        show_own(event.server), foreign(grant.opens), path, grant.describe_start(event.server)
    )
    return DoneDecision(sentence, restore_file(path, before, text))


def restore_file(path: str, before: str | None, after: str) -> Undo:
    """Takes back what was written to a policy file, unless somebody has changed it since."""

    def undo(_store: Store) -> bool:
        if read_policy(path) != after:
            return False
        if before is None:
            Path(path).unlink()
        else:
            save(path, before)
        return True

    return undo
