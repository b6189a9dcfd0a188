"""Puts secrets back into messages to the server that they came from, and passages into any.

Only where a server accepts a model's choice: the arguments of a call or of a prompt, and the
address of a resource. Anywhere else a placeholder of this server is forwarded as it is.
"""

from collections.abc import Callable, Mapping

from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.flows.vault import RESTORED, Vault
from pipeguard.detect.knowledge import Knowledge
from pipeguard.firewall.finding import Action, Finding, Severity, Verdict
from pipeguard.firewall.protocol import strict_json
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_object,
    serialise,
    walk_strings,
    with_strings,
)
from pipeguard.firewall.protocol.message import Message, rewritten
from pipeguard.firewall.session import placeholders, rewrite
from pipeguard.firewall.session.guard import Context, Guard

FOREIGN_NOTE = (
    "PipeGuard stopped this call: a placeholder in it is from an earlier session, or from another"
    " server. If it is from an earlier session, read the file again and use the new one. A secret"
    " goes back only to the server that it came from"
)


def put_back(vault: Vault, verdict: Verdict) -> Verdict:
    """The verdict with its secrets put back into the forwarded frame."""
    if verdict.forward is None or not placeholders.may_hold_placeholder(verdict.forward):
        return verdict
    value = as_object(strict_json.parse_json(verdict.forward))

    def restore(text: str) -> str:
        return vault.restore(text, is_sent=True).text

    note = "a secret of this server was put back in place of its placeholder"
    restored = _restore(value, lambda part: with_strings(part, restore), note)
    if restored is None:
        return verdict
    request, finding = restored
    forward = strict_json.ParsedFrame.write(request)
    return verdict._replace(forward=forward, findings=(*verdict.findings, finding))


def put_passages_back(
    knowledge: Knowledge, guard: Guard, message: Message
) -> tuple[Message, Finding | None]:
    """Put passages back into a request, unless it would run them: a shell reads them again."""
    if rewrite.CUT_SIGN.encode() not in message.frame and b"\\u" not in message.frame:
        return message, None
    name = message.params.get("name")
    if isinstance(name, str) and knowledge.tools.label(guard, name).labels & Label.RUNS:
        return message, None
    note = "a passage that was cut out of a result was put back"
    restored = _restore(message.value, knowledge.flows.passages.put_back, note)
    if restored is None:
        return message, None
    request, finding = restored
    return rewritten(message, request), finding


def _restore(
    value: JsonObject,
    restore: Callable[[JsonValue], JsonValue],
    note: str,
) -> tuple[JsonObject, Finding] | None:
    """The request with texts put back where it takes them; None if that changes nothing."""
    method = str(value.get("method"))
    member, params = RESTORED.get(method), as_object(value.get("params"))
    if member is None or member not in params:
        return None
    restored = restore(params[member])
    if restored == params[member]:
        return None
    place = "resource.uri" if method == "resources/read" else "call.arguments"
    return {**value, "params": {**params, member: restored}}, Finding(
        "secrets.put-back", place, severity=Severity.INFO, action=Action.ALLOW, note=note
    )


def echoes(
    sent: Mapping[str, str], frame: bytes, context: Context, value: JsonValue
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
        if serialise(secret)[1:-1] in frame or secret.encode("utf-8", "replace") in frame
    }
    findings: list[Finding] = []
    if not repeated:
        return findings
    for path, text in walk_strings(value):
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
