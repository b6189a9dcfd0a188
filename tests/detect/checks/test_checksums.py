"""Checksums against the vectors that issuers and standards publish."""

import pytest

from pipeguard.detect.checks import checksums
from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import run
from tests.detect.checks.outcomes import assert_outcome, rows
from tests.each import each

ROUTABLE = b"glpat-" + b"A" * 21 + b"G86MQM" + b".01.0r"
SPLIT = b"checkupstagehandshakeupstreamerranterredcaperred"


@each(
    "made, published",
    [
        (checksums.github_crc(b"A" * 30), b"0uCPlr"),
        (checksums.gitlab_crc(ROUTABLE), b"1regny2"),
        (checksums.grafana_crc(b"glsa_" + b"A" * 32), b"d8dc8af3"),
        (checksums.atlassian_crc(b"123456789"), b"CBF43926"),
        (checksums.cloudflare_crc(b"123456789"), b"cbf43926"),
        (checksums.luhn_digit(b"411111111111111"), b"1"),  # card numbers of test systems
        (checksums.luhn_digit(b"37828224631000"), b"5"),
        (checksums.base58check(bytes(21)), b"1111111111111111111114oLvT2"),  # of no key at all
        (checksums.bech32_checksum(b"a", b""), b"2uel5l"),  # BIP-173
        (checksums.bech32_checksum(b"split", SPLIT), b"2y9e3w"),
        (checksums.digits(0, checksums.BASE36, 2), b"00"),
        (checksums.digits(36, checksums.BASE36, 1), b"10"),
    ],
)
def test_a_checksum_is_written_as_its_issuer_does(made: bytes, published: bytes) -> None:
    assert made == published


def test_every_country_has_one_length_of_iban() -> None:
    assert checksums.IBAN_LENGTHS["NO"] == 15
    assert checksums.IBAN_LENGTHS["MT"] == 31
    assert all(len(country) == 2 for country in checksums.IBAN_LENGTHS)


HOLDS = [
    ("github-crc", "npm_{b62:30}{github-crc}"),
    ("gitlab-routable-crc", "gldt-{b64u:40}.01.{gitlab-crc}"),
    ("atlassian-crc", "ATCTT3{b64u:180}={atlassian-crc}"),
    ("grafana-crc", "glsa_" + "A" * 32 + "_d8dc8af3"),
    ("cloudflare-crc", "cfut_{b62:40}{cloudflare-crc}"),
    ("luhn", "4111 1111 1111 1111"),
    ("iban", "GB82 WEST 1234 5698 7654 32"),
    ("base58check", "{base58check 80 32 01}"),
    ("base58check", "1111111111111111111114oLvT2"),
    ("bech32", "{upper {bech32 age-secret-key- 32}}"),
    ("stellar", "{stellar}"),
]

FAILS = [
    ("github-crc", "ghp_" + "A" * 36),
    ("gitlab-routable-crc", "glpat-{b64u:27}.01.{la:9}"),
    ("atlassian-crc", "ATATT3{b64u:180}={HEX:8}"),
    ("grafana-crc", "glsa_" + "B" * 32 + "_d8dc8af3"),
    ("cloudflare-crc", "cfut_{b62:40}{hex:8}"),
    ("luhn", "4111111111111112"),
    ("luhn", "four"),
    ("iban", "GB83WEST12345698765432"),
    ("iban", "NO82WEST12345698765432"),
    ("iban", "12"),
    ("base58check", "{base58:52}"),
    ("base58check", "0OIl"),
    ("bech32", "nsec1{[02-9ac-hj-np-z]:52}qqqqqq"),
    ("bech32", "nsec1bio"),
    ("stellar", "S{b32:55}"),
    ("stellar", "S"),
]

UNKNOWN = [("github-crc", "ghr_{b62:76}"), ("gitlab-routable-crc", "glpat-{b62:20}")]


@rows(HOLDS, FAILS, UNKNOWN)
def test_a_check_has_its_answer(spec: str, recipe: str, outcome: Outcome) -> None:
    assert_outcome(spec, recipe, outcome)


WALLETS = [
    b"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",  # BIP-173
    b"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",  # BIP-350
    b"1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",  # the first block's
    b"TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
    b"rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",
    b"0x52908400098527886E0F7030069857D2E4169EE7",  # ERC-55
]


@pytest.mark.parametrize("address", WALLETS)
def test_an_address_of_a_wallet_has_its_checksum(address: bytes) -> None:
    assert run("wallet", address) is True
    last = b"2" if address[-1:] != b"2" else b"3"
    assert address[:2] == b"0x" or not checksums.is_wallet(address[:-1] + last)


@pytest.mark.parametrize(
    "address",
    [b"0x" + b"0" * 40, b"da39a3ee5e6b4b0d3255bfef95601890afd80709", b"z" * 36, b"bc1q", b""],
)
def test_other_text_is_no_address_of_a_wallet(address: bytes) -> None:
    assert not checksums.is_wallet(address)


def test_a_public_ledger_is_asked_about_addresses_that_all_may_read() -> None:
    asked = b"url: https://api.etherscan.io/api?address=0x52908400098527886E0F7030069857D2E4169EE7"
    for around, outcome in (
        (asked, False),
        (b"url: https://collect.example/0x5", True),
    ):
        assert run("around-not-asked-of-ledger", WALLETS[5] + AROUND + around) is outcome
