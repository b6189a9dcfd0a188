"""Checksums in tokens and wallet addresses, and the checks that use them.

Pure functions over bytes; no check raises, and each takes time linear in them except for base58,
whose length is limited. Sources for wallets: BIP-173 and BIP-350 (bech32, bech32m), Bitcoin's
base58check, XRP Ledger's base58 (its own alphabet), ERC-55 (an address of Ethereum has no checksum
but its case, which is not read here).
"""

import binascii
import re
from base64 import b32decode
from zlib import crc32

from pipeguard.detect.checks.outcome import AROUND, Checks, Outcome
from pipeguard.detect.checks.placeholders import MEASURED_BYTES
from pipeguard.detect.words import hosts, published
from pipeguard.firewall.lazy_regex import lazy_regex

BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE36 = b"0123456789abcdefghijklmnopqrstuvwxyz"
BASE58 = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M = 0x2BC830A3  # the constant of its checksum
BASE58_BYTES = 128  # an extended key has 112; decoding is quadratic, so no more

IBAN_LENGTHS = {country: int(length) for country, length in published.pairs("IBAN_LENGTHS").items()}


def digits(number: int, alphabet: bytes, width: int) -> bytes:
    """A number written in an alphabet, padded on the left with its first letter."""
    text = bytearray()
    while number or len(text) < width:
        number, digit = divmod(number, len(alphabet))
        text.append(alphabet[digit])
    return bytes(reversed(text))


def decode_number(text: bytes, alphabet: bytes) -> int:
    """The number that `digits` writes in this way; every letter must be in the alphabet."""
    number = 0
    for letter in text:
        number = number * len(alphabet) + alphabet.index(letter)
    return number


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
    data = payload + base58_checksum(payload)
    zeros = len(data) - len(data.lstrip(b"\0"))
    return b"1" * zeros + digits(int.from_bytes(data, "big"), BASE58, 0)


def base58_checksum(data: bytes) -> bytes:
    """The first four bytes of SHA-256 of SHA-256."""
    from hashlib import sha256

    return sha256(sha256(data).digest()).digest()[:4]


def bech32_checksum(prefix: bytes, body: bytes, constant: int = 1) -> bytes:
    """The six characters that complete a bech32 text (BIP-173), all in lower case.

    Args:
        prefix: before the last `1`.
        body: after it.
        constant: 1, or BECH32M for a bech32m text (BIP-350).
    """
    values = [b >> 5 for b in prefix] + [0] + [b & 31 for b in prefix]
    values += [BECH32.index(b) for b in body] + [0] * 6
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= term if top >> bit & 1 else 0
    return bytes(BECH32[(check ^ constant) >> 5 * (5 - place) & 31] for place in range(6))


# -- checks --------------------------------------------------------------------------------------


def _github_crc(secret: bytes) -> Outcome:
    """30 characters and their checksum in the last 36 (GitHub; npm since 2021)."""
    if not re.fullmatch(rb"[a-z]{3}_[0-9A-Za-z]{36}", secret):
        return None
    return github_crc(secret[-36:-6]) == secret[-6:]


def _gitlab_crc(secret: bytes) -> Outcome:
    parts = re.fullmatch(rb"[a-z]+-([\w-]{27,300})\.[0-9a-z]{2}\.([0-9a-z]{2})[0-9a-z]{7}", secret)
    if not parts:
        return None
    length = digits(len(parts[1]), BASE36, 2)
    return length == parts[2] and gitlab_crc(secret[:-7]) == secret[-7:]


def _grafana_crc(secret: bytes) -> Outcome:
    token, _, crc = secret.rpartition(b"_")
    return grafana_crc(token) == crc


def _cloudflare_crc(secret: bytes) -> Outcome:
    body = secret.partition(b"_")[2]
    return len(body) == 48 and cloudflare_crc(body[:40]) == body[40:]


def _luhn(secret: bytes) -> Outcome:
    number = re.sub(rb"[ -]", b"", secret[:64])
    if not re.fullmatch(rb"[0-9]{8,19}", number):
        return False
    return luhn_digit(number[:-1]) == number[-1:]


def _iban(secret: bytes) -> Outcome:
    """ISO 13616-1: the country's length, and 1 modulo 97 (ISO/IEC 7064)."""
    text = re.sub(rb"[ -]", b"", secret[:64]).upper()
    if not re.fullmatch(rb"[A-Z]{2}[0-9]{2}[0-9A-Z]{11,30}", text):
        return False
    number = "".join(str(int(chr(letter), 36)) for letter in text[4:] + text[:4])
    return IBAN_LENGTHS.get(text[:2].decode()) == len(text) and int(number) % 97 == 1


def _base58check(secret: bytes) -> Outcome:
    if not re.fullmatch(rb"[1-9A-HJ-NP-Za-km-z]{20,%d}" % BASE58_BYTES, secret):
        return False
    number = decode_number(secret, BASE58)
    ones = len(secret) - len(secret.lstrip(b"1"))
    data = bytes(ones) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base58_checksum(data[:-4]) == data[-4:]


def _bech32(secret: bytes) -> Outcome:
    """`AGE-SECRET-KEY-1…` (age, format specification) and `nsec1…` (Nostr, NIP-19)."""
    prefix, _, body = secret[:MEASURED_BYTES].lower().rpartition(b"1")
    if len(body) < 8 or not prefix or body.translate(None, BECH32):
        return False
    return bech32_checksum(prefix, body[:-6]) == body[-6:]


def _stellar(secret: bytes) -> Outcome:
    """A Stellar seed: version, 32 bytes, CRC-16 (XMODEM), in base32 (Stellar, SEP-23)."""
    if not re.fullmatch(rb"S[A-Z2-7]{55}", secret):
        return False
    raw = b32decode(secret)
    return binascii.crc_hqx(raw[:33], 0).to_bytes(2, "little") == raw[33:]


# -- wallets -------------------------------------------------------------------------------------

_XRP = b"rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_TO_BITCOIN = bytes.maketrans(_XRP, BASE58)
_VERSION_BYTES = 25  # of an address in base58: version, hash, checksum
_BASE58 = lazy_regex(rb"[1-9A-HJ-NP-Za-km-z]{25,36}")
_HEX = lazy_regex(rb"0x[0-9A-Fa-f]{40}")
_BECH32 = lazy_regex(rb"[a-z]{2,8}1[02-9ac-hj-np-z]{30,110}")
# Those who build with wallets ask these, with addresses that everybody may read.
_PUBLIC_LEDGERS = lazy_regex(
    rf"(?i)//[^\s/\"'<>]{{0,80}}(?:{hosts.alternatives('PUBLIC_LEDGERS')}|\brpc)".encode()
)


def is_wallet(address: bytes) -> bool:
    """True if a text is the address of a wallet, with its checksum if it has one."""
    if _HEX.fullmatch(address):
        return len(set(address[2:].lower())) > 6
    small = address.lower()
    if _BECH32.fullmatch(small):
        prefix, _, body = small.rpartition(b"1")
        if prefix and len(body) > 6 and not body.translate(None, BECH32):
            rest = body[:-6]
            check = body[-6:]
            if any(check == bech32_checksum(prefix, rest, each) for each in (1, BECH32M)):
                return True
    if not _BASE58.fullmatch(address):
        return False
    return _has_checksum(address) or (
        address.startswith(b"r") and _has_checksum(address.translate(_TO_BITCOIN))
    )


def _has_checksum(address: bytes) -> bool:
    """True for 21 bytes in base58 and their checksum."""
    number = decode_number(address, BASE58)
    if number.bit_length() > 8 * _VERSION_BYTES:
        return False
    data = number.to_bytes(_VERSION_BYTES, "big")
    return base58_checksum(data[:-4]) == data[-4:]


CHECKS: Checks = {
    "around-not-asked-of-ledger": lambda text: (
        _PUBLIC_LEDGERS.search(text.partition(AROUND)[2]) is None
    ),
    "atlassian-crc": lambda s: len(s) > 20 and atlassian_crc(s[:-8]) == s[-8:],
    "base58check": _base58check,
    "bech32": _bech32,
    "cloudflare-crc": _cloudflare_crc,
    "github-crc": _github_crc,
    "gitlab-routable-crc": _gitlab_crc,
    "grafana-crc": _grafana_crc,
    "iban": _iban,
    "luhn": _luhn,
    "stellar": _stellar,
    "wallet": is_wallet,
}
