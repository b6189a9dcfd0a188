"""Checksums against the vectors that issuers and standards publish."""

import pytest

from pipeguard.core.checks import checksums


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
