"""Puts secrets back into what goes to the server that they came from. Knows frames and the vault.

Only where a server takes what a model chose for it: the arguments of a call or of a prompt, and
the address of a resource. Anywhere else a placeholder of this server goes on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.core.finding import Action, Finding, Severity, Verdict
from pipeguard.core.flows.vault import RESTORED, Vault
from pipeguard.core.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.core.protocol.json_walk import strings_in, texts_in, with_strings
from pipeguard.core.protocol.places import Path, pointer
from pipeguard.core.protocol.strict_json import parse_json
from pipeguard.core.session.judge import Where
from pipeguard.core.vault_placeholder import may_hold_placeholder

FOREIGN = (
    "PipeGuard stopped this call: a placeholder in it stands for a secret that did not come from"
    " this server in this run. Secrets go back only to the server that they came from; go on"
    " without it, or ask the user"
)


def holds_foreign(vault: Vault | None, value: JsonValue) -> bool:
    """True where a placeholder stands that this server's vault does not know."""
    known = Vault(b"") if vault is None else vault
    return any("[" in text and known.restore(text).unknown > 0 for text in texts_in(value))


def put_back(vault: Vault, verdict: Verdict) -> Verdict:
    """The verdict with the secrets in what goes on, written anew; what was judged stays."""
    if verdict.forward is None or not may_hold_placeholder(verdict.forward):
        return verdict
    value = parse_json(verdict.forward)
    member = RESTORED.get(str(value.get("method"))) if isinstance(value, dict) else None
    params = value.get("params") if isinstance(value, dict) else None
    if member is None or not isinstance(params, dict) or member not in params:
        return verdict
    restored = with_strings(params[member], lambda text: vault.restore(text, is_sent=True).text)
    if restored == params[member]:
        return verdict
    assert isinstance(value, dict)  # noqa: S101  its parameters were just found
    whole: JsonObject = {**value, "params": {**params, member: restored}}
    note = "a secret of this server was put back in place of its placeholder"
    told = Finding(
        "secrets.put-back",
        "call.arguments" if member == "arguments" else "resource.uri",
        severity=Severity.INFO,
        action=Action.ALLOW,
        note=note,
    )
    return verdict._replace(forward=serialise(whole), findings=(*verdict.findings, told))


def echoes(vault: Vault, frame: bytes, where: Where, value: JsonValue) -> list[Finding]:
    """The places in which a server says again what was put back for it, without its name."""
    sent = {
        secret: made
        for secret, made in vault.sent().items()
        if serialise(secret)[1:-1] in frame or secret.encode("utf-8", "replace") in frame
    }
    if not sent:
        return []
    return [
        finding for path, text in strings_in(value) for finding in _said(sent, where, path, text)
    ]


def _said(sent: dict[str, str], where: Where, path: Path, text: str) -> Iterator[Finding]:
    for secret, made in sent.items():
        start = text.find(secret)
        if start >= 0:
            kind, name, *_ = made.strip("[]").split(":")
            yield Finding(
                f"{'personal' if kind == 'personal' else 'secrets'}.{name}",
                where.place(path),
                pointer(where.prefix + path),
                start,
                start + len(secret),
                action=Action.REDACT,
                note="the server said what was put back for it",
                tool=where.tool,
            )
