"""Numbers that states give: the ones they publish, by their own arithmetic."""

import pytest

from pipeguard.detect.checks.personal_numbers import NATIONAL_IDS

# Printed by the issuers, or in the articles that explain their check digits.
PUBLISHED = {
    "us-ssn": "078051120",
    "us-itin": "987654321",
    "us-routing": "021000021",
    "us-npi": "1234567893",
    "uk-nhs": "9434765919",
    "ca-sin": "046454286",
    "fr-nir": "255081416802538",
    "de-tax-id": "36574261809",
    "es-dni": "12345678Z",
    "es-nie": "X1234567L",
    "it-codice-fiscale": "RSSMRA85T10A562S",
    "nl-bsn": "111222333",
    "pt-nif": "123456789",
    "pl-pesel": "44051401359",
    "fi-hetu": "131052308T",
    "ie-pps": "1234567T",
    "br-cpf": "52998224725",
    "cl-rut": "123456785",
    "cn-resident": "11010519491231002X",
    "sg-nric": "S1234567D",
    "tr-identity": "10000000146",
}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WITHOUT_CHECK = {"us-ssn", "us-itin"}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_number_is_well_formed(kind: str) -> None:
    assert NATIONAL_IDS[kind](PUBLISHED[kind])


@pytest.mark.parametrize("kind", sorted(PUBLISHED.keys() - WITHOUT_CHECK))
def test_no_other_last_character_is(kind: str) -> None:
    number = PUBLISHED[kind]
    others = ("0123456789" if number[-1].isdigit() else LETTERS).replace(number[-1], "")
    assert [last for last in others if NATIONAL_IDS[kind](number[:-1] + last)] == []


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("us-ssn", "000051120"),
        ("us-ssn", "666051120"),
        ("us-ssn", "900051120"),
        ("us-ssn", "078001120"),
        ("us-ssn", "078050000"),
        ("us-itin", "987934321"),
        ("uk-nino", "BG123456C"),
        ("uk-nino", "QQ123456C"),
        ("pl-pesel", "44059901359"),
        ("dk-cpr", "3213801234"),
        ("kr-rrn", "9913011234567"),
        ("in-pan", "ABCZE1234F"),
    ],
)
def test_a_number_that_nobody_is_given_is_none(kind: str, number: str) -> None:
    assert not NATIONAL_IDS[kind](number)
