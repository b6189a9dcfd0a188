"""Samples of secrets from a recipe and a seed, so that no live-looking token is ever committed.

Knows how vendors build their tokens; knows no rule and no scanner. The same recipe and seed give
the same text on every machine.

A sample is a plain string, or `{gen: recipe}`. In a recipe braces are generators, and a literal
brace is doubled:

    {b62:36}            36 characters of a set: hex HEX d UA la b62 b64 b64u b32 base58
    {A-Z2-7:16}         of a class of ranges; {[AQgw]:1} lists each character
    {uuid}              a random UUID
    {bytes:64}          base64 of 64 random bytes; {bytes-url:16} base64url without padding
    {start}             the token begins here: the text before is not part of its checksum
    {github-crc}        the checksum of the text before: also atlassian-crc, cloudflare-crc,
                        grafana-crc, gitlab-crc, luhn
    {jwt role=admin}    a signed token with these claims
    {base58check 80 32 01}   version, number of random bytes, suffix
    {bech32 nsec 32}    prefix, number of random bytes
    {stellar}           a seed
    {seed-phrase 16}    a wallet's words for as many random bytes; {seed-phrase 16 numbered}
    {number us-ssn}     a number of that kind that is valid, whether or not it is assigned
    {iban DE}           an account of that country
    {base64 a:{b62:9}}  base64 of the inner recipe's text; also base64url, upper
    {}                  nothing: splits a word that must not be in a file as a whole
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from math import log2
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pipeguard.detect.checks import personal_numbers, placeholders, tokens
from pipeguard.detect.checks.checksums import (
    BASE36,
    BASE58,
    BECH32,
    IBAN_LENGTHS,
    atlassian_crc,
    base58check,
    bech32_checksum,
    cloudflare_crc,
    github_crc,
    gitlab_crc,
    grafana_crc,
    luhn_digit,
)
from pipeguard.errors import RuleError
from pipeguard.unicode.display import suggestion

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Sample

SEEDS = range(3)  # for a sample that is a recipe: each gives another text
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
_DIGITS = "0123456789"
_BASE62 = _DIGITS + _UPPER + _LOWER
_CHARSETS = {
    "hex": _DIGITS + "abcdef",
    "HEX": _DIGITS + "ABCDEF",
    "d": _DIGITS,
    "UA": _DIGITS + _UPPER,
    "la": _DIGITS + _LOWER,
    "b62": _BASE62,
    "b64": _BASE62 + "+/",
    "b64u": _BASE62 + "-_",
    "b32": _UPPER + "234567",
    "base58": BASE58.decode(),
}
_RANGES = re.compile(r"(\w-\w)+[\w-]*")
_PART = re.compile(
    r"(?P<text>[^{}]+)|(?P<pair>\{\{|\}\})"
    r"|\{(?P<encoding>base64url|base64|upper) |\{(?P<spec>[^{}]*)\}|\}"
)
_DOUBLED = "A literal brace is doubled: {{"
_TRIES = 200  # until a run has every kind of character, and no words


def texts(sample: Sample) -> list[str]:
    """The texts of a sample: one, or one for each seed of a recipe."""
    if isinstance(sample, str):
        return [sample]
    return [expand(sample, seed) for seed in SEEDS]


def expand(sample: str | Mapping[str, str], seed: int) -> str:
    """The text of a sample.

    Raises:
        RuleError: the recipe has an unknown generator, or a brace without its partner.
    """
    if isinstance(sample, str):
        return sample
    if set(sample) != {"gen"}:
        raise RuleError(f"a sample is a string or {{gen: recipe}}, not {dict(sample)!r}")
    return _Draft(sample["gen"], Random(seed)).expand()[0]  # noqa: S311  for samples, not secrets


class _Draft:
    """A recipe, read once from left to right."""

    def __init__(self, recipe: str, random: Random) -> None:
        self._recipe, self._random = recipe, random

    def expand(self, at: int = 0, *, is_inner: bool = False) -> tuple[str, int]:
        """The text up to the end, or to the brace that closes an inner recipe; and that position.

        Raises:
            RuleError: as of `expand`.
        """
        text, start = "", 0
        while at < len(self._recipe):
            part = _PART.match(self._recipe, at)
            if not part:
                break
            if part[0] == "}" and not is_inner:
                where = f"in {self._recipe!r} at {at}"
                raise RuleError(f"a brace closes that never opened, {where}. {_DOUBLED}")
            at = part.end()
            if part[0] == "}":
                return text, at
            if part["encoding"]:
                inner, at = self.expand(at, is_inner=True)
                text += _ENCODINGS[part["encoding"]](inner)
            elif part["spec"] == "start":
                start = len(text)
            elif part["spec"]:
                text += self._make(part["spec"], text[start:])
            else:  # `{}` is nothing
                text += part["text"] or (part["pair"] or "")[:1]
        if at < len(self._recipe) or is_inner:
            raise RuleError(f"a brace never closes in {self._recipe!r}. {_DOUBLED}")
        return text, at

    def _make(self, spec: str, before: str) -> str:
        if spec in CHECKSUMS:
            return CHECKSUMS[spec](before.encode()).decode()
        name, _, argument = spec.partition(" ")
        if name in _TOKENS:
            try:
                return _TOKENS[name](self._random, argument)
            except (ValueError, LookupError):
                why = f"{{{spec}}} lacks what {name} needs, in {self._recipe!r}"
                raise RuleError(why) from None
        charset, _, count = spec.rpartition(":")
        if not charset or not count.isdigit():
            near = suggestion(name, (*_TOKENS, *CHECKSUMS, *_ENCODINGS, "start"))
            raise RuleError(f"no generator is called {spec!r}, in {self._recipe!r}.{near}")
        if charset == "bytes":
            return _base64(self._random.randbytes(int(count)))
        if charset == "bytes-url":
            return _base64url(self._random.randbytes(int(count)))
        return _run(self._random, _charset(charset, self._recipe), int(count))


def _charset(name: str, recipe: str) -> str:
    if name in _CHARSETS:
        return _CHARSETS[name]
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    elif not _RANGES.fullmatch(name):
        near = suggestion(name, _CHARSETS)
        raise RuleError(f"no set of characters is called {name!r}, in {recipe!r}.{near}")
    letters = re.sub(
        r"(\w)-(\w)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), name
    )
    if not letters:
        raise RuleError(f"a set of characters is empty, in {recipe!r}")
    return letters


def _run(random: Random, charset: str, count: int) -> str:
    """Make characters that pass the checks of entropy, character classes and placeholders."""
    kinds = [k for k in (_UPPER, _LOWER, _DIGITS) if count >= 12 and set(k) & set(charset)]
    dense = 0.8 * log2(max(1, min(count, len(set(charset)))))
    for _ in range(_TRIES):
        run = "".join(random.choices(charset, k=count))
        text = run.encode()
        if count < 8 or len(set(charset)) < 4:
            return run
        is_random = placeholders.entropy(text) >= dense and not placeholders.is_placeholder(text)
        if is_random and all(set(kind) & set(run) for kind in kinds):
            return run
    raise RuleError(f"{count} characters of {charset!r} always look like a placeholder")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _uuid(random: Random, _: str) -> str:
    """A random UUID (RFC 9562, 5.4)."""
    text = _run(random, _CHARSETS["hex"], 32)
    variant = random.choice("89ab")
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def _jwt(random: Random, argument: str) -> str:
    """A signed token (RFC 7519) with `name=value` claims, separated by spaces."""
    claims: dict[str, object] = {
        "iss": "https://id.acme.test",
        "sub": _run(random, "0123456789", 9),
    }
    claims |= {name: value for name, _, value in (pair.partition("=") for pair in argument.split())}
    claims["iat"] = random.randrange(1_700_000_000, 1_800_000_000)
    header = {"alg": claims.pop("alg", "HS256"), "typ": "JWT"}
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in (header, claims)]
    return ".".join(map(_base64url, [*parts, random.randbytes(32)]))


def _base58check(random: Random, argument: str) -> str:
    version, size, *suffix = argument.split()
    payload = bytes.fromhex(version) + random.randbytes(int(size)) + bytes.fromhex("".join(suffix))
    return base58check(payload).decode()


def _bech32(random: Random, argument: str) -> str:
    prefix, size = argument.split()
    bits = int(size) * 8
    number = random.getrandbits(bits) << -bits % 5
    groups = -(-bits // 5)
    body = bytes(BECH32[number >> 5 * place & 31] for place in reversed(range(groups)))
    return f"{prefix}1{(body + bech32_checksum(prefix.encode(), body)).decode()}"


def _stellar(random: Random, _: str) -> str:
    raw = b"\x90" + random.randbytes(32)
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode()


@cache
def _read_number_shapes() -> dict[str, str]:
    import yaml  # here, because few samples are numbers

    shapes: dict[str, str] = yaml.safe_load(
        Path(__file__).with_name("number_shapes.yaml").read_bytes()
    )
    return shapes


_NUMBER_TRIES = 200_000


def _number(random: Random, kind: str) -> str:
    shapes = _read_number_shapes()
    if kind not in shapes:
        near = suggestion(kind, shapes)
        raise RuleError(f"no kind of number is called {kind!r}.{near}")
    for _ in range(_NUMBER_TRIES):
        letters = (
            random.choice(_DIGITS if shape == "#" else _UPPER) if shape in "#@" else shape
            for shape in shapes[kind]
        )
        text = "".join(letters)
        is_valid = personal_numbers.could_be(kind, text.replace("-", ""))
        if is_valid and not personal_numbers.is_published_number(text.encode()):
            return text
    raise RuleError(f"no valid {kind} in {_NUMBER_TRIES} tries")


def _iban(random: Random, country: str) -> str:
    """An account number with its check digits (ISO 13616)."""
    size = IBAN_LENGTHS[country] - 4
    account = "".join(random.choices(_DIGITS, k=size))
    number = int("".join(str(int(letter, 36)) for letter in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02d}{account}"


def _gitlab(before: bytes) -> bytes:
    """The length of the payload and the checksum of a token that ends in `.01.`."""
    payload = before.partition(b"-")[2][: -len(b".01.")]
    length = bytes(BASE36[part] for part in divmod(len(payload), 36))
    return length + gitlab_crc(before + length)


_ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "base64": lambda text: _base64(text.encode()),
    "base64url": lambda text: _base64url(text.encode()),
    "upper": str.upper,
}
CHECKSUMS: Mapping[str, Callable[[bytes], bytes]] = {
    "atlassian-crc": atlassian_crc,
    "cloudflare-crc": lambda before: cloudflare_crc(before[-40:]),
    "github-crc": lambda before: github_crc(before[-30:]),
    "gitlab-crc": _gitlab,
    "grafana-crc": lambda before: grafana_crc(before.removesuffix(b"_")),
    "luhn": luhn_digit,
}


_CASES = {"title": str.title, "upper": str.upper}
_SEPARATORS = {"comma": ", ", "hyphen": "-", "line": "\n"}


def _seed_phrase(random: Random, argument: str) -> str:
    size, _, written = argument.partition(" ")
    words = tokens.seed_phrase(random.randbytes(int(size)))
    if written == "numbered":
        words = [f"{number}. {word}" for number, word in enumerate(words, 1)]
    elif written == "json":
        return json.dumps(words)
    elif written in _CASES:
        words = [_CASES[written](word) for word in words]
    return _SEPARATORS.get(written, " ").join(words)


_TOKENS = {
    "base58check": _base58check,
    "bech32": _bech32,
    "iban": _iban,
    "jwt": _jwt,
    "number": _number,
    "seed-phrase": _seed_phrase,
    "stellar": _stellar,
    "uuid": _uuid,
}
