"""Addresses of wallets, by their checksums, and the hosts that are asked about wallets.

Sources: BIP-173 and BIP-350 (bech32, bech32m), Bitcoin's base58check, XRP Ledger's base58 (its own
alphabet), ERC-55 (an address of Ethereum has no checksum but its case, which is not read here).
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeguard.detect.checks.checksums import (
    BASE58,
    BECH32,
    bech32_checksum,
    bech32m_checksum,
    double_sha256,
)
from pipeguard.detect.checks.outcome import AROUND, Check, to_outcome
from pipeguard.detect.words import hosts
from pipeguard.firewall.lazy_regex import lazy_regex

_XRP = b"rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_TO_BITCOIN = bytes.maketrans(_XRP, BASE58)
_VERSION_BYTES = 25  # of an address in base58: version, hash, checksum
_BASE58 = lazy_regex(rb"[1-9A-HJ-NP-Za-km-z]{25,36}")
_HEX = lazy_regex(rb"0x[0-9A-Fa-f]{40}")
_BECH32 = lazy_regex(rb"[a-z]{2,8}1[02-9ac-hj-np-z]{30,110}")
# Whoever builds with wallets asks these, with addresses that everybody may read.
_PUBLIC_LEDGERS = lazy_regex(
    rf"(?i)//[^\s/\"'<>]{{0,80}}(?:{'|'.join(hosts.in_order('PUBLIC_LEDGERS'))})".encode()
)


def is_wallet(address: bytes) -> bool:
    """Say whether a text is the address of a wallet, with its checksum where it has one."""
    if _HEX.fullmatch(address):
        return len(set(address[2:].lower())) > 6
    small = address.lower()
    if _BECH32.fullmatch(small):
        prefix, _, body = small.rpartition(b"1")
        if prefix and len(body) > 6 and not body.translate(None, BECH32):
            rest, check = body[:-6], body[-6:]
            if check in (bech32_checksum(prefix, rest), bech32m_checksum(prefix, rest)):
                return True
    if not _BASE58.fullmatch(address):
        return False
    return _has_checksum(address) or (
        address.startswith(b"r") and _has_checksum(address.translate(_TO_BITCOIN))
    )


def _has_checksum(address: bytes) -> bool:
    """True for 21 bytes in base58 and their checksum."""
    number = 0
    for letter in address:
        number = number * 58 + BASE58.index(letter)
    if number.bit_length() > 8 * _VERSION_BYTES:
        return False
    data = number.to_bytes(_VERSION_BYTES, "big")
    return double_sha256(data[:-4])[:4] == data[-4:]


CHECKS: Mapping[str, Check] = {
    "around-not-asked-of-ledger": lambda text: to_outcome(
        _PUBLIC_LEDGERS.search(text.partition(AROUND)[2]) is None
    ),
    "wallet": lambda secret: to_outcome(is_wallet(secret)),
}
