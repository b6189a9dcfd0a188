"""Generators of numbers with check digits: of cards, accounts, passports, cars and people."""

from collections.abc import Mapping
from random import Random

from benchmarks.detection import european_ids, overseas_ids
from benchmarks.detection.letters import (
    Generator,
    ddmmyy,
    joined,
    luhn_digit,
    random_digits,
    random_text,
    weighted_sum,
    yymmdd,
)

VIN_VALUES = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True)
)
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def luhn(_: Random, text: str) -> str:
    """A number with its check digit."""
    return text + luhn_digit(text)


def card(dice: Random, argument: str) -> str:
    """The number of a payment card, in groups as it is embossed."""
    prefix, length = argument.split(",")
    body = prefix + random_text(dice, "d", int(length) - 1 - len(prefix))
    number = body + luhn_digit(body)
    if length == "15":
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def iban(_: Random, argument: str) -> str:
    """The IBAN of an account, in groups of four (ISO 13616)."""
    country, account = argument.split(",")
    turned = "".join(str(int(letter, 36)) for letter in f"{account}{country}00")
    text = f"{country}{98 - int(turned) % 97:02d}{account}"
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def us_aba(dice: Random, _: str) -> str:
    """The routing number of a bank in the United States."""
    body = [0, dice.randint(1, 9), *random_digits(dice, 6)]
    return joined([*body, -weighted_sum(body, (3, 7, 1, 3, 7, 1, 3, 7)) % 10])


def mrz(dice: Random, _: str) -> str:
    """The machine-readable zone of a passport (ICAO Doc 9303, part 4)."""
    surname, given = dice.choices("BDEGKLMNRST", k=8), dice.choices("AEILMNORS", k=6)
    names = f"P<UTO{''.join(surname)}<<{''.join(given)}"
    number, born, ends = (
        random_text(dice, "UA", 9),
        yymmdd(dice, ""),
        f"3{random_text(dice, 'd', 1)}0914",
    )
    personal = "<" * 14
    parts = [f"{part}{icao(part)}" for part in (number, born, ends, personal)]
    whole = icao(parts[0] + parts[1] + parts[2] + parts[3])
    line = f"{parts[0]}UTO{parts[1]}{dice.choice('MF')}{parts[2]}{parts[3]}{whole}"
    return f"{names.ljust(44, '<')}\n{line}"


def icao(text: str) -> int:
    """The check digit of a field of a passport."""
    values = [0 if sign == "<" else int(sign, 36) for sign in text]
    return sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10


def vin(dice: Random, _: str) -> str:
    """The number of a car, whose ninth character is the check."""
    letters = [*VIN_VALUES, *"0123456789"]
    body = dice.choices(letters, k=17)
    body[9:] = [dice.choice("ABCDEFGHJKLMNPRSTVWXY"), *dice.choices("0123456789", k=7)]
    values = [VIN_VALUES[sign] if sign in VIN_VALUES else int(sign) for sign in body]
    body[8] = "0123456789X"[weighted_sum(values, VIN_WEIGHTS) % 11]
    return "".join(body)


GENERATORS: Mapping[str, Generator] = {
    "luhn": luhn,
    "card": card,
    "iban": iban,
    "ymd": yymmdd,
    "dmy": ddmmyy,
    "us-aba": us_aba,
    "mrz": mrz,
    "vin": vin,
    **european_ids.GENERATORS,
    **overseas_ids.GENERATORS,
}
