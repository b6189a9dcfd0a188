"""Generators of the numbers that European states give to people, with their check digits."""

from collections.abc import Mapping
from random import Random
from string import ascii_uppercase

from benchmarks.detection.letters import (
    Generator,
    birthday,
    ddmmyy,
    drawn_until_valid,
    joined,
    luhn_digit,
    random_digits,
    random_text,
    weighted_sum,
    yymmdd,
)

SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"
FINNISH = "0123456789ABCDEFHJKLMNPRSTUVWXY"
IRISH = "WABCDEFGHIJKLMNOPQRSTUV"
ODD_ITALIAN = dict(
    zip(
        "0123456789" + ascii_uppercase,
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21] * 2
        + [2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
        strict=True,
    )
)


def uk_nino(dice: Random, _: str) -> str:
    """A National Insurance number."""
    void = ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")

    def draw() -> str | None:
        letters = dice.choice("ABCEGHJKLMNPRSTWXYZ") + dice.choice("ABCEGHJKLMNPRSTWXYZ")
        number = random_text(dice, "d", 6)
        suffix = dice.choice("ABCD")
        if letters in void:
            return None
        return f"{letters} {number[:2]} {number[2:4]} {number[4:]} {suffix}"

    return drawn_until_valid(draw)


def uk_nhs(dice: Random, _: str) -> str:
    """The NHS number of a patient."""

    def draw() -> str | None:
        body = random_digits(dice, 9)
        check = -weighted_sum(body, range(10, 1, -1)) % 11
        text = joined(body)
        return None if check == 10 else f"{text[:3]} {text[3:6]} {text[6:]}{check}"

    return drawn_until_valid(draw)


def se_id(dice: Random, _: str) -> str:
    """A Swedish personal number."""
    body = yymmdd(dice, "") + random_text(dice, "d", 3)
    return f"{body[:6]}-{body[6:]}{luhn_digit(body)}"


def fr_nir(dice: Random, _: str) -> str:
    """A French social security number."""
    year, month, _date = birthday(dice)
    department, commune = dice.randint(1, 19), dice.randint(1, 400)
    body = f"{dice.randint(1, 2)}{year % 100:02d}{month:02d}{department:02d}{commune:03d}"
    body += f"{dice.randint(1, 999):03d}"
    return f"{body}{97 - int(body) % 97:02d}"


def de_tax(dice: Random, _: str) -> str:
    """A German tax number: one digit is there twice among the first ten."""
    first = dice.randint(1, 9)
    others = dice.sample([digit for digit in range(10) if digit != first], 8)
    body = [first, *others]
    body.append(body[dice.randint(0, 4)])
    product = 10
    for digit in body:
        total = (digit + product) % 10 or 10
        product = 2 * total % 11
    return joined([*body, (11 - product) % 10])


def es_dni(dice: Random, _: str) -> str:
    """The number of a Spanish identity card."""
    number = dice.randint(10_000_000, 99_999_999)
    return f"{number}{SPANISH[number % 23]}"


def es_nie(dice: Random, _: str) -> str:
    """The number of a foreigner in Spain."""
    first, number = dice.randint(0, 2), dice.randint(1_000_000, 9_999_999)
    return f"{'XYZ'[first]}{number}{SPANISH[(first * 10**7 + number) % 23]}"


def it_cf(dice: Random, _: str) -> str:
    """An Italian tax code."""
    consonants = "".join(dice.choices("BCDFGLMNPRSTVZ", k=6))
    year, _month, date = birthday(dice)
    body = f"{consonants}{year % 100:02d}{dice.choice('ABCDEHLMPRST')}{date:02d}"
    body += f"{dice.choice('ABCDEFGHILM')}{dice.randint(100, 999)}"
    total = sum(
        ODD_ITALIAN[sign] if place % 2 == 0 else (int(sign) if sign.isdigit() else ord(sign) - 65)
        for place, sign in enumerate(body)
    )
    return body + ascii_uppercase[total % 26]


def nl_bsn(dice: Random, _: str) -> str:
    """A Dutch citizen's number."""

    def draw() -> str | None:
        body = random_digits(dice, 8)
        check = weighted_sum(body, range(9, 1, -1)) % 11
        return None if check == 10 else joined([*body, check])

    return drawn_until_valid(draw)


def pt_nif(dice: Random, _: str) -> str:
    """A Portuguese tax number."""
    body = [dice.randint(1, 2), *random_digits(dice, 7)]
    check = 11 - weighted_sum(body, range(9, 1, -1)) % 11
    return joined([*body, 0 if check >= 10 else check])


def pl_pesel(dice: Random, _: str) -> str:
    """A Polish personal number."""
    body = [int(digit) for digit in yymmdd(dice, "") + random_text(dice, "d", 4)]
    return joined([*body, -weighted_sum(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10])


def ro_cnp(dice: Random, _: str) -> str:
    """A Romanian personal number."""
    text = (
        f"{dice.randint(1, 2)}{yymmdd(dice, '')}{dice.randint(1, 40):02d}{dice.randint(1, 999):03d}"
    )
    body = [int(digit) for digit in text]
    check = weighted_sum(body, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return joined([*body, 1 if check == 10 else check])


def bg_egn(dice: Random, _: str) -> str:
    """A Bulgarian personal number."""
    body = [int(digit) for digit in yymmdd(dice, "") + random_text(dice, "d", 3)]
    return joined([*body, weighted_sum(body, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10])


def be_nn(dice: Random, _: str) -> str:
    """A Belgian national number."""
    body = f"{yymmdd(dice, '')}{dice.randint(1, 997):03d}"
    text = f"{body}{97 - int(body) % 97:02d}"
    return f"{text[:2]}.{text[2:4]}.{text[4:6]}-{text[6:9]}.{text[9:]}"


def cz_rc(dice: Random, _: str) -> str:
    """A Czech birth number."""

    def draw() -> str | None:
        body = yymmdd(dice, "") + random_text(dice, "d", 3)
        check = int(body) % 11
        return None if check == 10 or int(body[:2]) < 54 else f"{body[:6]}/{body[6:]}{check}"

    return drawn_until_valid(draw)


def fi_hetu(dice: Random, _: str) -> str:
    """A Finnish personal code."""
    born, serial = ddmmyy(dice, ""), f"{dice.randint(2, 899):03d}"
    return f"{born}-{serial}{FINNISH[int(born + serial) % 31]}"


def ch_ahv(dice: Random, _: str) -> str:
    """A Swiss insurance number."""
    body = [7, 5, 6, *random_digits(dice, 9)]
    check = -weighted_sum(body, (1, 3) * 6) % 10
    text = joined(body)
    return f"{text[:3]}.{text[3:7]}.{text[7:11]}.{text[11:]}{check}"


def ie_pps(dice: Random, _: str) -> str:
    """An Irish public service number."""
    body = random_digits(dice, 7)
    second = dice.choice("AB")
    total = weighted_sum(body, range(8, 1, -1)) + 9 * (ord(second) - 64)
    return f"{joined(body)}{IRISH[total % 23]}{second}"


def tr_id(dice: Random, _: str) -> str:
    """A Turkish identity number."""
    body = random_digits(dice, 9)
    body.append((7 * sum(body[::2]) - sum(body[1::2])) % 10)
    return joined([*body, sum(body) % 10])


def ru_inn(dice: Random, _: str) -> str:
    """A Russian person's tax number."""
    body = random_digits(dice, 10)
    body.append(weighted_sum(body, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10)
    body.append(weighted_sum(body, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10)
    return joined(body)


def ru_snils(dice: Random, _: str) -> str:
    """A Russian insurance number."""
    body = random_digits(dice, 9)
    check = weighted_sum(body, range(9, 0, -1)) % 101 % 100
    text = joined(body)
    return f"{text[:3]}-{text[3:6]}-{text[6:]} {check:02d}"


GENERATORS: Mapping[str, Generator] = {
    "uk-nino": uk_nino,
    "uk-nhs": uk_nhs,
    "se-id": se_id,
    "fr-nir": fr_nir,
    "de-tax": de_tax,
    "es-dni": es_dni,
    "es-nie": es_nie,
    "it-cf": it_cf,
    "nl-bsn": nl_bsn,
    "pt-nif": pt_nif,
    "pl-pesel": pl_pesel,
    "ro-cnp": ro_cnp,
    "bg-egn": bg_egn,
    "be-nn": be_nn,
    "cz-rc": cz_rc,
    "fi-hetu": fi_hetu,
    "ch-ahv": ch_ahv,
    "ie-pps": ie_pps,
    "tr-id": tr_id,
    "ru-inn": ru_inn,
    "ru-snils": ru_snils,
}
