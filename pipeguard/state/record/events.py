"""The events of a record that are no frames: what else changes verdicts, and in which order."""

from __future__ import annotations

from typing import Any

from pipeguard.firewall.finding import Verdict
from pipeguard.firewall.session import decisions, events, own_frames, session
from pipeguard.firewall.session.guard import Guard
from pipeguard.firewall.session.session import Event, Session
from pipeguard.state.record.lines import Fields
from pipeguard.state.record.values import FindVerdict, decode, encode

_KINDS: dict[str, Any] = {
    name: kind
    for module in (session, events, own_frames, decisions)
    for name, kind in vars(module).items()
    if hasattr(kind, "happen")
}


def matters(event: Event, verdict: Verdict) -> bool:
    """True for an event that a replay needs, besides frames; most ticks do nothing."""
    if isinstance(event, own_frames.Tick):
        return bool(verdict.own)
    if isinstance(event, decisions.Waited):
        return verdict is not event.verdict
    is_with_frame = isinstance(event, events.PinsChanged | events.PolicyChanged)  # the next one
    return type(event).__name__ in _KINDS and not is_with_frame


def describe_server(guard: Guard) -> Fields:
    """The fields of a server that is known from here on."""
    return {
        "what": "server",
        "policy": encode(guard.shared.policy),
        "pins": encode(guard.pins.all()),
        "remote": guard.is_remote,
        "launched": guard.launched,
    }


def describe_session(session: Session) -> Fields:
    """The fields of a conversation that begins."""
    return {
        "what": "session",
        "revision": session.state.peers.revision,
        "waits": session.waiting_room is not None,
        "asks": session.guard.questions is not None,
    }


def describe_event(event: Any) -> Fields:
    """The fields of an event but its time: `what`, and its own under `of`."""
    of = encode(event)
    del of["now"]
    return {"what": type(event).__name__, "of": of}


def restore_event(fields: Fields, now: float, find: FindVerdict) -> Event:
    """Make an event of the fields of its line.

    Raises:
        Exception: of any kind, if there is no such event.
    """
    event: Event = decode(_KINDS[fields["what"]], {**fields["of"], "now": now}, find)
    return event
