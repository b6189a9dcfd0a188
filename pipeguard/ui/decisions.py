"""Carries out an answer to a card with the functions that the commands use, and takes it back."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from pipeguard.config.isolate_entry import with_entry
from pipeguard.config.policy_file import PolicyScope, policy_text
from pipeguard.config.user_policy import user_policy_path, usual_policy_path
from pipeguard.errors import PipeGuardError
from pipeguard.isolation import find_wall_grant, plan_grant
from pipeguard.state import proposals as proposed
from pipeguard.state.decisions import exception_entry, save_decision, wall_entry
from pipeguard.state.dismissals import dismiss, recall
from pipeguard.state.exceptions import allow, call_mark, narrowest, save
from pipeguard.state.exemption import Breadth
from pipeguard.state.grants import CallGrant, make_grant, revoke_grant
from pipeguard.state.noted_policies import noted_policy
from pipeguard.state.review import HeldDefinition, approve, reject, restore
from pipeguard.ui.text import foreign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.state.exceptions import AuditedEvent
    from pipeguard.state.store import Store
    from pipeguard.ui.cards import Card, CardAnswer

EXCEPTION_DAYS = 90
Undo = Callable[["Store"], bool]


class DoneDecision(NamedTuple):
    """An answer that was carried out.

    Attributes:
        sentence: what was done.
        undo: takes it back, if that is still possible; None if it cannot be taken back.
    """

    sentence: Markup
    undo: Undo | None = None


class Reply(NamedTuple):
    """An answer as a person gave it.

    Attributes:
        answer: one of the card's.
        by: who gave it, and where.
        why: the person's reason; empty where none is asked for.
        ticked: of a card with several definitions, the numbers of those that are meant.
    """

    answer: CardAnswer
    by: str
    why: str = ""
    ticked: tuple[str, ...] = ()


class NothingDoneError(PipeGuardError):
    """The subject of an answer has changed, or was decided elsewhere."""


def carry_out(store: Store, card: Card, reply: Reply) -> DoneDecision:
    """Do what an answer says.

    Args:
        store: the store.
        card: as it was shown.
        reply: the answer to it.

    Raises:
        NothingDoneError: it was decided elsewhere, or is no longer what was shown.
        PipeGuardError: the store or the policy cannot be written.
    """
    if card.definitions:
        return _decide_definitions(store, card, reply)
    if card.proposal is not None:
        return _decide_proposal(store, card, reply)
    return _decide_event(store, card, reply)


def _decide_event(store: Store, card: Card, reply: Reply) -> DoneDecision:
    event = card.event
    assert event is not None  # noqa: S101  the caller's
    match reply.answer.name:
        case "once":
            return _grant(store, event, reply)
        case "give":
            return _give(store, event, reply)
        case "keep":
            return DoneDecision(Markup("Nothing changed: it stays blocked."))
        case "never" | "refuse":
            return _dismiss(store, card, reply)
    return _except(store, event, reply)


def _decide_definitions(store: Store, card: Card, reply: Reply) -> DoneDecision:
    is_approval = reply.answer.name == "approve"
    chosen: Sequence[HeldDefinition] = card.definitions
    if is_approval and len(chosen) > 1:
        chosen = [each for number, each in enumerate(chosen) if str(number) in reply.ticked]
    if not chosen:
        raise NothingDoneError("Nothing is ticked, so nothing was approved.")
    done = (approve if is_approval else reject)(store, chosen, reply.by)
    if not done:
        raise NothingDoneError("The server changed it meanwhile, or it was decided elsewhere.")
    verb = "approved" if is_approval else "rejected"
    what = foreign(done[0].pin.name) if len(done) == 1 else f"{len(done)} definitions"
    sentence = Markup("You {} {} of {}.").format(verb, what, card.server)
    if len(done) < len(chosen):
        sentence += Markup(" {} changed meanwhile and still wait.").format(len(chosen) - len(done))
    return DoneDecision(
        sentence, lambda store: restore(store, done, reply.by, is_approval=is_approval)
    )


def _decide_proposal(store: Store, card: Card, reply: Reply) -> DoneDecision:
    proposal = card.proposal
    assert proposal is not None  # noqa: S101  the caller's
    take = proposed.approve if reply.answer.name == "approve" else proposed.reject
    if not take(store, proposal, reply.by):
        raise NothingDoneError("It was decided elsewhere, or the agent took it back.")
    verb = "approved" if reply.answer.name == "approve" else "rejected"
    sentence = Markup("You {} what an agent asked for: {}.").format(verb, foreign(proposal.name))
    return DoneDecision(sentence, lambda store: proposed.restore(store, proposal, reply.by))


def _grant(store: Store, event: AuditedEvent, reply: Reply) -> DoneDecision:
    mark = call_mark(event)
    grant = CallGrant(mark, event.name, event.server, event.tool, reply.why)
    expires = make_grant(store, grant, reply.by)
    sentence = Markup("You allowed one call of {} until {}.").format(foreign(event.tool), expires)
    return DoneDecision(sentence, lambda store: revoke_grant(store, mark))


def _dismiss(store: Store, card: Card, reply: Reply) -> DoneDecision:
    assert card.event is not None  # noqa: S101  the caller's
    key = card.dismissal or card.id
    dismiss(store, key, card.server, f"event {card.event.name}", reply.by)

    def undo(store: Store) -> bool:
        recall(store, key)
        return True

    return DoneDecision(Markup("It stays blocked, and has no card any more."), undo)


def _except(store: Store, event: AuditedEvent, reply: Reply) -> DoneDecision:
    scope = Breadth(reply.answer.name.removeprefix("allow-"))
    today = _today()
    until = today + datetime.timedelta(days=EXCEPTION_DAYS)
    path = _policy_path(store, event)
    before = _read_policy(path)
    exemptions = narrowest(event, until, reply.why, scope)
    text = allow(path, exemptions, today)
    if text is None:
        raise NothingDoneError(f"{path} allows this already.")
    entry = exception_entry(event, exemptions, f"{path} ({reply.why})", reply.by)
    save_decision(path, text, event.server, entry)
    sentence = Markup("You allowed it until {}: it is in {}.").format(until, path)
    return DoneDecision(sentence, _restore_file(path, before, text))


def _give(store: Store, event: AuditedEvent, reply: Reply) -> DoneDecision:
    grant = find_wall_grant(event, None, is_wide=False)
    if grant is None:
        raise NothingDoneError("Nothing can be given for this event.")
    today, path = _today(), _policy_path(store, event)
    before = _read_policy(path)
    entry, dropped, is_new = plan_grant(event.server, grant, path, today)
    if not is_new:
        raise NothingDoneError(f"{path} grants it already.")
    text = with_entry(path, entry, today, dropped)
    save_decision(path, text, event.server, wall_entry(event, grant.opens, path, reply.by))
    sentence = Markup("{} may now {}: it is in {}. {}").format(
        event.server, foreign(grant.opens), path, grant.describe_start(event.server)
    )
    return DoneDecision(sentence, _restore_file(path, before, text))


def _restore_file(path: str, before: str | None, after: str) -> Undo:
    """Takes back what was written to a policy file, unless somebody has changed it since."""

    def undo(_store: Store) -> bool:
        if _read_policy(path) != after:
            return False
        if before is None:
            Path(path).unlink()
        else:
            save(path, before)
        return True

    return undo


def _policy_path(store: Store, event: AuditedEvent) -> str:
    from pipeguard.config.effective_policy import USER_POLICY

    noted = noted_policy(store, event.name, USER_POLICY)
    return noted or user_policy_path() or usual_policy_path()


def _read_policy(path: str) -> str | None:
    return policy_text(path, PolicyScope.USER) if Path(path).exists() else None


def _today() -> datetime.date:
    return datetime.date.today()  # noqa: DTZ011  the user's own calendar
