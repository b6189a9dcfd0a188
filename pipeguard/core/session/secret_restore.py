"""Puts secrets back into what goes to the server that they came from. Knows frames and the vault.

Only where a server takes what a model chose for it: the arguments of a call or of a prompt, and
the address of a resource. Anywhere else a placeholder of this server goes on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeguard.core.finding import Action, Finding, Severity, Verdict
from pipeguard.core.flows.vault import RESTORED, Vault
from pipeguard.core.protocol.message import JsonObject, JsonValue, Number, parse_json, serialise
from pipeguard.core.protocol.places import Path, pointer
from pipeguard.core.session.judge import Where
from pipeguard.core.vault_placeholder import may_hold_placeholder

FOREIGN = (
    "PipeGuard stopped this call: a placeholder in it stands for a secret that did not come from"
    " this server in this run. Secrets go back only to the server that they came from; go on"
    " without it, or ask the user"
)


def holds_foreign(vault: Vault | None, value: JsonValue) -> bool:
    """True where a placeholder stands that this server's vault does not know."""
    vault = Vault(b"") if vault is None else vault
    if isinstance(value, dict):
        return any(
            holds_foreign(vault, key) or holds_foreign(vault, item) for key, item in value.items()
        )
    if isinstance(value, list):
        return any(holds_foreign(vault, item) for item in value)
    return type(value) is str and "[" in value and vault.restore(value).unknown > 0


def put_back(vault: Vault, verdict: Verdict) -> Verdict:
    """The verdict with the secrets in what goes on, written anew; what was judged stays."""
    if verdict.forward is None or not may_hold_placeholder(verdict.forward):
        return verdict
    value = parse_json(verdict.forward)
    member = RESTORED.get(str(value.get("method"))) if isinstance(value, dict) else None
    params = value.get("params") if isinstance(value, dict) else None
    if member is None or not isinstance(params, dict) or member not in params:
        return verdict
    restored = _restored(vault, params[member])
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


def _restored(vault: Vault, value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _restored(vault, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(vault, item) for item in value]
    if type(value) is str and not isinstance(value, Number):
        return vault.restore(value, is_sent=True).text
    return value


def echoes(vault: Vault, frame: bytes, where: Where, value: JsonValue) -> list[Finding]:
    """The places in which a server says again what was put back for it, without its name."""
    sent = {
        secret: made
        for secret, made in vault.sent().items()
        if serialise(secret)[1:-1] in frame or secret.encode("utf-8", "replace") in frame
    }
    return [
        finding for path, text in _strings(value, ()) for finding in _said(sent, where, path, text)
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


def _strings(value: JsonValue, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))
    elif type(value) is str and not isinstance(value, Number):
        yield path, value
