"""What is found in a message as a whole: by the rules, and of placeholders that stand in it."""

from __future__ import annotations

from pipeguard.core import answers
from pipeguard.core.finding import Direction, Finding, Kind
from pipeguard.core.judge import Where, scanned
from pipeguard.core.message import JsonObject, JsonValue, Message
from pipeguard.core.places import LISTS, OPENINGS, Surface
from pipeguard.core.policy import Mode
from pipeguard.core.restore import FOREIGN, echoes, holds_foreign
from pipeguard.core.vault import holds_marks
from pipeguard.core.verdicts import blocked


def said(where: Where, direction: Direction, message: Message) -> list[Finding]:
    """What one side says, judged; items of lists and a server's instructions are by themselves.

    Raises:
        Refusal: it could not be judged.
    """
    vault = where.guard.vault
    value: JsonValue = message.value
    if direction is Direction.TO_CLIENT:
        if message.kind is Kind.RESULT and where.method in LISTS:
            value = _without(message.value, LISTS[where.method][0], list)
        elif message.kind is Kind.RESULT and where.method in OPENINGS:
            value = _without(message.value, "instructions", str)
        findings = scanned(where, Surface.TO_CLIENT, value)
        if vault is not None and where.guard.policy.mode is not Mode.OBSERVE:
            findings += echoes(vault, message.frame, where, value)
        return findings
    findings = scanned(where, Surface.TO_SERVER, value)
    if holds_marks(message.frame) and holds_foreign(vault, value):
        findings.append(blocked(answers.FOREIGN_PLACEHOLDER, FOREIGN))
    return findings


def _without(value: JsonObject, member: str, kind: type) -> JsonObject:
    """An answer without what core.definitions has judged by itself."""
    result = value.get("result")
    if not isinstance(result, dict) or not isinstance(result.get(member), kind):
        return value
    return {**value, "result": {key: item for key, item in result.items() if key != member}}
