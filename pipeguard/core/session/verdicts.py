"""Verdicts and findings, put together from what a Session knows. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from pipeguard.core.finding import (
    Action,
    Direction,
    Finding,
    PinChange,
    Severity,
    Verdict,
    greatest,
)
from pipeguard.core.protocol import codes
from pipeguard.core.protocol.message import Message, parse
from pipeguard.core.protocol.pending import PendingRequest
from pipeguard.core.session.judge import stands_in_method, stands_in_name
from pipeguard.errors import Refusal


class Answered(Refusal):
    """An answer that does not go on; the request that it belonged to waits no longer."""

    def __init__(
        self, request: PendingRequest, rule: str, why: str, code: int = codes.PEER_BROKE_PROTOCOL
    ) -> None:
        super().__init__(rule, why, code, request.id_token)
        self.request = request


def blocked(rule: str, why: str) -> Finding:
    """A finding about a message as such, which stops it."""
    return Finding(rule, "envelope", action=Action.BLOCK, note=why)


def noted(rule: str, why: str) -> Finding:
    """A finding about a message as such, which does not."""
    return Finding(rule, "envelope", severity=Severity.MEDIUM, action=Action.WARN, note=why)


def verdict_of(  # noqa: PLR0913  a Verdict has as many parts
    direction: Direction,
    message: Message,
    findings: list[Finding],
    event: str,
    *,
    forward: bytes | None,
    reply: bytes | None = None,
    request: PendingRequest | None = None,
) -> Verdict:
    """The verdict on a message, its findings the most serious first."""
    if not findings:
        method, tool = (request.method, request.tool) if request else (message.method, None)
        return Verdict(
            direction,
            message.frame,
            Action.ALLOW,
            forward,
            reply,
            (),
            event,
            message.kind,
            method,
            tool,
        )
    findings = sorted(findings, key=lambda f: (-f.action, -f.severity, -f.confidence))
    return Verdict(
        direction,
        message.frame,
        findings[0].action,
        forward,
        reply,
        tuple(findings),
        event,
        message.kind,
        None if stands_in_method(findings) else request.method if request else message.method,
        None if request is None or stands_in_name(findings) else request.tool,
    )


def with_more(
    verdict: Verdict,
    frame: bytes,
    findings: Iterable[Finding],
    pins: tuple[PinChange, ...] = (),
) -> Verdict:
    """A verdict with more findings, on the frame that came."""
    everything = (*verdict.findings, *findings)
    return Verdict(
        verdict.direction,
        frame,
        greatest(everything),
        verdict.forward,
        verdict.reply,
        everything,
        verdict.event,
        verdict.kind,
        verdict.method,
        verdict.tool,
        verdict.pins + pins,
    )


def failure(frame: bytes, error: Exception) -> Refusal:
    """A check broke: nothing is known of the frame but, at best, its id."""
    id_token = None
    with suppress(Refusal):
        parsed = parse(frame)
        id_token = None if isinstance(parsed, list) else parsed.id_token
    why = f"PipeGuard failed to judge it ({type(error).__name__})"
    return Refusal("protocol.internal", why, codes.INTERNAL, id_token)
