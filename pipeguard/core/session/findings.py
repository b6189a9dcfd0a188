"""What is found in a message as a whole: by the rules, and of placeholders that stand in it."""

from __future__ import annotations

from pipeguard.core.finding import Direction, Finding, MessageKind
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.core.protocol.message import Message
from pipeguard.core.protocol.places import LISTS, OPENINGS, Surface
from pipeguard.core.rules.policy import Mode
from pipeguard.core.session import replies
from pipeguard.core.session.judge import Where, scanned
from pipeguard.core.session.secret_restore import FOREIGN, echoes, holds_foreign
from pipeguard.core.session.verdicts import blocked
from pipeguard.core.vault_placeholder import may_hold_placeholder


def said(where: Where, direction: Direction, message: Message) -> list[Finding]:
    """What one side says, judged; items of lists and a server's instructions are by themselves.

    Raises:
        Refusal: it could not be judged.
    """
    vault = where.guard.vault
    value: JsonValue = message.value
    if direction is Direction.TO_CLIENT:
        if message.kind is MessageKind.RESULT and where.method in LISTS:
            value = _without(message.value, LISTS[where.method][0], list)
        elif message.kind is MessageKind.RESULT and where.method in OPENINGS:
            value = _without(message.value, "instructions", str)
        findings = scanned(where, Surface.TO_CLIENT, value)
        if vault is not None and where.guard.policy.mode is not Mode.OBSERVE:
            findings += echoes(vault, message.frame, where, value)
        return findings
    findings = scanned(where, Surface.TO_SERVER, value)
    if may_hold_placeholder(message.frame) and holds_foreign(vault, value):
        findings.append(blocked(replies.FOREIGN_PLACEHOLDER, FOREIGN))
    return findings


def _without(value: JsonObject, member: str, kind: type) -> JsonObject:
    """An answer without what core.session.definitions has judged by itself."""
    result = value.get("result")
    if not isinstance(result, dict) or not isinstance(result.get(member), kind):
        return value
    return {**value, "result": {key: item for key, item in result.items() if key != member}}
