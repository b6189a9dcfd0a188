"""Addresses of wallets, and the hosts that are asked about them."""

import pytest

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.wallets import CHECKS, is_wallet

WALLETS = [
    b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",  # BIP-173
    b"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",  # BIP-350
    b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",  # the first block's
    b"TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
    b"rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",
    b"0x52908400098527886E0F7030069857D2E4169EE7",  # ERC-55
]


@pytest.mark.parametrize("address", WALLETS)
def test_an_address_with_its_checksum(address: bytes) -> None:
    assert is_wallet(address)
    assert CHECKS["wallet"](address) is Outcome.HOLDS


@pytest.mark.parametrize("address", WALLETS[:5])
def test_a_changed_character(address: bytes) -> None:
    last = b"2" if address[-1:] != b"2" else b"3"
    assert not is_wallet(address[:-1] + last)


@pytest.mark.parametrize(
    "address",
    [b"0x" + b"0" * 40, b"da39a3ee5e6b4b0d3255bfef95601890afd80709", b"z" * 36, b"bc1q", b""],
)
def test_what_is_no_address(address: bytes) -> None:
    assert not is_wallet(address)


def test_a_public_ledger_is_asked_about_addresses_that_all_may_read() -> None:
    check = CHECKS["around-not-asked-of-ledger"]
    asked = b"url: https://api.etherscan.io/api?address=0x52908400098527886E0F7030069857D2E4169EE7"
    assert check(WALLETS[5] + AROUND + asked) is Outcome.FAILS
    assert check(WALLETS[5] + AROUND + b"url: https://collect.example/0x5") is Outcome.HOLDS
