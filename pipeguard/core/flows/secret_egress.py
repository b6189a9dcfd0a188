"""Whether a call would take away one of a server's secrets, or a placeholder that stands for one.

A server gets its own secrets back, since it knows them. But a tool of it may send what it is given
to somebody else, and then a placeholder would be as good as the secret. Knows labels of tools and
the vault; what a call does besides is for core.flows.ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pipeguard.core.finding import Confidence
from pipeguard.core.flows.overlap import addresses_of, is_credential
from pipeguard.core.flows.tool_labels import Label
from pipeguard.core.flows.vault import PLACEHOLDER, Vault
from pipeguard.core.protocol.json_values import JsonValue, Number

LOOKED_CHARS = 2**16  # of one string
# Before a secret in a line that is run: an option, a header or a variable that logs in with it.
_LOGS_IN = re.compile(
    r"(?:(?:authori[sz]ation|bearer|basic|[\w-]*(?:token|api[_-]?key|passw(?:or)?d|secret|pass|auth|_key))"
    r"[\s\"']{0,2}[:= ]\s?[\"']?(?:bearer |basic |token )?|(?:-u|--user) ?[\"']?[^\s:]{0,64}:"
    r"|://[^\s/?#@]{0,64})\Z",
    re.IGNORECASE,
)
_BEFORE = 64  # characters
_NAMES = ("name", "key", "type", "field", "label", "header")  # that a `value` has beside it


def leaving(
    vault: Vault, does: Label, arguments: JsonValue, was_said: Callable[[str], bool]
) -> Confidence | None:
    """How sure it is that a call takes one of the server's secrets away; None where none leaves.

    Surely in what is sent, in or beside an address, and in a command that talks to a network. Less
    so where a credential belongs, as in a header: the address may be the one that it is for. An
    address that the server gave as it is, secret and all, is the server's.

    Args:
        vault: the server's.
        does: what the tool does.
        arguments: of the call, with placeholders or with secrets.
        was_said: tells of a text whether it came from the server.
    """
    if does & Label.HOLDS:
        return None
    surest: Confidence | None = None
    has_address: bool | None = None
    for key, text in _strings("", arguments):
        for start in _secrets(vault, text):
            if has_address is None:
                has_address = bool(addresses_of(arguments) or _ADDRESS.search(text))
            if not (has_address or does & (Label.SENDS | Label.OUTSIDE)):
                return _run(vault, arguments) if does & Label.RUNS else None
            address = _address_around(text, start)
            if address and was_said(vault.restore(address).text):
                continue
            if address:
                return Confidence.HIGH
            logs_in = is_credential(key) or (
                does & Label.RUNS and _LOGS_IN.search(text[max(0, start - _BEFORE) : start])
            )
            sure = Confidence.MEDIUM if logs_in else Confidence.HIGH
            surest = sure if surest is None else max(sure, surest)
    return surest


def _run(vault: Vault, arguments: JsonValue) -> Confidence | None:
    """The same of what is run without a web address."""
    # Imported here: it reads scripts, which few calls are.
    from pipeguard.core.commands.network_commands import MARK, sends

    scripts = [_marked(vault, text, MARK) for _, text in _strings("", arguments)]
    whole = " ".join(scripts) if len(scripts) > 1 else ""  # a program, and a list of its arguments
    found = [sends(script, _LOGS_IN.search) for script in (*scripts, whole)]
    return max((one for one in found if one is not None), default=None)


def _marked(vault: Vault, text: str, mark: str) -> str:
    """A text with a word in place of each secret of the server."""
    for start in sorted(set(_secrets(vault, text)), reverse=True):
        if made := PLACEHOLDER.match(text, start):
            text = text[:start] + mark + text[made.end() :]
    for secret in sorted(vault.told_in(text[:LOOKED_CHARS]), key=len, reverse=True):
        text = text.replace(secret, mark)
    return text


def _secrets(vault: Vault, text: str) -> Iterator[int]:
    """Where secrets of the server begin, or what stands for them."""
    for found in PLACEHOLDER.finditer(text):
        if found[0].startswith("[secret:") and vault.restore(found[0]).known:
            yield found.start()
    for secret in vault.told_in(text[:LOOKED_CHARS]):
        yield from (found.start() for found in re.finditer(re.escape(secret), text))


def _address_around(text: str, start: int) -> str:
    """The web address that something stands in, but for what logs in before its host."""
    for address in _ADDRESS.finditer(text):
        if address.start() < start < address.end() and not _LOGIN.match(text, start):
            return address[0]
    return ""


# A placeholder has brackets, which end an address elsewhere.
_SCHEMES = "https?|ftps?|sftp|scp|tftp|wss?|smb|gopher|mqtts?|smtps?"
_ADDRESS = re.compile(
    rf"(?:{_SCHEMES})://(?:{PLACEHOLDER.pattern}|[^\s\"'<>)\]]){{1,8192}}",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"[^\s/?#@]*@")  # RFC 3986, section 3.2.1


def _strings(key: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    """Each string, with the nearest name that it stands under, or that stands beside it."""
    if isinstance(value, dict):
        beside = (value.get(name) for name in _NAMES)
        told = next((one for one in beside if isinstance(one, str) and is_credential(one)), "")
        for name, item in value.items():
            yield from _strings(told if told and name == "value" else name, item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(key, item)
    elif type(value) is str and not isinstance(value, Number):
        yield key, value
