"""Generators of the numbers that states and banks give, to people and to accounts: they check."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from string import ascii_uppercase

from benchmarks.detection.letters import chosen

Generator = Callable[[Random, str], str]
SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"
FINNISH = "0123456789ABCDEFHJKLMNPRSTUVWXY"
IRISH = "WABCDEFGHIJKLMNOPQRSTUV"
CHINESE = "10X98765432"
SINGAPORE = "JZIHGFEDCBA"
MEXICAN = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
ODD_ITALIAN = dict(
    zip(
        "0123456789" + ascii_uppercase,
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21] * 2
        + [2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23],
        strict=True,
    )
)
VERHOEFF_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
VIN_VALUES = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", [*range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True)
)
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def digits(dice: Random, length: int) -> list[int]:
    """So many digits; the first is not zero."""
    return [dice.randint(1, 9), *(dice.randint(0, 9) for _ in range(length - 1))]


def weighed(values: Sequence[int], weights: Sequence[int]) -> int:
    """The sum of values times weights."""
    return sum(value * weight for value, weight in zip(values, weights, strict=True))


def shown(values: Sequence[int]) -> str:
    """Digits side by side."""
    return "".join(map(str, values))


def redrawn(draw: Callable[[], str | None]) -> str:
    """The first draw for which there is a check digit."""
    while True:
        made = draw()
        if made is not None:
            return made


def luhn_digit(text: str) -> str:
    """What makes the sum of Luhn a multiple of ten (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, one in enumerate(reversed(text)):
        value = int(one) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def luhn(_: Random, text: str) -> str:
    """A number with its check digit."""
    return text + luhn_digit(text)


def card(dice: Random, argument: str) -> str:
    """A payment card's, in groups as it is embossed."""
    prefix, length = argument.split(",")
    body = prefix + chosen(dice, "d", int(length) - 1 - len(prefix))
    number = body + luhn_digit(body)
    if length == "15":
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


def iban(_: Random, argument: str) -> str:
    """An account's, in groups of four (ISO 13616)."""
    country, account = argument.split(",")
    turned = "".join(str(int(one, 36)) for one in f"{account}{country}00")
    text = f"{country}{98 - int(turned) % 97:02d}{account}"
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def day(dice: Random) -> tuple[int, int, int]:
    """Year, month and day of somebody's birth."""
    return dice.randint(1950, 1999), dice.randint(1, 12), dice.randint(1, 28)


def ymd(dice: Random, _: str) -> str:
    """A day of birth as YYMMDD."""
    year, month, date = day(dice)
    return f"{year % 100:02d}{month:02d}{date:02d}"


def dmy(dice: Random, _: str) -> str:
    """A day of birth as DDMMYY."""
    year, month, date = day(dice)
    return f"{date:02d}{month:02d}{year % 100:02d}"


def us_ssn(dice: Random, _: str) -> str:
    """Area, group and serial, none of them void."""
    area = dice.choice([*range(130, 660), *range(667, 730)])
    return f"{area:03d}-{dice.randint(10, 99)}-{dice.randint(1000, 9998)}"


def us_aba(dice: Random, _: str) -> str:
    """A bank's routing number."""
    body = [0, dice.randint(1, 9), *digits(dice, 6)]
    return shown([*body, -weighed(body, (3, 7, 1, 3, 7, 1, 3, 7)) % 10])


def us_npi(dice: Random, _: str) -> str:
    """A health care provider's."""
    body = "1" + chosen(dice, "d", 8)
    return body + luhn_digit("80840" + body)


def us_dea(dice: Random, _: str) -> str:
    """A prescriber's."""
    body = digits(dice, 6)
    check = (sum(body[::2]) + 2 * sum(body[1::2])) % 10
    return f"{dice.choice('ABFM')}{chosen(dice, 'AZ', 1)}{shown(body)}{check}"


def uk_nino(dice: Random, _: str) -> str:
    """A National Insurance number."""
    void = ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")

    def draw() -> str | None:
        letters = dice.choice("ABCEGHJKLMNPRSTWXYZ") + dice.choice("ABCEGHJKLMNPRSTWXYZ")
        number = chosen(dice, "d", 6)
        suffix = dice.choice("ABCD")
        if letters in void:
            return None
        return f"{letters} {number[:2]} {number[2:4]} {number[4:]} {suffix}"

    return redrawn(draw)


def uk_nhs(dice: Random, _: str) -> str:
    """A patient's."""

    def draw() -> str | None:
        body = digits(dice, 9)
        check = -weighed(body, range(10, 1, -1)) % 11
        text = shown(body)
        return None if check == 10 else f"{text[:3]} {text[3:6]} {text[6:]}{check}"

    return redrawn(draw)


def ca_sin(dice: Random, _: str) -> str:
    """A Social Insurance number."""
    text = luhn(dice, shown([dice.randint(1, 7), *digits(dice, 7)]))
    return f"{text[:3]} {text[3:6]} {text[6:]}"


def se_id(dice: Random, _: str) -> str:
    """A Swedish personal number."""
    body = ymd(dice, "") + chosen(dice, "d", 3)
    return f"{body[:6]}-{body[6:]}{luhn_digit(body)}"


def fr_nir(dice: Random, _: str) -> str:
    """A French social security number."""
    year, month, _date = day(dice)
    department, commune = dice.randint(1, 19), dice.randint(1, 400)
    body = f"{dice.randint(1, 2)}{year % 100:02d}{month:02d}{department:02d}{commune:03d}"
    body += f"{dice.randint(1, 999):03d}"
    return f"{body}{97 - int(body) % 97:02d}"


def de_tax(dice: Random, _: str) -> str:
    """A German tax number: one digit stands twice among the first ten."""
    first = dice.randint(1, 9)
    others = dice.sample([digit for digit in range(10) if digit != first], 8)
    body = [first, *others]
    body.append(body[dice.randint(0, 4)])
    product = 10
    for digit in body:
        total = (digit + product) % 10 or 10
        product = 2 * total % 11
    return shown([*body, (11 - product) % 10])


def es_dni(dice: Random, _: str) -> str:
    """A Spanish identity card's."""
    number = dice.randint(10_000_000, 99_999_999)
    return f"{number}{SPANISH[number % 23]}"


def es_nie(dice: Random, _: str) -> str:
    """A foreigner's in Spain."""
    first, number = dice.randint(0, 2), dice.randint(1_000_000, 9_999_999)
    return f"{'XYZ'[first]}{number}{SPANISH[(first * 10**7 + number) % 23]}"


def it_cf(dice: Random, _: str) -> str:
    """An Italian tax code."""
    consonants = "".join(dice.choices("BCDFGLMNPRSTVZ", k=6))
    year, _month, date = day(dice)
    body = f"{consonants}{year % 100:02d}{dice.choice('ABCDEHLMPRST')}{date:02d}"
    body += f"{dice.choice('ABCDEFGHILM')}{dice.randint(100, 999)}"
    total = sum(
        ODD_ITALIAN[one] if place % 2 == 0 else (int(one) if one.isdigit() else ord(one) - 65)
        for place, one in enumerate(body)
    )
    return body + ascii_uppercase[total % 26]


def nl_bsn(dice: Random, _: str) -> str:
    """A Dutch citizen's number."""

    def draw() -> str | None:
        body = digits(dice, 8)
        check = weighed(body, range(9, 1, -1)) % 11
        return None if check == 10 else shown([*body, check])

    return redrawn(draw)


def pt_nif(dice: Random, _: str) -> str:
    """A Portuguese tax number."""
    body = [dice.randint(1, 2), *digits(dice, 7)]
    check = 11 - weighed(body, range(9, 1, -1)) % 11
    return shown([*body, 0 if check >= 10 else check])


def pl_pesel(dice: Random, _: str) -> str:
    """A Polish personal number."""
    body = [int(one) for one in ymd(dice, "") + chosen(dice, "d", 4)]
    return shown([*body, -weighed(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10])


def ro_cnp(dice: Random, _: str) -> str:
    """A Romanian personal number."""
    text = f"{dice.randint(1, 2)}{ymd(dice, '')}{dice.randint(1, 40):02d}{dice.randint(1, 999):03d}"
    body = [int(one) for one in text]
    check = weighed(body, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return shown([*body, 1 if check == 10 else check])


def bg_egn(dice: Random, _: str) -> str:
    """A Bulgarian personal number."""
    body = [int(one) for one in ymd(dice, "") + chosen(dice, "d", 3)]
    return shown([*body, weighed(body, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10])


def be_nn(dice: Random, _: str) -> str:
    """A Belgian national number."""
    body = f"{ymd(dice, '')}{dice.randint(1, 997):03d}"
    text = f"{body}{97 - int(body) % 97:02d}"
    return f"{text[:2]}.{text[2:4]}.{text[4:6]}-{text[6:9]}.{text[9:]}"


def cz_rc(dice: Random, _: str) -> str:
    """A Czech birth number."""

    def draw() -> str | None:
        body = ymd(dice, "") + chosen(dice, "d", 3)
        check = int(body) % 11
        return None if check == 10 or int(body[:2]) < 54 else f"{body[:6]}/{body[6:]}{check}"

    return redrawn(draw)


def fi_hetu(dice: Random, _: str) -> str:
    """A Finnish personal code."""
    born, serial = dmy(dice, ""), f"{dice.randint(2, 899):03d}"
    return f"{born}-{serial}{FINNISH[int(born + serial) % 31]}"


def ch_ahv(dice: Random, _: str) -> str:
    """A Swiss insurance number."""
    body = [7, 5, 6, *digits(dice, 9)]
    check = -weighed(body, (1, 3) * 6) % 10
    text = shown(body)
    return f"{text[:3]}.{text[3:7]}.{text[7:11]}.{text[11:]}{check}"


def ie_pps(dice: Random, _: str) -> str:
    """An Irish public service number."""
    body = digits(dice, 7)
    second = dice.choice("AB")
    total = weighed(body, range(8, 1, -1)) + 9 * (ord(second) - 64)
    return f"{shown(body)}{IRISH[total % 23]}{second}"


def br_cpf(dice: Random, _: str) -> str:
    """A Brazilian person's tax number."""
    body = digits(dice, 9)
    for first in (10, 11):
        body.append(weighed(body, range(first, 1, -1)) * 10 % 11 % 10)
    text = shown(body)
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def br_cnpj(dice: Random, _: str) -> str:
    """A Brazilian company's tax number."""
    body = [*digits(dice, 8), 0, 0, 0, 1]
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    for length in (12, 13):
        rest = weighed(body, weights[-length:]) % 11
        body.append(0 if rest < 2 else 11 - rest)
    text = shown(body)
    return f"{text[:2]}.{text[2:5]}.{text[5:8]}/{text[8:12]}-{text[12:]}"


def ar_cuit(dice: Random, _: str) -> str:
    """An Argentine tax number."""

    def draw() -> str | None:
        body = [2, dice.choice((0, 7)), *digits(dice, 8)]
        check = -weighed(body, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
        return None if check == 10 else f"{shown(body[:2])}-{shown(body[2:])}-{check}"

    return redrawn(draw)


def cl_rut(dice: Random, _: str) -> str:
    """A Chilean tax number."""
    body = digits(dice, 8)
    check = -weighed(body[::-1], (2, 3, 4, 5, 6, 7, 2, 3)) % 11
    text = shown(body)
    return f"{text[:2]}.{text[2:5]}.{text[5:]}-{'0123456789K'[check]}"


def mx_curp(dice: Random, _: str) -> str:
    """A Mexican population code."""
    letters = (
        f"{dice.choice('BCDFGLMN')}{dice.choice('AEIOU')}{''.join(dice.choices('BCDFGLMN', k=2))}"
    )
    body = (
        f"{letters}{ymd(dice, '')}{dice.choice('HM')}{dice.choice(('DF', 'JC', 'NL', 'OC', 'PL'))}"
    )
    body += "".join(dice.choices("BCDFGLMN", k=3)) + "0"
    total = sum(
        MEXICAN.index(one) * weight for one, weight in zip(body, range(18, 1, -1), strict=True)
    )
    return f"{body}{-total % 10}"


def in_aadhaar(dice: Random, _: str) -> str:
    """An Indian resident's, with the check digit of Verhoeff."""
    body = [dice.randint(2, 9), *(dice.randint(0, 9) for _ in range(10))]
    check = next(digit for digit in range(10) if verhoeff([*body, digit]) == 0)
    text = shown([*body, check])
    return f"{text[:4]} {text[4:8]} {text[8:]}"


def verhoeff(values: Sequence[int]) -> int:
    """Zero where the last digit is right: permutations in the dihedral group of the pentagon."""
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
    """A Chinese resident's."""
    year, month, date = day(dice)
    area = dice.choice(("110105", "310104", "440106", "510107"))
    body = f"{area}{year}{month:02d}{date:02d}{dice.randint(1, 998):03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + CHINESE[weighed([int(one) for one in body], weights) % 11]


def jp_mn(dice: Random, _: str) -> str:
    """A Japanese individual number."""
    body = digits(dice, 11)
    rest = weighed(body[::-1], (2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6)) % 11
    return shown([*body, 0 if rest <= 1 else 11 - rest])


def kr_rrn(dice: Random, _: str) -> str:
    """A Korean resident's."""
    body = ymd(dice, "") + f"{dice.randint(1, 2)}{chosen(dice, 'd', 5)}"
    total = weighed([int(one) for one in body], (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5))
    return f"{body[:6]}-{body[6:]}{(11 - total % 11) % 10}"


def au_tfn(dice: Random, _: str) -> str:
    """An Australian tax file number."""

    def draw() -> str | None:
        body = digits(dice, 8)
        for check in range(10):
            if weighed([*body, check], (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0:
                text = shown([*body, check])
                return f"{text[:3]} {text[3:6]} {text[6:]}"
        return None

    return redrawn(draw)


def au_abn(dice: Random, _: str) -> str:
    """An Australian business number: two digits in front make it right."""
    body = digits(dice, 9)
    rest = weighed(body, (3, 5, 7, 9, 11, 13, 15, 17, 19))
    for front in range(10, 100):
        if (10 * (front // 10 - 1) + front % 10 + rest) % 89 == 0:
            text = shown(body)
            return f"{front} {text[:3]} {text[3:6]} {text[6:]}"
    raise AssertionError("89 numbers in a row hold a multiple of 89")


def sg_nric(dice: Random, _: str) -> str:
    """A Singaporean identity card's."""
    first, body = dice.choice("ST"), digits(dice, 7)
    total = weighed(body, (2, 7, 6, 5, 4, 3, 2)) + (4 if first == "T" else 0)
    return f"{first}{shown(body)}{SINGAPORE[total % 11]}"


def tr_id(dice: Random, _: str) -> str:
    """A Turkish identity number."""
    body = digits(dice, 9)
    body.append((7 * sum(body[::2]) - sum(body[1::2])) % 10)
    return shown([*body, sum(body) % 10])


def ru_inn(dice: Random, _: str) -> str:
    """A Russian person's tax number."""
    body = digits(dice, 10)
    body.append(weighed(body, (7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10)
    body.append(weighed(body, (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10)
    return shown(body)


def ru_snils(dice: Random, _: str) -> str:
    """A Russian insurance number."""
    body = digits(dice, 9)
    check = weighed(body, range(9, 0, -1)) % 101 % 100
    text = shown(body)
    return f"{text[:3]}-{text[3:6]}-{text[6:]} {check:02d}"


def mrz(dice: Random, _: str) -> str:
    """The two lines of a passport that machines read (ICAO Doc 9303, part 4)."""
    surname, given = dice.choices("BDEGKLMNRST", k=8), dice.choices("AEILMNORS", k=6)
    names = f"P<UTO{''.join(surname)}<<{''.join(given)}"
    number, born, ends = chosen(dice, "UA", 9), ymd(dice, ""), f"3{chosen(dice, 'd', 1)}0914"
    personal = "<" * 14
    parts = [f"{part}{icao(part)}" for part in (number, born, ends, personal)]
    whole = icao(parts[0] + parts[1] + parts[2] + parts[3])
    line = f"{parts[0]}UTO{parts[1]}{dice.choice('MF')}{parts[2]}{parts[3]}{whole}"
    return f"{names.ljust(44, '<')}\n{line}"


def icao(text: str) -> int:
    """The check digit of a passport's fields."""
    values = [0 if one == "<" else int(one, 36) for one in text]
    return sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10


def vin(dice: Random, _: str) -> str:
    """A car's; the ninth character is the check."""
    letters = [*VIN_VALUES, *"0123456789"]
    body = dice.choices(letters, k=17)
    body[9:] = [dice.choice("ABCDEFGHJKLMNPRSTVWXY"), *dice.choices("0123456789", k=7)]
    values = [VIN_VALUES[one] if one in VIN_VALUES else int(one) for one in body]
    body[8] = "0123456789X"[weighed(values, VIN_WEIGHTS) % 11]
    return "".join(body)


GENERATORS: Mapping[str, Generator] = {
    "luhn": luhn,
    "card": card,
    "iban": iban,
    "ymd": ymd,
    "dmy": dmy,
    "us-ssn": us_ssn,
    "us-aba": us_aba,
    "us-npi": us_npi,
    "us-dea": us_dea,
    "uk-nino": uk_nino,
    "uk-nhs": uk_nhs,
    "ca-sin": ca_sin,
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
    "tr-id": tr_id,
    "ru-inn": ru_inn,
    "ru-snils": ru_snils,
    "mrz": mrz,
    "vin": vin,
}
