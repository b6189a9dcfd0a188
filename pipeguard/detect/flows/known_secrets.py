"""Secrets that this process holds itself, found as they are and as base64 or a URL writes them.

Anything that we send to a server or read from the keyring is a secret, without a rule for it: if a
server repeats it, or an error quotes it, it is masked.
"""

import json
from collections.abc import Iterable

from pipeguard.firewall.finding import Action, Confidence, Finding, Severity, observe_only
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue
from pipeguard.firewall.protocol.message import Message, rewritten

RULE = "secrets.known"
MASK = "****"
MIN_CHARS = 8  # shorter values are in texts by chance
MIN_ENCODED = 10  # characters of base64 that no other value shares
_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"  # RFC 3986, 2.3
# Other characters that encoders do not escape: none, Python's `quote`, ECMAScript's
# `encodeURIComponent` and `encodeURI`.
_UNESCAPED = b"", b"/", b"!'()*", b";/?:@&=+$,#!'()*"
_ENVELOPE = frozenset({"jsonrpc", "id", "method"})  # unchanged: they tie messages together
_IDENTIFIERS = frozenset({"requestId", "progressToken"})
# In JSON these can write any ASCII letter and the signs between, so that a frame's bytes show no
# secret. Other signs, such as quotes, have too many escapes in JSON within JSON to list.
_ASCII_ESCAPES = b"\\u00", b"\\/"
_ANY_ESCAPE = (b"\\",)


class KnownSecrets:
    """The secret values of this process; only grows, and its forms are replaced as a whole."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()  # the longest first
        self._signs: tuple[bytes, ...] = ()  # one of which is in a frame with a secret
        self.add(values)

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self._forms)} forms)"

    def __bool__(self) -> bool:
        return bool(self._forms)

    @property
    def forms(self) -> tuple[str, ...]:
        """All forms of the secrets, the longest first."""
        return self._forms

    def add(self, values: Iterable[str]) -> None:
        """Add secrets; those shorter than `MIN_CHARS` are left out."""
        forms = {*self._forms}
        for value in values:
            if len(value) >= MIN_CHARS and value not in forms:
                forms |= _forms(value)
        if len(forms) != len(self._forms):
            ordered = sorted(forms, key=lambda form: (-len(form), form))
            is_escaped = any("\\" in form for form in ordered)  # by JSON, some of them
            escapes = _ANY_ESCAPE if is_escaped else _ASCII_ESCAPES
            self._signs = *map(str.encode, ordered), *escapes
            self._forms = tuple(ordered)

    def find_secrets(self, text: str) -> list[str]:
        """The secrets in a text, as it writes them; the longest first."""
        return [form for form in self._forms if form in text]

    def mask(self, text: str, mask: str = MASK) -> str:
        """A text with a mask in place of each secret; the text itself if it has none."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, mask)
        return text

    def masked_bytes(self, data: bytes) -> bytes:
        """A text in UTF-8 with a mask in place of each secret."""
        text = data.decode("utf-8", "surrogateescape")
        return self.mask(text).encode("utf-8", "surrogateescape")

    def may_occur(self, frame: bytes) -> bool:
        """False if a frame certainly has none of the secrets."""
        return any(sign in frame for sign in self._signs)


def without_known_secrets(
    secrets: KnownSecrets, policy: Policy, message: Message
) -> tuple[Message, Finding | None]:
    """A server's message without our secrets that it repeats.

    Args:
        secrets: ours.
        policy: if it only observes, nothing is taken out.
        message: as it came.

    Returns:
        The message, unchanged if it repeats no secret, and the finding if it does.
    """
    if not secrets.may_occur(message.frame):
        return message, None
    value: JsonObject = {
        key: item if key in _ENVELOPE else _mask_value(secrets, item)
        for key, item in message.value.items()
    }
    if value == message.value:
        return message, None
    finding = Finding(
        RULE,
        "envelope",
        severity=Severity.CRITICAL,
        confidence=Confidence.HIGH,
        action=Action.REDACT,
        note="a secret that PipeGuard sent to the server, or read for it, was taken out",
    )
    if policy.observes:
        return message, observe_only(finding)
    return rewritten(message, value), finding


def _mask_value(secrets: KnownSecrets, value: JsonValue) -> JsonValue:
    """A JSON value with a mask in place of each secret, in its keys too."""
    if isinstance(value, str):
        masked = secrets.mask(value, f"[redacted:{RULE}]")
        return value if masked == value else masked
    if isinstance(value, list):
        return [_mask_value(secrets, item) for item in value]
    if isinstance(value, dict):
        members = {}
        for key, item in value.items():
            shown = secrets.mask(key, f"[redacted:{RULE}]")
            while shown != key and (shown in value or shown in members):
                shown += "'"
            members[shown] = item if key in _IDENTIFIERS else _mask_value(secrets, item)
        return members
    return value


def _forms(value: str) -> set[str]:
    """The forms of a value: as it is, in a URL, in JSON, and within any text in base64."""
    import base64  # most runs have no secret

    data = value.encode("utf-8", "surrogateescape")
    try:
        data.decode()
    except UnicodeDecodeError:
        return set()  # no message of MCP could contain it
    upper, *others = (
        "".join(chr(byte) if byte in _UNRESERVED + unescaped else f"%{byte:02X}" for byte in data)
        for unescaped in _UNESCAPED
    )
    lower = "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02x}" for byte in data)
    forms = {value, upper, lower, upper.replace("%20", "+"), *others}
    forms |= {json.dumps(value, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        first = -(-before * 8 // 6)  # a character is shared with the bytes before
        last = len(encoded) - (1 if (before + len(data)) % 3 else 0)  # and one with those after
        inner = encoded[first:last]
        if len(inner) >= MIN_ENCODED:
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
            forms.add(inner.replace("+", "%2B").replace("/", "%2F"))
    return forms
