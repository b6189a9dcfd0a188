"""Findings about a message as such, whatever its texts say."""

from __future__ import annotations

from pipeguard.firewall.finding import Action, Direction, Finding, MessageKind, Severity
from pipeguard.firewall.protocol.input_requests import InputRequests
from pipeguard.firewall.protocol.message import Message


def blocked(rule: str, why: str) -> Finding:
    """A finding that stops the message."""
    return Finding(rule, "envelope", action=Action.BLOCK, note=why)


def warned(rule: str, why: str) -> Finding:
    """A finding with which the message goes on."""
    return Finding(rule, "envelope", severity=Severity.MEDIUM, action=Action.WARN, note=why)


def dropped(rule: str, why: str) -> list[Finding]:
    """The one finding about a notification that is dropped, which harms nobody."""
    return [Finding(rule, "envelope", severity=Severity.LOW, action=Action.BLOCK, note=why)]


def oddities(
    direction: Direction, message: Message, requested: InputRequests
) -> tuple[Finding, ...]:
    """What is unusual about a message that may go on.

    Args:
        direction: which way the message travels.
        message: the message. Most have no member that is looked at here, which costs two checks.
        requested: the input that the server has asked for.
    """
    value = message.value
    body = value.get("result") if message.method is None else value.get("params")
    if type(body) is not dict or _NOTABLE.isdisjoint(body):
        return () if _INHERITED.isdisjoint(value) else (_INHERITED_KEY,)
    odd = []
    if not _INHERITED.isdisjoint(body) or not _INHERITED.isdisjoint(value):
        odd.append(_INHERITED_KEY)
    asks = message.kind is MessageKind.REQUEST and direction is Direction.TO_SERVER
    if asks and not requested.cover(body):
        odd.append(_UNREQUESTED)
    return tuple(odd)


_INHERITED = frozenset({"__proto__", "constructor", "prototype"})
_NOTABLE = _INHERITED | {"inputResponses", "requestState"}
_INHERITED_KEY = Finding(
    "protocol.inherited-key",
    "envelope",
    severity=Severity.MEDIUM,
    action=Action.WARN,
    note="a member has the name of one that JavaScript objects inherit, such as __proto__",
)
_UNREQUESTED = Finding(
    "protocol.unasked-answer",
    "params.other",
    severity=Severity.LOW,
    action=Action.WARN,
    note="the request answers input requests that no result made, or has a state that none gave",
)
