"""Alphabets, encodings and checksums that several generators share; nothing of any one format."""

import base64
from hashlib import sha256
from random import Random
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

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


def chosen(dice: Random, alphabet: str, length: int) -> str:
    """So many characters of an alphabet; long ones begin and end with a letter or a digit."""
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
    """A number in the base of an alphabet, filled up with its zero."""
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
