"""Numbers of people, their cards and their things: whether a text could be one of a kind.

Each test says whether a number is well-formed, and none whether anybody has it. Sources: ISO 7812
(cards), ICAO 9303 (passports), ISO 3779 (vehicles), 3GPP 23.003 (IMEI); those of states are in
detect.checks.personal_numbers, and what documentation prints is in detect.words.published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from pipeguard.detect.checks.check_digits import (
    digits,
    has_brazilian_digits,
    has_luhn_digit,
    has_mod_11_10_digit,
    has_verhoeff_digit,
    icao_digit,
    weighted_sum,
)
from pipeguard.detect.words import published
from pipeguard.firewall.lazy_regex import lazy_regex

# --- national ids -----------------------------------------------------------------------
# Numbers that states give to people: whether a text could be one, by its check digits and dates.

IsValid = Callable[[str], bool]


def _month_day(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31


def _date(text: str) -> bool:
    """`YYMMDD`, of whatever century."""
    return _month_day(int(text[2:4]), int(text[4:6]))


def _us_ssn(text: str) -> bool:
    area, group, serial = text[:3], text[3:5], text[5:]
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"


def _us_itin(text: str) -> bool:
    group = int(text[3:5])
    return text[0] == "9" and (
        50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99
    )


def _us_aba(text: str) -> bool:
    first = int(text[:2])
    good = first <= 12 or 21 <= first <= 32 or 61 <= first <= 72 or first == 80
    return good and weighted_sum(text, (3, 7, 1) * 3) % 10 == 0 and text != "000000000"


def _us_npi(text: str) -> bool:
    return text[0] in "12" and has_luhn_digit("80840" + text)


def _us_dea(text: str) -> bool:
    d = digits(text[2:])
    return (d[0] + d[2] + d[4] + 2 * (d[1] + d[3] + d[5])) % 10 == d[6]


def _uk_nino(text: str) -> bool:
    return (
        text[0] not in "DFIQUV"
        and text[1] not in "DFIOQUV"
        and text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
    )


def _uk_nhs(text: str) -> bool:
    check = 11 - weighted_sum(text, range(10, 1, -1)) % 11
    return check != 10 and check % 11 == int(text[9])


def _za_id(text: str) -> bool:
    return _date(text) and text[10] in "012" and has_luhn_digit(text)


def _se_personnummer(text: str) -> bool:
    text = text[-10:]
    day = int(text[4:6])
    return _month_day(int(text[2:4]), day - 60 if day > 60 else day) and has_luhn_digit(text)


def _gr_amka(text: str) -> bool:
    return _month_day(int(text[2:4]), int(text[:2])) and has_luhn_digit(text)


def _fr_nir(text: str) -> bool:
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and text[0] in "12345678" and 97 - int(number) % 97 == int(text[13:])


def _de_tax_id(text: str) -> bool:
    counts = sorted(map(text[:10].count, set(text[:10])))
    if text[0] == "0" or counts[-1] not in (2, 3) or counts[-2:-1] == [counts[-1]]:
        return False
    return has_mod_11_10_digit(text)


_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"


def _es_dni(text: str) -> bool:
    return text[:8].isdigit() and _DNI[int(text[:8]) % 23] == text[8]


def _es_nie(text: str) -> bool:
    return _es_dni(str("XYZ".index(text[0])) + text[1:])


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
            *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
            *(2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        ),
        strict=True,
    )
)


def _even(letter: str) -> int:
    return int(letter) if letter.isdigit() else ord(letter) - 65


def _it_codice_fiscale(text: str) -> bool:
    total = sum(_even(c) if place % 2 else _ODD[c] for place, c in enumerate(text[:15]))
    return chr(65 + total % 26) == text[15]


def _nl_bsn(text: str) -> bool:
    return weighted_sum(text, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _pt_nif(text: str) -> bool:
    rest = 11 - weighted_sum(text, range(9, 1, -1)) % 11
    return text[0] in "1235689" and (0 if rest >= 10 else rest) == int(text[8])


def _pl_pesel(text: str) -> bool:
    return _month_day(int(text[2:4]) % 20, int(text[4:6])) and -weighted_sum(
        text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    ) % 10 == int(text[10])


def _ro_cnp(text: str) -> bool:
    check = weighted_sum(text, digits("279146358279")) % 11
    return _date(text[1:7]) and (1 if check == 10 else check) == int(text[12])


def _bg_egn(text: str) -> bool:
    return _month_day(int(text[2:4]) % 20, int(text[4:6])) and weighted_sum(
        text, (2, 4, 8, 5, 10, 9, 7, 3, 6)
    ) % 11 % 10 == int(text[9])


def _be_national(text: str) -> bool:
    return any(97 - int(century + text[:9]) % 97 == int(text[9:]) for century in ("", "2"))


def _cz_birth(text: str) -> bool:
    month = int(text[2:4]) % 50
    if not _month_day(month - 20 if month > 20 else month, int(text[4:6])):
        return False
    return len(text) == 9 or int(text) % 11 == 0 or (int(text[:9]) % 11 == 10 and text[9] == "0")


def _fi_hetu(text: str) -> bool:
    """`DDMMYY`, a sign for the century, three digits and a check."""
    number = text[:6] + text[-4:-1]
    return (
        _month_day(int(text[2:4]), int(text[:2]))
        and number.isdigit()
        and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(number) % 31] == text[-1]
    )


def _ean13(text: str) -> bool:
    return -weighted_sum(text, (1, 3) * 6) % 10 == int(text[12])


def _ie_pps(text: str) -> bool:
    second = ord(text[8]) - 64 if len(text) > 8 and text[8] != "W" else 0
    total = weighted_sum(text[:7], range(8, 1, -1)) + 9 * second
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == text[7]


def _dk_cpr(text: str) -> bool:
    return _month_day(int(text[2:4]), int(text[:2]))


def _br_cpf(text: str) -> bool:
    return has_brazilian_digits(text, (range(10, 1, -1), range(11, 1, -1)))


def _br_cnpj(text: str) -> bool:
    row = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    return has_brazilian_digits(text, (row[1:], row))


def _ar_cuit(text: str) -> bool:
    check = 11 - weighted_sum(text, digits("5432765432")) % 11
    return text[:2] in ("20", "23", "24", "25", "26", "27", "30", "33", "34") and (
        check % 11 == int(text[10])
    )


def _cl_rut(text: str) -> bool:
    weights = (2, 3, 4, 5, 6, 7, 2, 3)
    check = 11 - weighted_sum(text[:-1][::-1], weights) % 11
    return "0123456789K0"[check] == text[-1]


def _mx_curp(text: str) -> bool:
    letters = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(letters.index(c) * (18 - place) for place, c in enumerate(text[:17]))
    return str(-total % 10) == text[17] and _date(text[4:10])


def _in_aadhaar(text: str) -> bool:
    return text[0] not in "01" and has_verhoeff_digit(text)


def _cn_resident(text: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return (
        _month_day(int(text[10:12]), int(text[12:14]))
        and text[6:8] in ("18", "19", "20")
        and "10X98765432"[weighted_sum(text[:17], weights) % 11] == text[17]
    )


def _jp_my_number(text: str) -> bool:
    rest = weighted_sum(text[:11][::-1], (2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6)) % 11
    return (0 if rest <= 1 else 11 - rest) == int(text[11])


def _kr_rrn(text: str) -> bool:
    """Numbers given since 2020 have no check digit."""
    return _date(text) and text[6] in "12345678"


def _au_tfn(text: str) -> bool:
    return weighted_sum(text, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _au_abn(text: str) -> bool:
    text = str(int(text[0]) - 1) + text[1:] if text[0] != "0" else "0" * 11
    return weighted_sum(text, (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)) % 89 == 0 and int(text) > 0


def _sg_nric(text: str) -> bool:
    total = weighted_sum(text[1:8], digits("2765432")) + (4 if text[0] in "TG" else 0)
    table = "JZIHGFEDCBA" if text[0] in "ST" else "XWUTRQPNMLK"
    if text[0] == "M":
        table, total = "KLJNPQRTUWX", total + 3
        return table[10 - total % 11] == text[8]
    return table[total % 11] == text[8]


def _tr_identity(text: str) -> bool:
    d = digits(text)
    tenth = (7 * sum(d[0:9:2]) - sum(d[1:8:2])) % 10
    return d[0] != 0 and tenth == d[9] and sum(d[:10]) % 10 == d[10]


def _ru_inn(text: str) -> bool:
    weights = (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)

    def check(row: Sequence[int]) -> int:
        return weighted_sum(text, row) % 11 % 10

    if len(text) == 10:
        return check(weights[2:]) == int(text[9])
    return check(weights[1:]) == int(text[10]) and check(weights) == int(text[11])


def _ru_snils(text: str) -> bool:
    rest = weighted_sum(text[:9], range(9, 0, -1)) % 101
    return rest % 100 == int(text[9:])


NATIONAL_IDS: Mapping[str, IsValid] = {
    "us-ssn": _us_ssn,
    "us-itin": _us_itin,
    "us-routing": _us_aba,
    "us-npi": _us_npi,
    "us-dea": _us_dea,
    "uk-nino": _uk_nino,
    "uk-nhs": _uk_nhs,
    "ca-sin": has_luhn_digit,
    "il-id": has_luhn_digit,
    "za-id": _za_id,
    "se-personnummer": _se_personnummer,
    "gr-amka": _gr_amka,
    "fr-nir": _fr_nir,
    "de-tax-id": _de_tax_id,
    "es-dni": _es_dni,
    "es-nie": _es_nie,
    "it-codice-fiscale": _it_codice_fiscale,
    "nl-bsn": _nl_bsn,
    "pt-nif": _pt_nif,
    "pl-pesel": _pl_pesel,
    "ro-cnp": _ro_cnp,
    "bg-egn": _bg_egn,
    "be-national": _be_national,
    "cz-birth": _cz_birth,
    "fi-hetu": _fi_hetu,
    "ch-ahv": _ean13,
    "ie-pps": _ie_pps,
    "dk-cpr": _dk_cpr,
    "br-cpf": _br_cpf,
    "br-cnpj": _br_cnpj,
    "ar-cuit": _ar_cuit,
    "cl-rut": _cl_rut,
    "mx-curp": _mx_curp,
    "in-aadhaar": _in_aadhaar,
    "in-pan": lambda text: text[3] in "ABCFGHLJPT",
    "cn-resident": _cn_resident,
    "jp-my-number": _jp_my_number,
    "kr-rrn": _kr_rrn,
    "au-tfn": _au_tfn,
    "au-abn": _au_abn,
    "sg-nric": _sg_nric,
    "tr-identity": _tr_identity,
    "ru-inn": _ru_inn,
    "ru-snils": _ru_snils,
}


# --- personal numbers -------------------------------------------------------------------


def is_number(kind: str, secret: bytes) -> bool:
    """Say whether a text, with whatever is written between its groups, could be a number of a kind.

    Args:
        kind: one of NUMBERS.
        secret: the text.
    """
    return could_be(kind, _plain(secret))


def is_telling(secret: bytes) -> bool:
    """Say whether a text could be a number of one of the kinds that are known by their form."""
    text = _plain(secret)
    return any(form.fullmatch(text) and could_be(kind, text) for form, kind in _TELLING)


def is_published_number(secret: bytes) -> bool:
    """Say whether documentation prints a number."""
    return _plain(secret) in published.NUMBERS


def _plain(secret: bytes) -> str:
    """A number without what is written between its groups."""
    return re.sub(rb"[ ./\s-]", b"", secret[:200]).upper().decode("utf-8", "replace")


def could_be(kind: str, text: str) -> bool:
    """Say whether a number could be one of a kind.

    Args:
        kind: one of NUMBERS.
        text: its letters and digits alone.
    """
    if len(set(text)) < 3:
        return False
    try:
        return NUMBERS[kind](text)
    except (ValueError, IndexError, KeyError):
        return False  # not of its shape


def _card(text: str) -> bool:
    """ISO 7812: the issuer's range and length, and Luhn."""
    return (
        text.isdigit()
        and any(
            len(text) in lengths and low <= int(text[: len(str(low))]) <= high
            for low, high, lengths in _ISSUERS
        )
        and has_luhn_digit(text)
    )


_ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (13, 16, 19)),
    (51, 55, (16,)),
    (2221, 2720, (16,)),
    (34, 34, (15,)),
    (37, 37, (15,)),
    (6011, 6011, (16, 19)),
    (644, 659, (16, 19)),
    (3528, 3589, (16, 17, 18, 19)),
    (300, 305, (14, 16)),
    (36, 36, (14, 16)),
    (38, 39, (14, 16)),
    (62, 62, (16, 17, 18, 19)),
    (50, 50, (12, 13, 14, 15, 16, 17, 18, 19)),
    (56, 69, (12, 13, 14, 15, 16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)),
    (81, 82, (16,)),
)


def _passport_mrz(text: str) -> bool:
    """The second line of a machine-readable passport: number, birth, expiry, and their checks."""
    line = text[-44:]
    return len(text) >= 44 and all(
        line[end : end + 1].isdigit() and icao_digit(line[start:end]) == int(line[end])
        for start, end in ((0, 9), (13, 19), (21, 27))
    )


_VIN = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", digits("12345678123457923456789"), strict=True))


def _vin(text: str) -> bool:
    total = sum(
        (_VIN[c] if c in _VIN else int(c)) * weight
        for c, weight in zip(
            text, (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2), strict=True
        )
    )
    return "0123456789X"[total % 11] == text[8]


# Of which a number says by its own form what it is, without a name beside it.
_TELLING = (
    (lazy_regex("[A-Z]{6}[0-9A-Z]{9}[A-Z]"), "it-codice-fiscale"),
    (lazy_regex("[A-Z]{4}[0-9]{6}[A-Z]{6}[0-9A-Z]{2}"), "mx-curp"),
    (lazy_regex("[0-9]{17}[0-9X]"), "cn-resident"),
    (lazy_regex("[0-9]{13}"), "kr-rrn"),
    (lazy_regex("[0-9]{9}"), "us-ssn"),
    (lazy_regex("[0-9]{11}"), "br-cpf"),
    (lazy_regex("[0-9+]{10,13}"), "se-personnummer"),
)


NUMBERS: Mapping[str, IsValid] = {
    "card": _card,
    "iban": bool,  # a rule for these requires `iban`, of detect.checks.checksums
    "imei": has_luhn_digit,
    "passport-mrz": _passport_mrz,
    "vin": _vin,
    **NATIONAL_IDS,
}
