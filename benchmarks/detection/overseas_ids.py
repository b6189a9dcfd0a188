"""Generators of the numbers that states outside Europe give to people, with their check digits."""

from collections.abc import Mapping, Sequence
from random import Random

from benchmarks.detection.letters import (
    Generator,
    birthday,
    drawn_until_valid,
    joined,
    luhn_digit,
    random_digits,
    random_text,
    weighted_sum,
    yymmdd,
)

CHINESE = "10X98765432"
SINGAPORE = "JZIHGFEDCBA"
MEXICAN = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
VERHOEFF_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def us_ssn(dice: Random, _: str) -> str:
    """Area, group and serial, all of them valid."""
    area = dice.choice([*range(130, 660), *range(667, 730)])
    return f"{area:03d}-{dice.randint(10, 99)}-{dice.randint(1000, 9998)}"


def us_npi(dice: Random, _: str) -> str:
    """The NPI of a health care provider."""
    body = "1" + random_text(dice, "d", 8)
    return body + luhn_digit("80840" + body)


def us_dea(dice: Random, _: str) -> str:
    """The DEA number of a prescriber."""
    body = random_digits(dice, 6)
    check = (sum(body[::2]) + 2 * sum(body[1::2])) % 10
    return f"{dice.choice('ABFM')}{random_text(dice, 'AZ', 1)}{joined(body)}{check}"


def ca_sin(dice: Random, _: str) -> str:
    """A Social Insurance number."""
    text = joined([dice.randint(1, 7), *random_digits(dice, 7)])
    text += luhn_digit(text)
    return f"{text[:3]} {text[3:6]} {text[6:]}"


def br_cpf(dice: Random, _: str) -> str:
    """A Brazilian person's tax number."""
    body = random_digits(dice, 9)
    for first in (10, 11):
        body.append(weighted_sum(body, range(first, 1, -1)) * 10 % 11 % 10)
    text = joined(body)
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def br_cnpj(dice: Random, _: str) -> str:
    """A Brazilian company's tax number."""
    body = [*random_digits(dice, 8), 0, 0, 0, 1]
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    for length in (12, 13):
        rest = weighted_sum(body, weights[-length:]) % 11
        body.append(0 if rest < 2 else 11 - rest)
    text = joined(body)
    return f"{text[:2]}.{text[2:5]}.{text[5:8]}/{text[8:12]}-{text[12:]}"


def ar_cuit(dice: Random, _: str) -> str:
    """An Argentine tax number."""

    def draw() -> str | None:
        body = [2, dice.choice((0, 7)), *random_digits(dice, 8)]
        check = -weighted_sum(body, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
        return None if check == 10 else f"{joined(body[:2])}-{joined(body[2:])}-{check}"

    return drawn_until_valid(draw)


def cl_rut(dice: Random, _: str) -> str:
    """A Chilean tax number."""
    body = random_digits(dice, 8)
    check = -weighted_sum(body[::-1], (2, 3, 4, 5, 6, 7, 2, 3)) % 11
    text = joined(body)
    return f"{text[:2]}.{text[2:5]}.{text[5:]}-{'0123456789K'[check]}"


def mx_curp(dice: Random, _: str) -> str:
    """A Mexican population code."""
    letters = (
        f"{dice.choice('BCDFGLMN')}{dice.choice('AEIOU')}{''.join(dice.choices('BCDFGLMN', k=2))}"
    )
    body = f"{letters}{yymmdd(dice, '')}{dice.choice('HM')}"
    body += dice.choice(("DF", "JC", "NL", "OC", "PL"))
    body += "".join(dice.choices("BCDFGLMN", k=3)) + "0"
    total = sum(
        MEXICAN.index(sign) * weight for sign, weight in zip(body, range(18, 1, -1), strict=True)
    )
    return f"{body}{-total % 10}"


def in_aadhaar(dice: Random, _: str) -> str:
    """An Aadhaar number, with the check digit of Verhoeff."""
    body = [dice.randint(2, 9), *(dice.randint(0, 9) for _ in range(10))]
    check = next(digit for digit in range(10) if verhoeff([*body, digit]) == 0)
    text = joined([*body, check])
    return f"{text[:4]} {text[4:8]} {text[8:]}"


def verhoeff(values: Sequence[int]) -> int:
    """Zero if the last digit is right: permutations in the dihedral group of the pentagon."""
    check = 0
    for place, digit in enumerate(reversed(values)):
        for _ in range(place % 8):
            digit = VERHOEFF_STEP[digit]  # noqa: PLW2901  it is turned on
        check = dihedral(check, digit)
    return check


def dihedral(a: int, b: int) -> int:
    """The product of two symmetries of the pentagon; from five on they are reflections."""
    if a < 5:
        return (a + b) % 5 + (5 if b >= 5 else 0)
    return (a - b) % 5 + (0 if b >= 5 else 5)


def cn_id(dice: Random, _: str) -> str:
    """The number of a Chinese resident."""
    year, month, date = birthday(dice)
    area = dice.choice(("110105", "310104", "440106", "510107"))
    body = f"{area}{year}{month:02d}{date:02d}{dice.randint(1, 998):03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + CHINESE[weighted_sum([int(digit) for digit in body], weights) % 11]


def jp_mn(dice: Random, _: str) -> str:
    """A Japanese individual number."""
    body = random_digits(dice, 11)
    rest = weighted_sum(body[::-1], (2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6)) % 11
    return joined([*body, 0 if rest <= 1 else 11 - rest])


def kr_rrn(dice: Random, _: str) -> str:
    """The number of a Korean resident."""
    body = yymmdd(dice, "") + f"{dice.randint(1, 2)}{random_text(dice, 'd', 5)}"
    total = weighted_sum([int(digit) for digit in body], (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5))
    return f"{body[:6]}-{body[6:]}{(11 - total % 11) % 10}"


def au_tfn(dice: Random, _: str) -> str:
    """An Australian tax file number."""

    def draw() -> str | None:
        body = random_digits(dice, 8)
        for check in range(10):
            if weighted_sum([*body, check], (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0:
                text = joined([*body, check])
                return f"{text[:3]} {text[3:6]} {text[6:]}"
        return None

    return drawn_until_valid(draw)


def au_abn(dice: Random, _: str) -> str:
    """An Australian business number: it begins with its two check digits."""
    body = random_digits(dice, 9)
    rest = weighted_sum(body, (3, 5, 7, 9, 11, 13, 15, 17, 19))
    for front in range(10, 100):
        if (10 * (front // 10 - 1) + front % 10 + rest) % 89 == 0:
            text = joined(body)
            return f"{front} {text[:3]} {text[3:6]} {text[6:]}"
    raise AssertionError("a multiple of 89 is among 89 numbers in a row")


def sg_nric(dice: Random, _: str) -> str:
    """The number of a Singaporean identity card."""
    first, body = dice.choice("ST"), random_digits(dice, 7)
    total = weighted_sum(body, (2, 7, 6, 5, 4, 3, 2)) + (4 if first == "T" else 0)
    return f"{first}{joined(body)}{SINGAPORE[total % 11]}"


GENERATORS: Mapping[str, Generator] = {
    "us-ssn": us_ssn,
    "us-npi": us_npi,
    "us-dea": us_dea,
    "ca-sin": ca_sin,
    "br-cpf": br_cpf,
    "br-cnpj": br_cnpj,
    "ar-cuit": ar_cuit,
    "cl-rut": cl_rut,
    "mx-curp": mx_curp,
    "in-aadhaar": in_aadhaar,
    "cn-id": cn_id,
    "jp-mn": jp_mn,
    "kr-rrn": kr_rrn,
    "au-tfn": au_tfn,
    "au-abn": au_abn,
    "sg-nric": sg_nric,
}
