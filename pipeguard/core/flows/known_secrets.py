"""Secrets that we hold ourselves, found exactly, as they are and as base64 or a URL writes them.

What we send to a server or read from the keyring needs no rule to be known for a secret: a server
that repeats it, or an error that quotes it, shows it to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from pipeguard.core.finding import Action, Confidence, Direction, Finding, Severity
from pipeguard.core.protocol.json_values import JsonObject, JsonValue
from pipeguard.core.protocol.message import Message, rewritten
from pipeguard.core.rules.policy import Mode, Policy

RULE = "secrets.known"
MASK = "****"
MIN_CHARS = 8  # a shorter value stands in texts by chance
MIN_ENCODED = 10  # characters of base64 that speak for the value alone
_UNRESERVED = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"  # RFC 3986, 2.3
)
# What else is left as it is: by Python's `quote`, ECMAScript's `encodeURIComponent`, `encodeURI`.
_KEPT_BY_WRITERS = (
    _UNRESERVED | set(b"/"),
    _UNRESERVED | set(b"!'()*"),
    _UNRESERVED | set(b";/?:@&=+$,#!'()*"),
)
_KEPT = frozenset({"jsonrpc", "id", "method"})  # by these the two sides know a message
_KEPT_PARAMS = frozenset({"requestId", "progressToken"})
# In JSON these can write any ASCII character, and so a secret that its bytes do not show.
_ESCAPES = (b"\\u00", b"\\/")


class KnownSecrets:
    """The values that this process knows to be secret; grows, and is swapped whole."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._forms: tuple[tuple[str, bytes], ...] = ()  # the longest first
        self.add(values)

    def __repr__(self) -> str:
        return f"KnownSecrets({len(self._forms)} forms)"

    def __bool__(self) -> bool:
        return bool(self._forms)

    def add(self, values: Iterable[str]) -> None:
        """Know these, too; what is shorter than `MIN_CHARS` is left out."""
        forms = {form for form, _ in self._forms}
        for value in values:
            if len(value) >= MIN_CHARS and value not in forms:
                forms |= _forms(value)
        if len(forms) != len(self._forms):
            ordered = sorted(forms, key=lambda form: (-len(form), form))
            self._forms = tuple((form, form.encode()) for form in ordered)

    def masked(self, text: str, mask: str = MASK) -> str:
        """A text with a mask in place of each of them; the text itself where there is none."""
        for form, _ in self._forms:
            if form in text:
                text = text.replace(form, mask)
        return text

    def masked_bytes(self, data: bytes) -> bytes:
        """The same of UTF-8."""
        for _, form in self._forms:
            if form in data:
                data = data.replace(form, MASK.encode())
        return data

    def may_stand_in(self, frame: bytes) -> bool:
        """False where a frame certainly holds none of them."""
        forms = self._forms
        if not forms:
            return False
        return any(form in frame for _, form in forms) or any(one in frame for one in _ESCAPES)


def without_known(
    known: KnownSecrets, policy: Policy, direction: Direction, message: Message
) -> tuple[Message, Finding | None]:
    """What a server says, without secrets of ours that it repeats.

    Args:
        known: the secrets.
        policy: where it only observes, nothing is taken out.
        direction: of the message; towards the server nothing is taken out.
        message: as it came.

    Returns:
        The message, the very one where nothing was found, and what was seen.
    """
    if direction is Direction.TO_SERVER or not known.may_stand_in(message.frame):
        return message, None
    value: JsonObject = {
        key: item if key in _KEPT else _without(known, item) for key, item in message.value.items()
    }
    if value == message.value:
        return message, None
    seen = Finding(
        RULE,
        "envelope",
        severity=Severity.CRITICAL,
        confidence=Confidence.HIGH,
        action=Action.REDACT,
        note="a secret that PipeGuard sent to the server, or read for it, was taken out",
    )
    if policy.mode is Mode.OBSERVE:
        return message, seen._replace(action=Action.WARN)
    return rewritten(message, value), seen


def _without(known: KnownSecrets, value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        masked = known.masked(value, f"[redacted:{RULE}]")
        return value if masked == value else masked
    if isinstance(value, list):
        return [_without(known, item) for item in value]
    if isinstance(value, dict):
        taken: JsonObject = {}
        for key, item in value.items():
            shown = known.masked(key, f"[redacted:{RULE}]")
            while shown != key and (shown in value or shown in taken):
                shown += "'"
            taken[shown] = item if key in _KEPT_PARAMS else _without(known, item)
        return taken
    return value


def _forms(value: str) -> set[str]:
    """How a value may be written: as it is, in a URL, in JSON, and within any text in base64."""
    import base64  # most runs hold no secret

    data = value.encode("utf-8", "surrogateescape")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return set()  # no text of MCP's could hold it
    upper = "".join(chr(one) if one in _UNRESERVED else f"%{one:02X}" for one in data)
    lower = "".join(chr(one) if one in _UNRESERVED else f"%{one:02x}" for one in data)
    forms = {value, upper, lower, upper.replace("%20", "+"), json.dumps(value)[1:-1]}
    for kept in _KEPT_BY_WRITERS:
        forms.add("".join(chr(one) if one in kept else f"%{one:02X}" for one in data))
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        first = -(-before * 8 // 6)  # what is shared with the bytes before
        last = len(encoded) - (1 if (before + len(data)) % 3 else 0)  # and with those behind
        inner = encoded[first:last]
        if len(inner) >= MIN_ENCODED:
            forms |= {inner, inner.replace("+", "-").replace("/", "_")}
            forms.add(inner.replace("+", "%2B").replace("/", "%2F"))
    return forms
