"""The checksums that issuers put into their tokens. Knows arithmetic, and no rule."""

from __future__ import annotations

from zlib import crc32

BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE36 = b"0123456789abcdefghijklmnopqrstuvwxyz"
BASE58 = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

# Countries and the length of their IBAN (ISO 13616, the registry of SWIFT).
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI NL",
        19: "SI",
        20: "AT EE LT LU",
        21: "LV CH HR LI",
        22: "BG DE GB IE RS BH GE",
        23: "AE GI IL",
        24: "AD CZ ES MD PK RO SA SE SK TN VA",
        25: "PT",
        26: "IS TR",
        27: "FR GR IT MC SM",
        28: "AL AZ CY DO HU LB PL",
        29: "BR EG QA UA",
        30: "JO KW",
        31: "MT",
    }.items()
    for country in countries.split()
}


def digits(number: int, alphabet: bytes, width: int) -> bytes:
    """A number written in an alphabet, padded on the left with its first letter."""
    text = bytearray()
    while number or len(text) < width:
        number, digit = divmod(number, len(alphabet))
        text.append(alphabet[digit])
    return bytes(reversed(text))


def github_crc(body: bytes) -> bytes:
    """CRC-32 in six base-62 digits (github.blog, Behind GitHub's new authentication tokens)."""
    return digits(crc32(body), BASE62, 6)


def gitlab_crc(token: bytes) -> bytes:
    """CRC-32 in seven base-36 digits (GitLab, routable tokens, design document)."""
    return digits(crc32(token), BASE36, 7)


def atlassian_crc(token: bytes) -> bytes:
    """CRC-32 in eight upper-case hexadecimal digits; seen in tokens, not documented."""
    return b"%08X" % crc32(token)


def grafana_crc(token: bytes) -> bytes:
    """CRC-32, its bytes little-endian, in hexadecimal (grafana/grafana, satokengen)."""
    return crc32(token).to_bytes(4, "little").hex().encode()


def cloudflare_crc(body: bytes) -> bytes:
    """CRC-32 in eight hexadecimal digits; seen in a published token, not documented."""
    return b"%08x" % crc32(body)


def luhn_digit(number: bytes) -> bytes:
    """The digit that completes a card number (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = (digit - 48) * (1 if place % 2 else 2)
        total += value - 9 if value > 9 else value
    return b"%d" % (-total % 10)


def base58check(payload: bytes) -> bytes:
    """Base58 of bytes and four of their double SHA-256 (Bitcoin wiki, Base58Check encoding)."""
    data = payload + double_sha256(payload)[:4]
    zeros = len(data) - len(data.lstrip(b"\0"))
    return b"1" * zeros + digits(int.from_bytes(data, "big"), BASE58, 0)


def double_sha256(data: bytes) -> bytes:
    """SHA-256 of SHA-256."""
    from pipeguard.core.digest import sha256

    return sha256(sha256(data).digest()).digest()


def bech32_checksum(prefix: bytes, body: bytes) -> bytes:
    """The six characters that complete a bech32 text (BIP-173), all in lower case."""
    values = [b >> 5 for b in prefix] + [0] + [b & 31 for b in prefix]
    values += [BECH32.index(b) for b in body] + [0] * 6
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= term if top >> bit & 1 else 0
    return bytes(BECH32[(check ^ 1) >> 5 * (5 - place) & 31] for place in range(6))


def base32(text: bytes) -> bytes:
    """The bytes under base32 without padding (RFC 4648, 6); every letter must be of it."""
    number = 0
    for letter in text:
        number = number << 5 | BASE32.index(letter)
    return number.to_bytes(len(text) * 5 // 8, "big")
