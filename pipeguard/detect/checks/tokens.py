"""Checks of issuers' formats: JSON Web Tokens, keys, and other encoded values.

Pure functions over bytes; none raises, and each takes time linear in them. Formats with a checksum
are in detect.checks.checksums.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache

from pipeguard.detect.checks.outcome import Check, Checks, ChecksWithArgument, Outcome
from pipeguard.detect.checks.placeholders import (
    JSON_BYTES,
    MEASURED_BYTES,
    base64_decoded,
    entropy,
    json_object,
)
from pipeguard.detect.words import bip39
from pipeguard.firewall.lazy_regex import lazy_regex

PEM_BYTES = 16 * 1024  # RSA of 16,384 bits has 12.6 KiB
EXPIRED = 1_735_689_600  # 2025, in seconds since 1970: a token that expired before is worthless

# -- JSON Web Tokens -----------------------------------------------------------------------------


def _parts(secret: bytes) -> list[bytes]:
    return secret[: 2 * JSON_BYTES].rstrip(b".").split(b".")


def _claims(secret: bytes) -> Mapping[str, object]:
    """The claims of a JSON Web Token; empty for any other text (RFC 7519, 3 and 7.2)."""
    parts = _parts(secret)
    if len(parts) < 2 or not isinstance(json_object(base64_decoded(parts[0])).get("alg"), str):
        return {}
    return json_object(base64_decoded(parts[1]))


def _jwt(secret: bytes) -> Outcome:
    """A signed token with claims (RFC 7519), even if cut off in them; not if it expired long ago.

    HOLDS also for an encrypted token: five parts and `enc` (RFC 7516, 3.1).
    """
    parts = _parts(secret)
    header = json_object(base64_decoded(parts[0]))
    if not isinstance(header.get("alg"), str) or header["alg"] == "none":
        return False
    if len(parts) == 2:
        start = _whole_quads(parts[1])
        return len(start) >= 60 and start.startswith(b"{") and not _claims(secret)
    claims = _claims(secret)
    until = claims.get("exp")
    if isinstance(until, int) and until < EXPIRED:
        return False
    return (bool(claims) and len(parts[2]) >= 20) or "enc" in header


def _jwt_claim(argument: str, *, is_there: bool = True) -> Check:
    """`role=admin`: a claim with that value; `kubernetes.io`: a claim of that name or under it."""
    name, equals, value = argument.partition("=")

    def check(secret: bytes) -> Outcome:
        claims = _claims(secret)
        has_name = any(key.partition("/")[0] == name for key in claims)
        return (claims.get(name) == value if equals else has_name) is is_there

    return check


# -- other encodings -----------------------------------------------------------------------------


def _json_keys(argument: str) -> Check:
    """A JSON object with these keys, plain or as base64."""
    keys = {*argument.split()}

    def check(secret: bytes) -> Outcome:
        text = secret if secret.startswith(b"{") else base64_decoded(secret)
        return keys <= json_object(text).keys()

    return check


def _base64_bytes(argument: str) -> Check:
    """Base64 of a fixed number of bytes, as in keys of a fixed size."""
    size = int(argument)
    return lambda secret: len(base64_decoded(secret) or b"") == size


def _whole_quads(text: bytes) -> bytes:
    """The bytes under base64 that may be cut off; empty for any other text."""
    return base64_decoded(text[: len(text) // 4 * 4]) or b""


def _jira(secret: bytes) -> Outcome:
    """A number, a colon, 20 random bytes, in base64 (Jira and Bitbucket Data Center)."""
    raw = base64_decoded(secret) or b""
    return re.fullmatch(rb"(?s)[0-9]{6,14}:.{20}", raw) is not None


_ARMOUR = lazy_regex(
    rb"-----[^-]{0,60}-----|\\[nr]|Proc-Type:[^\n\\]*|DEK-Info:[^\n\\]*|[^A-Za-z0-9+/_-]"
)
_OPENSSH = b"openssh-key-v1\0"
_ENCRYPTIONS = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01"
_PKCS12_CONTENTS = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"
LEAST_KEY_BYTES = 40  # Ed25519 has 48
LEAST_SHARE = 4  # a fourth of a key; documentation prints a line or two


def _pem(secret: bytes) -> Outcome:
    """A key's body after the BEGIN line (RFC 7468; OpenSSH's PROTOCOL.key), END not required.

    HOLDS for DER, OpenSSH and RFC 1421 encryption; UNKNOWN for text as dense as base64; FAILS
    for prose that names the header.
    """
    text = _ARMOUR.sub(b"", secret[:PEM_BYTES])
    if len(text) < 64:
        return False
    start = _key_body(text[:64])
    if b"Proc-Type" in secret or start.startswith((b"\x30", _OPENSSH)):
        return True
    return None if entropy(text[:256]) >= 4.7 else False


def _private_key(secret: bytes) -> Outcome:
    """A private key by its structure; HOLDS also for anything after a BEGIN line.

    PKCS#1 (RFC 8017, A.1.2), PKCS#8 (RFC 5958), SEC 1 (RFC 5915), PKCS#12 (RFC 7292), DSA as
    OpenSSL writes it, and OpenSSH, in base64 or hexadecimal. Public keys begin differently.
    """
    if secret.startswith(b"-----BEGIN"):
        return True
    body = _key_body(_ARMOUR.sub(b"", secret[:PEM_BYTES]))
    if len(body) < LEAST_KEY_BYTES:
        return False
    return body.startswith(_OPENSSH) or _is_private_der(body)


def _key_body(text: bytes) -> bytes:
    if text[:2] in (b"30", b"6f", b"6F") and not text.strip(b"0123456789abcdefABCDEF"):
        return bytes.fromhex(text[: len(text) // 2 * 2].decode())
    return _whole_quads(text)


def _is_private_der(body: bytes) -> bool:
    # Tags (X.690, 8): 02 INTEGER, 04 OCTET STRING, 06 OBJECT IDENTIFIER, 30 SEQUENCE, A0 and A1 [0]
    # and [1].
    tag, start, size = _element(body, 0)
    if tag != 0x30 or len(body) * LEAST_SHARE < size:
        return False
    end = start + size
    fields: list[tuple[int, bytes, int]] = []  # tag, content as far as it is there, size
    while start < min(end, len(body)) and len(fields) < 3:
        tag, start, length = _element(body, start)
        fields.append((tag, body[start : start + length], length))
        start += length
    match fields:
        case [(0x02, b"\0" | b"\1", 1), (0x30, algorithm, _), (0x04, _, _)]:
            is_key = algorithm[:1] == b"\x06"
        case [(0x02, b"\0" | b"\1", 1), (0x02, _, modulus), (0x02, _, _)]:
            is_key = modulus >= 64 and 2 * modulus < size
        case [(0x02, b"\1", 1), (0x04, _, scalar), *rest]:
            is_key = 16 <= scalar <= 72 and all(field[0] in (0xA0, 0xA1) for field in rest)
        case [(0x30, algorithm, _), (0x04, _, _)]:
            is_key = algorithm[2:].startswith(_ENCRYPTIONS)
        case [(0x02, b"\3", 1), (0x30, contents, _), *_]:
            is_key = contents.startswith(_PKCS12_CONTENTS)
        case _:
            is_key = False
    return is_key


def _element(body: bytes, at: int) -> tuple[int, int, int]:
    """The tag of an element of DER, the start of its content, and its size (X.690, 8.1)."""
    head = body[at : at + 4].ljust(4, b"\0")
    if head[1] < 0x80:
        return head[0], at + 2, head[1]
    count = min(head[1] & 0x7F, 2)
    return head[0], at + 2 + count, int.from_bytes(head[2 : 2 + count], "big")


def _key_bytes(secret: bytes) -> Outcome:
    """A key as a JSON array of 64 bytes, as Solana's tools write it."""
    numbers = [int(digits) for digits in re.findall(rb"[0-9]{1,3}", secret[:MEASURED_BYTES])]
    return len(numbers) == 64 and max(numbers) < 256 and len(set(numbers)) > 30


# -- seed phrases --------------------------------------------------------------------------------
# 12 to 24 of 2,048 words in a row, with a checksum in the last (BIP-39, "Generating the mnemonic").
# Only the English list is known: a phrase in another of the standard's languages is missed.

LENGTHS = 24, 21, 18, 15, 12  # words of a phrase, the longest first


@cache
def _word_numbers() -> dict[bytes, int]:
    return {word.encode(): number for number, word in enumerate(bip39.in_order("WORDS"))}


def has_phrase(words: list[bytes]) -> bool:
    """True if some of these words, next to each other, are a phrase with its checksum.

    A stretch of the standard's list does not count.
    """
    return any(True for _ in _phrases(words))


def is_printed_phrase(words: list[bytes]) -> bool:
    """True if the only phrases among these words are those printed in the standard."""
    return all(len(set(entropy)) == 1 for entropy in _phrases(words))


def _phrases(words: list[bytes]) -> Iterator[bytes]:
    """The entropy of each phrase among some words."""
    known_numbers = _word_numbers()
    numbers = [known_numbers.get(word, -1) for word in words]
    for length in LENGTHS:
        for start in range(len(numbers) - length + 1):
            entropy = _phrase_entropy(numbers[start : start + length])
            if entropy is not None:
                yield entropy


def _phrase_entropy(numbers: list[int]) -> bytes | None:
    """The bytes encoded by the words of a phrase; None if they are not a phrase."""
    if min(numbers) < 0 or numbers == sorted(numbers) or 3 * len(set(numbers)) < 2 * len(numbers):
        return None  # random words do not repeat like this
    bits = 0
    for number in numbers:
        bits = bits << 11 | number
    check_bits = len(numbers) // 3
    entropy = (bits >> check_bits).to_bytes(check_bits * 4, "big")
    is_phrase = _phrase_checksum(entropy) == bits & (1 << check_bits) - 1
    return entropy if is_phrase else None


def _phrase_checksum(entropy: bytes) -> int:
    from hashlib import sha256

    return sha256(entropy).digest()[0] >> 8 - len(entropy) // 4


def seed_phrase(entropy: bytes) -> list[str]:
    """The words for 16 to 32 random bytes, in steps of four."""
    words = bip39.in_order("WORDS")
    check_bits = len(entropy) // 4
    bits = int.from_bytes(entropy, "big") << check_bits | _phrase_checksum(entropy)
    return [words[bits >> 11 * place & 2047] for place in reversed(range(3 * check_bits))]


def phrase_words(secret: bytes) -> list[bytes]:
    """The words of a possible seed phrase."""
    return re.findall(rb"[a-z]+", secret[:MEASURED_BYTES].lower())


# -- tokens of one issuer ------------------------------------------------------------------------


def _discord(secret: bytes) -> Outcome:
    """The first part is a snowflake in base64 (Discord, API reference, Snowflakes)."""
    snowflake = base64_decoded(secret.partition(b".")[0]) or b""
    if not re.fullmatch(rb"[0-9]{17,20}", snowflake):
        return False
    return int(snowflake) >> 22 < 20 * 365 * 86_400_000  # milliseconds since 2015


def _pypi_macaroon(secret: bytes) -> Outcome:
    """A macaroon, version 2: location, then identifier (libmacaroons, doc/format.txt)."""
    raw = _whole_quads(secret.partition(b"-")[2])
    if not raw.startswith(b"\x02\x01") or len(raw) < 40 or raw[2] > 64:
        return False
    return raw[3 + raw[2]] == 2


CHECKS: Checks = {
    "bip39": lambda secret: has_phrase(phrase_words(secret)),
    "discord": _discord,
    "jira": _jira,
    "jwt": _jwt,
    "key-bytes": _key_bytes,
    "pem": _pem,
    "private-key": _private_key,
    "pypi-macaroon": _pypi_macaroon,
    "telegram": lambda secret: entropy(secret.partition(b":")[2]) >= 4,
}
WITH_ARGUMENT: ChecksWithArgument = {
    "base64-bytes": _base64_bytes,
    "json-keys": _json_keys,
    "jwt-claim": _jwt_claim,
    "jwt-not": lambda argument: _jwt_claim(argument, is_there=False),
}
