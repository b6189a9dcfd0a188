"""Surrogates: texts of the same length and kind as a secret, which say nothing about it.

A secret is a row of units, most of them a character, each with the texts that may be drawn for it.
Public parts stay: marks of the issuer, which the rule's expression demands, names in JSON, and how
keys begin. The checks of the rule have the same outcomes for a surrogate, checksums too.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from random import Random
from unicodedata import category

from pipeguard.detect.checks.registry import run
from pipeguard.detect.matching.confirm import BRACKETS, EXPRESSIONS, NAMED_GROUP
from pipeguard.detect.rules.rule import Rule
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.records import NamedTuple
from pipeguard.rulebook.samples import CHECKSUMS

BLOB = lazy_regex(  # is drawn as a whole
    "(?=[A-Za-z+/_-]{0,64}[0-9])(?=[a-z0-9+/_-]{0,64}[A-Z])[A-Za-z0-9+/_-]{256,}"
)
MOST_DRAWN = 30_000  # characters for a surrogate
_CHOICES = 16  # of a unit that is encoded
_MARK = 4  # characters of which one is a mark of the issuer
_START = 256  # units at the start of a secret that may be marks
_PARTS = lazy_regex(
    r"""(?sx)(?P<public>-----[A-Z0-9 ]{1,60}-----|\w{2,20}://|\\u[0-9A-Fa-f]{4}|\\.
      |"(?:alg|enc|typ|role|exp|iat|nbf)"\s*:\s*"?[\w-]+
      |"[\w./:-]{1,64}"\s*:(?:\s*(?:true|false|null)\b)?
      # PKCS#8 of RSA, P-256 and Ed25519; OpenSSH; any other in DER; a macaroon of PyPI.
      |MII[A-P][A-Za-z0-9+/]{1,2}IBADANBgkqhkiG9w0BAQEFAASC(?:[A-P][A-Za-z]{2}wgg[A-Za-z0-9+/]{2}AgEAAoIB)?
      |MI[GH][A-Za-z0-9+/]AgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG[0-9]|MC4CAQAwBQYDK2VwBCIE
      |b3BlbnNzaC1rZXktdjEA|MII[A-P]|AgEIcHlwaS5vcmcC[A-Z])
    |(?P<base64>eyJ[\w-]{9,}|[A-Za-z0-9+/]{12,})|."""
)
_GROUPING = lazy_regex(rf"\\.|{BRACKETS.decode()}|[()]")
_TAILS = {  # the length of a checksum at the end
    "atlassian-crc": 8,
    "cloudflare-crc": 8,
    "github-crc": 6,
    "gitlab-routable-crc": 9,
    "grafana-crc": 8,
}


class _Unit(NamedTuple):
    """A part of a secret, and the texts of the same length that may be drawn for it."""

    text: str
    others: Sequence[str]


def draw_by_class(secret: str, random: Random, decided: Mapping[int, str]) -> str:
    """Draw a text of the same classes of characters.

    Args:
        secret: to replace.
        random: seeded with a secret key and the secret.
        decided: characters by their places.
    """
    if BLOB.fullmatch(secret):
        return b64encode(random.randbytes(len(secret))).decode()[: len(secret)]
    is_hex = re.fullmatch("[0-9a-f]{16,}", secret) is not None
    units = [_Unit(each, "0123456789abcdef" if is_hex else _list_class(each)) for each in secret]
    return next(_draw(units, random, decided), _overlay(secret, decided))


def draw_alike(
    secret: str, rules: Sequence[Rule], random: Random, decided: Mapping[int, str]
) -> str:
    """Draw a text that these rules take for a secret, too; or else one by class.

    Args:
        secret: that they find.
        rules: the rules.
        random: as for `draw_by_class`.
        decided: as there.
    """
    if not rules:
        return draw_by_class(secret, random, decided)
    forms = [_find_form(rule, secret) for rule in rules]
    checks = {check for rule in rules for check in rule.require + rule.check}
    outcomes = _run_checks(checks, secret)
    tails = [check for check, holds in outcomes.items() if holds and check in _TAILS]
    units = [*_split(secret, random)]
    for fits in forms:
        _narrow(units, fits)
    for made in _draw(units, random, decided):
        text = made
        for check in tails:
            text = text[: -_TAILS[check]]
            text += CHECKSUMS[check.replace("routable-", "")](text.encode()).decode()
        text = _overlay(text, decided)
        is_like = len(text) == len(secret) and all(fits(text) for fits in forms)
        if is_like and _run_checks(checks, text) == outcomes:
            return text
    return draw_by_class(secret, random, decided)


# -- rules ---------------------------------------------------------------------------------------


def _find_form(rule: Rule, secret: str) -> Callable[[str], bool]:
    """A test for all of a secret by the rule's expression, or by its named group."""
    for pattern in (_cut_secret(rule.pattern), NAMED_GROUP.sub("(?:", rule.pattern)):
        fits = partial(_fits, (rf"\A(?:{pattern})\Z", rule.ignore_case))
        if fits(secret):
            return fits
    return bool


def _fits(expression: tuple[str, bool], text: str) -> bool:
    return EXPRESSIONS[expression][0](text.encode("utf-8", "replace"), 0) is not None


@cache
def _cut_secret(pattern: str) -> str:
    """The part of an expression that is the secret: its named group, or the whole."""
    group = NAMED_GROUP.search(pattern)
    depth = 1
    for token in _GROUPING.finditer(pattern, group.end()) if group else ():
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if group and not depth:
            return pattern[group.end() : token.start()]
    return pattern


def _run_checks(checks: Iterable[str], text: str) -> dict[str, bool | None]:
    """The outcomes of checks of a secret, but for those of the text around it."""
    return {
        check.removeprefix("only-raise "): run(check, text.encode("utf-8", "replace"))
        for check in sorted(checks)
        if not check.startswith(("around-", "name-"))
    }


# -- units ---------------------------------------------------------------------------------------


def _split(text: str, random: Random) -> Iterator[_Unit]:
    """The units of a text: what is public, what is encoded, and characters."""
    for part in _PARTS.finditer(text):
        if part["public"]:
            yield _Unit(part[0], [part[0]])
        elif part["base64"] and (others := _draw_encoded(part[0], random)):
            yield _Unit(part[0], others)
        else:
            yield from (_Unit(letter, _list_class(letter)) for letter in part[0])


def _draw_encoded(text: str, random: Random) -> list[str]:
    """Texts in base64 of other texts of the same kind; none if it encodes no text."""
    extra = b"-_" if {*"-_"} & {*text} else b"+/"
    try:
        plain = b64decode(text + "=" * (-len(text) % 4), extra).decode()
    except ValueError:
        return []
    if not all(letter.isprintable() or letter.isspace() for letter in plain):
        return []
    units = [*_split(plain, random)]
    drawn = ["".join(random.choice(unit.others) for unit in units) for _ in range(_CHOICES)]
    return [b64encode(other.encode(), extra).decode().rstrip("=") for other in drawn]


@lru_cache(1024)
def _list_class(letter: str) -> str:
    """Letters or digits of the same kind, near in Unicode and so as long in UTF-8."""
    if not letter.isalnum():
        return letter
    size = 64 if letter < "\u3000" else 1024  # of scripts with few letters, and many
    first = ord(letter) // size * size
    near = map(chr, range(first, first + size))
    return "".join(other for other in near if category(other) == category(letter))


def _narrow(units: list[_Unit], fits: Callable[[str], bool]) -> None:
    """Keep to what a form allows at the start of a secret, and to the marks of its issuer."""
    texts = [unit.text for unit in units]
    for at, unit in enumerate(units[:_START]):
        before, after = "".join(texts[:at]), "".join(texts[at + 1 :])
        allowed = [each for each in unit.others if fits(f"{before}{each}{after}")]
        units[at] = unit._replace(others=allowed if len(allowed) > _MARK else [unit.text])


# -- draws ---------------------------------------------------------------------------------------


def _draw(units: Sequence[_Unit], random: Random, decided: Mapping[int, str]) -> Iterator[str]:
    """Draw other texts, as long as there may be any."""
    secret = "".join(unit.text for unit in units)
    for _ in range(1 + MOST_DRAWN // len(secret)):
        made = _overlay("".join(random.choice(unit.others) for unit in units), decided)
        if made != secret:
            yield made


def _overlay(text: str, decided: Mapping[int, str]) -> str:
    return "".join(decided.get(at, letter) for at, letter in enumerate(text)) if decided else text
