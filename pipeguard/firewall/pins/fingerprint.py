"""A definition's canonical form, its fingerprint, and its pin.

Knows JSON. Knows neither tools, nor the storage of pins, nor the meaning of drift.
"""

import re
from base64 import b64decode
from contextlib import suppress
from hashlib import sha256

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_object,
    read_object,
    serialise_canonical,
    write_parts,
)
from pipeguard.records import NamedTuple

EXACT_DIGITS = 15  # a decimal of 15 digits survives a double and back (IEEE 754)

# Reasons of a hold that does not wait: the server offers the trusted version, or a person said no.
WITHDRAWN = "withdrawn"
REJECTED = "rejected"
CONTENT = "content"  # the kind of a pin of a resource's bytes, which it names by their digest
_TIMES = 7  # the index of the first field that is a time, behind which all tell of the past


class Pin(NamedTuple):
    """The trusted version of one definition, and the version waiting for a person.

    Attributes:
        kind: `tool`, `prompt`, `resource`, `template`, `skill`, `content` or `server`.
        name: the definition's own key: name, uri, uriTemplate, or `instructions`.
        approved_definition: the JSON text that is trusted, with its keys in the order in which it
            was judged, or None.
        approved_fingerprint: SHA-256 of its canonical form, 64 hex digits, or None.
        held_definition: the newest JSON text that waits for a person, or None.
        held_fingerprint: SHA-256 of its canonical form, 64 hex digits, or None.
        reason: why a definition is held, as `drift: wording`; empty if it is not. `WITHDRAWN` or
            `REJECTED` if it does not wait.
        approved_at: when it was approved or first pinned (ISO 8601, UTC), or empty. Pins that
            differ only in times, or in who pinned them, are equal.
        held_at: when it was first seen, or withdrawn (ISO 8601, UTC), or empty.
        is_reviewed: False if the trusted version was pinned at first sight, not by a person.
        rejected: the fingerprints of versions that a person rejected, with blanks between.
    """

    kind: str
    name: str
    approved_definition: str | None
    approved_fingerprint: str | None
    held_definition: str | None
    held_fingerprint: str | None
    reason: str
    approved_at: str = ""
    held_at: str = ""
    is_reviewed: bool = True
    rejected: str = ""

    @property
    def is_withdrawn(self) -> bool:
        """True if the server offers the trusted version again instead of the held one."""
        return self.reason == WITHDRAWN

    @property
    def is_rejected(self) -> bool:
        """True if a person rejected the held version, which the server may still offer."""
        return self.reason == REJECTED

    @property
    def waits(self) -> bool:
        """True if a version of it waits for a person."""
        return self.held_definition is not None and self.reason not in {WITHDRAWN, REJECTED}

    @property
    def origin(self) -> str:
        """The origin of the trusted version: `approved` by a person, or `first seen`."""
        return "approved" if self.is_reviewed else "first seen"

    def __eq__(self, other: object) -> bool:
        """True if the same texts are approved and held, whenever that was."""
        return isinstance(other, Pin) and self[:_TIMES] == other[:_TIMES]

    def __ne__(self, other: object) -> bool:
        """False if the same texts are approved and held; a tuple would compare the times, too."""
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:_TIMES])


def canonical(definition: object) -> bytes:
    """Write a definition in the canonical form that all its spellings share (RFC 8785).

    Key order, white space and escapes are normalised, and a number has the shortest spelling of
    its double. A number that a double would round (`1e400`, a long integer; RFC 8785 section 3.1
    leaves those to I-JSON) is written as it was sent. The result is still JSON, nothing is lost,
    and different numbers stay different: such a token differs in value from every spelling that
    RFC 8785 produces.

    Args:
        definition: a parsed JSON value; its numbers are `Number`, `int` or `float`.

    Raises:
        ValueError: it is not JSON, for example NaN or a lone surrogate.
    """
    written = serialise_canonical(definition)
    return _write_any(definition) if written is None else written


def _write_any(value: object) -> bytes:
    parts: list[str] = []
    write_parts(_normalise(value), parts)
    return "".join(parts).encode("utf-8")


def _normalise(value: object) -> JsonValue:
    """A value with its keys in order, and each number in its canonical spelling."""
    if isinstance(value, dict):
        # Keys are sorted by their UTF-16 code units (RFC 8785 section 3.2.3).
        return {key: _normalise(value[key]) for key in sorted(value, key=_utf16)}
    if isinstance(value, list | tuple):
        return [_normalise(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Number | int | float):
        return Number(_spell_number(str(value)))
    if isinstance(value, str):
        return value
    raise ValueError(f"{type(value).__name__} is not JSON")


# The values in a resource (MCP 2025-06-18, schema.ts, Resource and Annotations): a number of bytes
# that a double can represent, and a moment in ISO 8601. Neither can express a word.
_SIZE = r"0|[1-9][0-9]{0,15}"
_MOMENT = (
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,9})?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def lasting_part(kind: str, definition: JsonValue) -> JsonValue:
    """A definition without what may change: a resource's or template's size and date, files' order.

    Only a size and a date are removed; any other value under these names is part of it.
    """
    if kind == "skill" and isinstance(files := as_object(definition).get("resources"), list):
        return {
            **as_object(definition),
            "resources": sorted(files, key=lambda file: str(as_object(file).get("uri"))),
        }
    if kind not in ("resource", "template") or not isinstance(definition, dict):
        return definition
    size = definition.get("size")
    if size is None or (type(size) is Number and re.fullmatch(_SIZE, size)):
        definition = {key: item for key, item in definition.items() if key != "size"}
    annotations = definition.get("annotations")
    if isinstance(annotations, dict):
        moment = annotations.get("lastModified")
        if moment is None or (type(moment) is str and re.fullmatch(_MOMENT, moment)):
            others = {k: v for k, v in annotations.items() if k != "lastModified"}
            definition = {**definition, "annotations": others}
            if not others:  # without the date there may be no annotations at all
                del definition["annotations"]
    return definition


def describe_content(content: JsonObject) -> JsonObject:
    """The part of a content that is pinned: a digest instead of its bytes."""
    digest, _, size = measure_content(content).partition(" ")
    kept: JsonObject = {key: content[key] for key in ("uri", "mimeType") if key in content}
    meta: JsonObject = {"ui": read_object(read_object(content, "_meta"), "ui")}
    return {**kept, "_meta": meta, "digest": digest, "size": Number(size)}


def measure_content(content: JsonObject) -> str:
    """The digest of a content's bytes, as a skill's manifest writes it, a blank and their number.

    Raises:
        Refusal: it has no bytes, or two readings of them.
    """
    data = read_bytes(content)
    return f"sha256:{sha256(data).hexdigest()} {len(data)}"


def read_bytes(content: JsonObject) -> bytes:
    """The bytes of a content (MCP 2025-11-25, server/resources, "Resource Contents").

    Raises:
        Refusal: it has none, or two readings of them.
    """
    text, blob = content.get("text"), content.get("blob")
    if type(text) is str and blob is None:
        return text.encode("utf-8", "surrogatepass")
    if type(blob) is str and text is None:
        with suppress(ValueError):
            return b64decode(blob, validate=True)
    why = "the content of a resource is neither a text nor a blob in Base64"
    raise Refusal("protocol.malformed-content", why, codes.PEER_BROKE_PROTOCOL)


def fingerprint(definition: object) -> str:
    """SHA-256 of the canonical form, 64 hex digits."""
    return sha256(canonical(definition)).hexdigest()


def _utf16(key: object) -> bytes:
    if not isinstance(key, str):
        raise ValueError("an object's key is not a string")  # noqa: TRY004  one error for all
    return key.encode("utf-16-be")


def _spell_number(token: str) -> str:
    from rfc8785 import dumps  # 2 ms: only once there is something to write

    if "n" in token:
        raise ValueError(f"{token} is not JSON")  # infinite, or not a number
    if len(token) <= EXACT_DIGITS and token.lstrip("-").isdigit():
        return str(int(token))
    double = float(token)
    return dumps(double).decode() if _is_exact(double, token) else token


def _is_exact(double: float, token: str) -> bool:
    """True if the double's shortest spelling has exactly the value of the token."""
    from decimal import Decimal
    from math import isinf

    if isinf(double):
        return False
    if double == 0:
        # Decimal rejects exponents of more than 18 digits.
        return not any(digit in "123456789" for digit in token.lower().partition("e")[0])
    return Decimal(repr(double)) == Decimal(token)
