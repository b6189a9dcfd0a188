"""Parts that generators share: alphabets, encodings, check digits and dates."""

import base64
from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

Generator = Callable[[Random, str], str]  # of a random source and the argument of a recipe

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE62 = digits + ascii_uppercase + ascii_lowercase
ALPHABETS = {
    "d": digits,
    "hex": digits + "abcdef",
    "HEX": digits + "ABCDEF",
    "az": ascii_lowercase,
    "AZ": ascii_uppercase,
    "la": ascii_lowercase + digits,
    "UA": ascii_uppercase + digits,
    "letters": ascii_letters,
    "b32": ascii_uppercase + "234567",
    "b58": BASE58,
    "b62": BASE62,
    "b64": BASE62 + "+/",
    "b64u": BASE62 + "-_",
    "bcrypt": BASE62 + "./",
    "django": ascii_lowercase + digits + "!@#$%^&*(-_=+)",
}
_EDGES = "+/-_.=!@#$%^&*()"  # a value that begins or ends with one is often cut there


def random_text(dice: Random, alphabet: str, length: int) -> str:
    """Random characters of an alphabet; a long text begins and ends with a letter or a digit."""
    letters = ALPHABETS[alphabet]
    made = dice.choices(letters, k=length)
    if length > 8:
        inner = [letter for letter in letters if letter not in _EDGES]
        made[0], made[-1] = dice.choice(inner), dice.choice(inner)
    return "".join(made)


def base64_of(content: bytes) -> str:
    """Standard base64, padded."""
    return base64.b64encode(content).decode()


def base64url_of(content: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def in_base(number: int, letters: str, width: int) -> str:
    """A number in the base of an alphabet, filled to a width with its zero."""
    written = ""
    while number:
        number, digit = divmod(number, len(letters))
        written = letters[digit] + written
    return written.rjust(width, letters[0])


def base58_of(content: bytes) -> str:
    """Base58, a `1` for each leading zero byte."""
    zeros = len(content) - len(content.lstrip(b"\0"))
    return BASE58[0] * zeros + in_base(int.from_bytes(content, "big"), BASE58, 0)


def base58check_of(content: bytes) -> str:
    """Base58 with the first four bytes of SHA-256 taken twice (Bitcoin, Base58Check)."""
    return base58_of(content + sha256(sha256(content).digest()).digest()[:4])


def random_digits(dice: Random, length: int) -> list[int]:
    """Random digits; the first is not zero."""
    return [dice.randint(1, 9), *(dice.randint(0, 9) for _ in range(length - 1))]


def weighted_sum(values: Sequence[int], weights: Sequence[int]) -> int:
    """The sum of values times weights."""
    return sum(value * weight for value, weight in zip(values, weights, strict=True))


def joined(values: Sequence[int]) -> str:
    """Digits as text."""
    return "".join(map(str, values))


def drawn_until_valid(draw: Callable[[], str | None]) -> str:
    """Draw until there is a check digit for the number."""
    while True:
        made = draw()
        if made is not None:
            return made


def luhn_digit(text: str) -> str:
    """The check digit of Luhn (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(text)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def birthday(dice: Random) -> tuple[int, int, int]:
    """Year, month and day of somebody's birth."""
    return dice.randint(1950, 1999), dice.randint(1, 12), dice.randint(1, 28)


def yymmdd(dice: Random, _: str) -> str:
    """A day of birth as YYMMDD."""
    year, month, date = birthday(dice)
    return f"{year % 100:02d}{month:02d}{date:02d}"


def ddmmyy(dice: Random, _: str) -> str:
    """A day of birth as DDMMYY."""
    year, month, date = birthday(dice)
    return f"{date:02d}{month:02d}{year % 100:02d}"
