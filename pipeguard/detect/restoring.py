"""Puts secrets back into messages to the server that they came from, and passages into any.

Only where a server accepts a model's choice: the arguments of a call or of a prompt, and the
address of a resource. Anywhere else a placeholder of this server is forwarded as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeguard.detect.flows.passages import Passages
from pipeguard.detect.flows.vault import RESTORED, Vault
from pipeguard.firewall.finding import Action, Finding, Severity, Verdict
from pipeguard.firewall.protocol import json_values
from pipeguard.firewall.protocol.message import Message, rewritten
from pipeguard.firewall.protocol.strict_json import ParsedFrame, parse_json
from pipeguard.firewall.session.guard import Context
from pipeguard.firewall.session.placeholders import PLACEHOLDER, may_hold_placeholder

FOREIGN_NOTE = (
    "PipeGuard stopped this call: a placeholder in it is from an earlier session, or from another"
    " server. If it is from an earlier session, read the file again and use the new one. A secret"
    " goes back only to the server that it came from"
)


def has_foreign_placeholder(vault: Vault | None, value: json_values.JsonValue) -> bool:
    """True if a value contains a placeholder that this server's vault did not make."""
    own = Vault(b"") if vault is None else vault
    return _has_placeholder(value) and any(
        "[" in text and own.restore(text).unknown_count > 0
        for text in json_values.walk_texts(value)
    )


def _has_placeholder(value: json_values.JsonValue) -> bool:
    """True if any string or key has a placeholder; none spans a line end."""
    return PLACEHOLDER.search("\n".join(json_values.walk_texts(value))) is not None


def put_back(vault: Vault, verdict: Verdict) -> Verdict:
    """The verdict with its secrets put back into the forwarded frame."""
    if verdict.forward is None or not may_hold_placeholder(verdict.forward):
        return verdict
    value = parse_json(verdict.forward)

    def restore(text: str) -> str:
        return vault.restore(text, is_sent=True).text

    restored = _restore(value, lambda part: json_values.with_strings(part, restore))
    if restored is None:
        return verdict
    finding = _describe(value, "a secret of this server was put back in place of its placeholder")
    forward = ParsedFrame.write(restored)
    return verdict._replace(forward=forward, findings=(*verdict.findings, finding))


def put_passages_back(passages: Passages, message: Message) -> tuple[Message, Finding | None]:
    """A request with the passages put back that were cut out of results."""
    restored = _restore(message.value, passages.put_back)
    if restored is None:
        return message, None
    note = "a passage that was cut out of a result was put back"
    return rewritten(message, restored), _describe(message.value, note)


def _restore(
    value: json_values.JsonValue, restore: Callable[[json_values.JsonValue], json_values.JsonValue]
) -> json_values.JsonObject | None:
    """The request with texts put back where it takes them; None if that changes nothing."""
    if not isinstance(value, dict):
        return None
    member, params = RESTORED.get(str(value.get("method"))), value.get("params")
    if member is None or not isinstance(params, dict) or member not in params:
        return None
    restored = restore(params[member])
    if restored == params[member]:
        return None
    return {**value, "params": {**params, member: restored}}


def _describe(value: json_values.JsonValue, note: str) -> Finding:
    method = value.get("method") if isinstance(value, dict) else None
    place = "resource.uri" if method == "resources/read" else "call.arguments"
    level = Severity.INFO
    return Finding("secrets.put-back", place, severity=level, action=Action.ALLOW, note=note)


def echoes(
    sent: Mapping[str, str], frame: bytes, context: Context, value: json_values.JsonValue
) -> list[Finding]:
    """The places at which a server repeats a secret that was put back for it, without its name.

    Args:
        sent: the secrets that were put back lately, with their placeholders.
        frame: the message as bytes.
        context: where the value is.
        value: the judged message, or a part of it.
    """
    repeated = {
        secret: placeholder
        for secret, placeholder in sent.items()
        if json_values.serialise(secret)[1:-1] in frame
        or secret.encode("utf-8", "replace") in frame
    }
    findings: list[Finding] = []
    for path, text in json_values.walk_strings(value) if repeated else ():
        for secret, placeholder in repeated.items():
            if (start := text.find(secret)) < 0:
                continue  # before anything is worked out: a frame may have many strings
            kind, name, *_ = placeholder.strip("[]").split(":")
            rule = f"{'personal' if kind == 'personal' else 'secrets'}.{name}"
            finding = context.make_finding(rule, path, start, start + len(secret))
            if not context.exempts(rule, finding.place):
                note = "the server repeated a secret that was put back for it"
                findings.append(finding._replace(action=Action.REDACT, note=note))
    return findings
