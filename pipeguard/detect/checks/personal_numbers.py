"""Numbers of people, their cards and their property: checks for each kind of number.

Each test says whether a number is well-formed, and none whether anybody has it. Sources: ISO 7812
(cards), ICAO 9303 (passports), ISO 3779 (vehicles), 3GPP 23.003 (IMEI). Numbers that documentation
prints are in detect.words.published. Check digits: weighted sums, Luhn, ISO 7064, Verhoeff.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

from pipeguard.detect.checks.checksums import luhn_digit
from pipeguard.detect.words import published
from pipeguard.firewall.lazy_regex import lazy_regex

# --- check digits -----------------------------------------------------------------------
# Arithmetic over texts of digits; ValueError if a letter is in one.

_DIHEDRAL_STEP = 1, 5, 7, 6, 2, 8, 3, 0, 9, 4
_ICAO_WEIGHTS = 7, 3, 1


def digits(text: str) -> list[int]:
    """The digits of a text, as numbers."""
    return [int(digit) for digit in text]


def weighted_sum(text: str, weights: Sequence[int]) -> int:
    """The sum of each digit times its weight, up to the end of the shorter list."""
    return sum(digit * weight for digit, weight in zip(digits(text), weights, strict=False))


def has_luhn_digit(text: str) -> bool:
    """True if the last digit completes the others (ISO/IEC 7812-1, annex B)."""
    return text.isdigit() and luhn_digit(text[:-1].encode()) == text[-1:].encode()


def has_mod_11_10_digit(text: str) -> bool:
    """True if the last digit completes the others (ISO 7064, MOD 11,10)."""
    product = 10
    for digit in digits(text[:-1]):
        total = (digit + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10 == int(text[-1])


def has_verhoeff_digit(text: str) -> bool:
    """True if the last digit completes the others (Verhoeff, 1969)."""
    check = 0
    for place, digit in enumerate(reversed(digits(text))):
        for _ in range(place % 8):
            digit = _DIHEDRAL_STEP[digit]  # noqa: PLW2901  the permutation, place times
        # The product in the group of a pentagon's symmetries.
        side = (check - digit) % 5 if check >= 5 else (check + digit) % 5
        check = side + 5 * ((check >= 5) != (digit >= 5))
    return check == 0


def icao_digit(text: str) -> int:
    """The digit that completes a field of a machine-readable passport (ICAO 9303, part 3, 4.9)."""
    values = (0 if letter == "<" else int(letter, 36) for letter in text)
    return sum(value * _ICAO_WEIGHTS[place % 3] for place, value in enumerate(values)) % 10


# --- national ids -----------------------------------------------------------------------
# Numbers that states give to people, recognised by their check digits and dates.

IsValid = Callable[[str], bool]
_DAYS = "(?:0[1-9]|[12]\\d|3[01])"
_DATES = {
    "YMMDD": rf"\d(?:[02468][1-9]|[13579][0-2]){_DAYS}",
    "MMDD": rf"(?:0[1-9]|1[0-2]){_DAYS}",
    "DDMM": rf"{_DAYS}(?:0[1-9]|1[0-2])",
}
_NAMED_CHECKS: dict[str, IsValid] = {
    "": bool,
    "luhn": has_luhn_digit,
    "verhoeff": has_verhoeff_digit,
}


# Kinds of numbers, each with its rows, `FORM;WEIGHTS;MODULUS;CHECK`. FORM is how a number begins;
# what is in its brackets, if it has some, is the number. WEIGHTS are of the characters before the
# last one, or of all where CHECK is `=REST`. Otherwise CHECK has the last character for each rest,
# `-` where there is none. A row may also name another check, or have none. Of a kind with several
# rows each has to hold whose form fits. MMDD, YMMDD, DDMM stand for a month and a day; YMMDD has
# 20, 40 ... more for other centuries.
_TABLE = r"""us-ssn (?!000|666|9)\d{3}(?!00)\d\d(?!0000)
us-itin 9\d\d(?:5\d|6[0-5]|7\d|8[0-8]|9[0-2]|9[4-9])
us-routing (?!0{9})(?:0\d|1[0-2]|2[1-9]|3[0-2]|6[1-9]|7[0-2]|80);3,7,1,3,7,1,3,7,1;10;=0
us-dea ;1,2,1,2,1,2;10;0123456789
uk-nino (?!BG|GB|KN|NK|NT|TN|ZZ)[^DFIQUV][^DFIOQUV]
uk-nhs ;10,9,8,7,6,5,4,3,2;11;0-987654321
ca-sin ;luhn
il-id ;luhn
za-id \d\dMMDD\d{4}[012];luhn
se-personnummer (?:\d\d)?(\d\d(?:0[1-9]|1[0-2])(?:[06][1-9]|[1278]\d|[39][01])\d{4})\Z;luhn
gr-amka DDMM;luhn
es-dni \d{8};10000000,1000000,100000,10000,1000,100,10,1;23;TRWAGMYFPDXBNJZSQVHLCKE
nl-bsn ;9,8,7,6,5,4,3,2,-1;11;=0
pt-nif [1235689];9,8,7,6,5,4,3,2;11;00987654321
pl-pesel \dYMMDD;1,3,7,9,1,3,7,9,1,3;10;0987654321
ro-cnp \d{3}MMDD;2,7,9,1,4,6,3,5,8,2,7,9;11;01234567891
bg-egn \dYMMDD;2,4,8,5,10,9,7,3,6;11;01234567890
ch-ahv ;1,3,1,3,1,3,1,3,1,3,1,3;10;0987654321
dk-cpr DDMM
br-cpf
    (?!0{11}|1{11}|2{11}|3{11}|4{11}|5{11}|6{11}|7{11}|8{11}|9{11})(\d{10})\d;10,9,8,7,6,5,4,3,2;11;00987654321
    (?!0{11}|1{11}|2{11}|3{11}|4{11}|5{11}|6{11}|7{11}|8{11}|9{11})\d{11};11,10,9,8,7,6,5,4,3,2;11;00987654321
br-cnpj
    (?!0{14})(\d{13})\d;5,4,3,2,9,8,7,6,5,4,3,2;11;00987654321
    (?!0{14})\d{14};6,5,4,3,2,9,8,7,6,5,4,3,2;11;00987654321
ar-cuit (?:20|2[3-7]|30|33|34);5,4,3,2,7,6,5,4,3,2;11;0-987654321
cl-rut ;3,2,7,6,5,4,3,2;11;0K987654321
in-aadhaar [2-9];verhoeff
in-pan ...[ABCFGHLJPT]
cn-resident \d{6}(?:18|19|20)\d\dMMDD;7,9,10,5,8,4,2,1,6,3,7,9,10,5,8,4,2;11;10X98765432
jp-my-number ;6,5,4,3,2,7,6,5,4,3,2;11;00987654321
kr-rrn \d\dMMDD[1-8]
au-tfn ;1,4,3,7,5,8,6,9,10;11;=0
au-abn [1-9];10,1,3,5,7,9,11,13,15,17,19;89;=10
tr-identity
    ([1-9]\d{9})\d;7,-1,7,-1,7,-1,7,-1,7;10;0123456789
    [1-9]\d{10};1,1,1,1,1,1,1,1,1,1;10;0123456789
ru-inn
    \d{10}\Z;2,4,10,3,5,9,4,6,8;11;01234567890
    (\d{11})\d;7,2,4,10,3,5,9,4,6,8;11;01234567890
    \d{12};3,7,2,4,10,3,5,9,4,6,8;11;01234567890
sg-nric
    S(.{8});2,7,6,5,4,3,2;11;JZIHGFEDCBA
    T(.{8});2,7,6,5,4,3,2;11;GFEDCBAJZIH
    F(.{8});2,7,6,5,4,3,2;11;XWUTRQPNMLK
    G(.{8});2,7,6,5,4,3,2;11;RQPNMLKXWUT
    M(.{8});2,7,6,5,4,3,2;11;TRQPNJLKXWU"""
_ROWS = {kind: rows for kind, *rows in map(str.split, re.split(r"\n(?=\S)", _TABLE))}


def _read_row(line: str) -> tuple[re.Pattern[str], IsValid]:
    """The beginning of a text, and the check of its number."""
    form, *check = line.split(";")
    for name, pattern in _DATES.items():
        form = form.replace(name, pattern)
    if len(check) < 2:
        return re.compile(form), _NAMED_CHECKS["".join(check)]
    weights, modulus, ends = check
    row = [int(weight) for weight in weights.split(",")]
    return re.compile(form), partial(_has_check, row, int(modulus), ends)


def _has_check(weights: Sequence[int], modulus: int, ends: str, text: str) -> bool:
    """True if the weighted sum has the required remainder, or matches the last character."""
    if ends.startswith("="):
        return weighted_sum(text, weights) % modulus == int(ends[1:])
    total = weighted_sum(text[-2 : -2 - len(weights) : -1], weights[::-1])
    return ends[total % modulus] == text[-1]


@cache
def _rows(kind: str) -> list[tuple[re.Pattern[str], IsValid]]:
    return [*map(_read_row, _ROWS[kind])]


def _fits(kind: str, text: str) -> bool:
    """True if some row of a kind fits a text, and the check of each fitting row holds."""
    fitting = [(check, match) for form, check in _rows(kind) if (match := form.match(text))]
    return bool(fitting) and all(
        check(match[1] if match.re.groups else text) for check, match in fitting
    )


def _fr_nir(text: str) -> bool:
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and text[0] in "12345678" and 97 - int(number) % 97 == int(text[13:])


def _de_tax_id(text: str) -> bool:
    counts = sorted(map(text[:10].count, set(text[:10])))
    if text[0] == "0" or counts[-1] not in (2, 3) or counts[-2:-1] == [counts[-1]]:
        return False
    return has_mod_11_10_digit(text)


_ODD = b"BAFHJNPRTVCESULDGIMOQKWZYX"  # the value of a letter at an odd place, as a letter


def _it_codice_fiscale(text: str) -> bool:
    values = [int(c) if c.isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(c) for c in text[:15]]
    odd = sum(_ODD[value] - 65 for value in values[::2])
    return chr(65 + (odd + sum(values[1::2])) % 26) == text[15]


def _cz_birth(text: str) -> bool:
    month = int(text[2:4]) % 50
    day = int(text[4:6])
    if not (1 <= (month - 20 if month > 20 else month) <= 12 and 1 <= day <= 31):
        return False
    return len(text) == 9 or int(text) % 11 == 0 or (int(text[:9]) % 11 == 10 and text[9] == "0")


def _fi_hetu(text: str) -> bool:
    """`DDMMYY`, a sign for the century, three digits and a check."""
    check = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:6] + text[-4:-1]) % 31]
    return re.match(_DATES["DDMM"], text) is not None and check == text[-1]


def _ie_pps(text: str) -> bool:
    second = ord(text[8]) - 64 if len(text) > 8 and text[8] != "W" else 0
    total = weighted_sum(text[:7], range(8, 1, -1)) + 9 * second
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == text[7]


def _mx_curp(text: str) -> bool:
    letters = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    total = sum(letters.index(c) * (18 - place) for place, c in enumerate(text[:17]))
    return str(-total % 10) == text[17] and re.match(rf"\d\d{_DATES['MMDD']}", text[4:]) is not None


NATIONAL_IDS: Mapping[str, IsValid] = {
    **{kind: partial(_fits, kind) for kind in _ROWS},
    "us-npi": lambda text: text[0] in "12" and has_luhn_digit("80840" + text),
    "fr-nir": _fr_nir,
    "de-tax-id": _de_tax_id,
    "es-nie": lambda text: _fits("es-dni", str("XYZ".index(text[0])) + text[1:]),
    "it-codice-fiscale": _it_codice_fiscale,
    "be-national": lambda t: any(97 - int(c + t[:9]) % 97 == int(t[9:]) for c in ("", "2")),
    "cz-birth": _cz_birth,
    "fi-hetu": _fi_hetu,
    "ie-pps": _ie_pps,
    "mx-curp": _mx_curp,
    "ru-snils": lambda t: weighted_sum(t[:9], range(9, 0, -1)) % 101 % 100 == int(t[9:]),
}


# --- personal numbers -------------------------------------------------------------------


def is_number(kind: str, secret: bytes) -> bool:
    """True if a text, with any separators between its groups, could be a number of a kind.

    Args:
        kind: one of NUMBERS.
        secret: the text.
    """
    return could_be(kind, _plain(secret))


def is_telling(secret: bytes) -> bool:
    """True if a text could be a number of a kind that its form alone identifies."""
    text = _plain(secret)
    return any(form.fullmatch(text) and could_be(kind, text) for kind, form in _TELLING.items())


def is_published_number(secret: bytes) -> bool:
    """True if a number is printed in documentation."""
    return _plain(secret) in published.NUMBERS


def _plain(secret: bytes) -> str:
    """A number without the separators of its groups."""
    return re.sub(rb"[ ./\s-]", b"", secret[:200]).upper().decode("utf-8", "replace")


def could_be(kind: str, text: str) -> bool:
    """True if a number could be of a kind.

    Args:
        kind: one of NUMBERS.
        text: only its letters and digits.
    """
    if len(set(text)) < 3:
        return False
    try:
        return NUMBERS[kind](text)
    except (ValueError, IndexError, KeyError):
        return False  # not of its shape


def _card(text: str) -> bool:
    """ISO 7812: the issuer's range and length, and Luhn."""
    return has_luhn_digit(text) and any(
        str(len(text)) in lengths.split(",") and low <= text[: len(low)] <= high
        for low, high, lengths in _ISSUERS
    )


# The first and the last beginning of the numbers of an issuer, and their lengths.
_ISSUERS = [re.split("[-=]", line) for line in published.in_order("CARD_ISSUERS")]


def _passport_mrz(text: str) -> bool:
    """The second line of a machine-readable passport: number, birth, expiry, and their checks."""
    line = text[-44:]
    return len(text) >= 44 and all(
        line[end : end + 1].isdigit() and icao_digit(line[start:end]) == int(line[end])
        for start, end in ((0, 9), (13, 19), (21, 27))
    )


_VIN = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", digits("12345678123457923456789"), strict=True))


def _vin(text: str) -> bool:
    values = [_VIN[c] if c in _VIN else int(c) for c in text]
    weights = *range(8, 1, -1), 10, 0, *range(9, 1, -1)
    total = sum(value * weight for value, weight in zip(values, weights, strict=True))
    return "0123456789X"[total % 11] == text[8]


# Kinds of numbers whose form says what they are, without a name beside them.
_TELLING = {
    "it-codice-fiscale": lazy_regex("[A-Z]{6}[0-9A-Z]{9}[A-Z]"),
    "mx-curp": lazy_regex("[A-Z]{4}[0-9]{6}[A-Z]{6}[0-9A-Z]{2}"),
    "cn-resident": lazy_regex("[0-9]{17}[0-9X]"),
    "kr-rrn": lazy_regex("[0-9]{13}"),
    "us-ssn": lazy_regex("[0-9]{9}"),
    "br-cpf": lazy_regex("[0-9]{11}"),
    "se-personnummer": lazy_regex("[0-9+]{10,13}"),
}

NUMBERS: Mapping[str, IsValid] = {
    "card": _card,
    "iban": bool,  # a rule for these requires `iban`, of detect.checks.checksums
    "imei": has_luhn_digit,
    "passport-mrz": _passport_mrz,
    "vin": _vin,
    **NATIONAL_IDS,
}
