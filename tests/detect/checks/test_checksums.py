"""Checksums against the vectors that issuers and standards publish."""

import pytest

from pipeguard.detect.checks import checksums
from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import run
from tests.detect.checks.outcomes import assert_outcome, rows


def test_github_writes_its_crc_in_six_base62_digits() -> None:
    assert checksums.github_crc(b"A" * 30) == b"0uCPlr"


def test_gitlab_writes_its_crc_in_seven_base36_digits() -> None:
    token = b"glpat-" + b"A" * 21 + b"G86MQM" + b".01.0r"
    assert checksums.gitlab_crc(token) == b"1regny2"


def test_grafana_writes_its_crc_with_the_low_byte_first() -> None:
    assert checksums.grafana_crc(b"glsa_" + b"A" * 32) == b"d8dc8af3"


def test_atlassian_and_cloudflare_write_a_plain_crc() -> None:
    assert checksums.atlassian_crc(b"123456789") == b"CBF43926"
    assert checksums.cloudflare_crc(b"123456789") == b"cbf43926"


@pytest.mark.parametrize("number", [b"4111111111111111", b"4242424242424242", b"378282246310005"])
def test_luhn_completes_the_card_numbers_of_test_systems(number: bytes) -> None:
    assert checksums.luhn_digit(number[:-1]) == number[-1:]


def test_base58check_writes_the_address_of_no_key_at_all() -> None:
    address = checksums.base58check(bytes(21))  # Bitcoin's well-known burn address
    assert address == b"1111111111111111111114oLvT2"


def test_bech32_completes_the_vectors_of_bip_173() -> None:
    assert checksums.bech32_checksum(b"a", b"") == b"2uel5l"
    assert checksums.bech32_checksum(
        b"split", b"checkupstagehandshakeupstreamerranterredcaperred"
    ) == (b"2y9e3w")


def test_base32_decodes_as_rfc_4648_says() -> None:
    assert checksums.base32(b"MZXW6YTB") == b"fooba"
    assert checksums.base32(b"MZXW6YTBOI"[:8]) == b"fooba"


@pytest.mark.parametrize(
    ("number", "width", "text"), [(0, 0, b""), (0, 2, b"00"), (35, 1, b"z"), (36, 1, b"10")]
)
def test_numbers_are_written_with_the_width_asked_for(number: int, width: int, text: bytes) -> None:
    assert checksums.digits(number, checksums.BASE36, width) == text


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

UNKNOWN = [
    ("github-crc", "ghr_{b62:76}"),
    ("gitlab-routable-crc", "glpat-{b62:20}"),
]


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
    assert run("wallet", address) is Outcome.HOLDS
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
        (asked, Outcome.FAILS),
        (b"url: https://collect.example/0x5", Outcome.HOLDS),
    ):
        assert run("around-not-asked-of-ledger", WALLETS[5] + AROUND + around) is outcome
