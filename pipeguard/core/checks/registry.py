"""What can be asked of a supposed secret: checksum, decoding, entropy, placeholder.

Pure functions over bytes, found by the name that a rule gives. Knows nothing of rules, places or
messages; no check ever raises, whatever the bytes, and each costs time linear in them.

A rule's `require` keeps a match only where the check HOLDS. Its `check` raises confidence where it
HOLDS, lowers it where it FAILS and leaves it where it is UNKNOWN. A failing checksum is no proof
of innocence, since whoever steers an agent can have one character changed; so a rule that is sure
by its shape alone writes `only-raise github-crc`, where FAILS counts as UNKNOWN. And a rule that
wants only the hopeless dropped requires `not-fails password`, where UNKNOWN counts as HOLDS.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache

from pipeguard.core.checks import checksums
from pipeguard.core.checks.benign_commands import is_disposable, is_installer, logs_in
from pipeguard.core.checks.placeholders import (
    LEAST_LEFT,
    MEASURED_BYTES,
    PREFIX,
    entropy,
    placeholder,
)
from pipeguard.core.checks.wordlists import is_calendar, public_names, weak_passwords, worded
from pipeguard.errors import RuleError

__all__ = [
    "AROUND",
    "AROUND_BYTES",
    "AROUND_CHECK",
    "NAME_CHECK",
    "Outcome",
    "aws_account",
    "entropy",
    "known",
    "placeholder",
    "run",
]


NAME_CHECK = "name-"  # so begin the checks that are asked of a secret's name
AROUND_CHECK = "around-"  # and those that are asked of a match, AROUND, and what is around it
AROUND, AROUND_BYTES = b"\0", 4096
JSON_BYTES = 24 * 1024  # a token's parts: 8 KiB of header and 16 KiB of claims
_DIGITS = b"0123456789"
PEM_BYTES = 16 * 1024  # RSA of 16,384 bits has 12.6 KiB
BASE58_BYTES = 128  # an extended key has 112; decoding is quadratic, so no more


class Outcome(Enum):
    """What a check says of a secret."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


Test = Callable[[bytes], Outcome]


def known(spec: str) -> bool:
    """Say whether `spec` names a check and its argument is one that the check takes."""
    try:
        _find(spec)
    except RuleError:
        return False
    return True


def run(spec: str, secret: bytes) -> Outcome:
    """Ask one thing of a secret.

    Args:
        spec: the check's name and its argument, as `entropy 3.5`.
        secret: the bytes that the rule's pattern took for a secret.

    Raises:
        RuleError: the spec names no check; ask `known` when a rule is loaded.
    """
    return _find(spec)(secret)


@lru_cache(maxsize=512)
def _find(spec: str) -> Test:
    name, _, argument = spec.strip().partition(" ")
    if name == "only-raise":
        test = _find(argument)
        return lambda secret: Outcome.HOLDS if test(secret) is Outcome.HOLDS else Outcome.UNKNOWN
    if name == "not-fails":
        test = _find(argument)
        return lambda secret: _says(test(secret) is not Outcome.FAILS)
    if name in _PLAIN and not argument:
        return _PLAIN[name]
    if name in _WITH_ARGUMENT and argument:
        try:
            return _WITH_ARGUMENT[name](argument)
        except ValueError as error:
            raise RuleError(f"check {spec!r}: {error}") from error
    raise RuleError(
        f"no check is called {spec!r}; those there are stand in core/checks/registry.py"
    )


def _says(answer: bool) -> Outcome:  # noqa: FBT001  the one bridge from a predicate to an answer
    return Outcome.HOLDS if answer else Outcome.FAILS


# -- shape ---------------------------------------------------------------------------------------


def _entropy(argument: str) -> Test:
    least = float(argument)
    return lambda secret: _says(entropy(secret) >= least)


def _classes(secret: bytes) -> int:
    """How many of lower case, upper case, digit and other stand in it."""
    return (
        (secret != secret.upper())
        + (secret != secret.lower())
        + (len(secret) != len(secret.translate(None, _DIGITS)))
        + (not secret.isalnum() and bool(secret))
    )


def _mixed(secret: bytes) -> Outcome:
    """Three classes of characters, or a sixth of digits: what words and names seldom have."""
    secret = secret[:MEASURED_BYTES]
    numerals = len(secret) - len(secret.translate(None, _DIGITS))
    return _says(numerals * 6 >= len(secret) > 0 or _classes(secret) >= 3)


def _random_case(secret: bytes) -> Outcome:
    """Upper and lower case as by the throw of a coin: in camelCase one letter in six is upper."""
    body = PREFIX.sub(b"", secret[:MEASURED_BYTES])
    letters = len(re.findall(rb"[A-Za-z]", body))
    upper = len(re.findall(rb"[A-Z]", body))
    least = 5 if re.search(rb"[A-Z]{2}", body) else 4
    return _says(letters >= 8 and letters <= least * upper and 5 * upper <= 4 * letters)


def _not_hex(secret: bytes) -> Outcome:
    """Not all hexadecimal: digests, trace ids and commits are."""
    return _says(re.fullmatch(rb"[0-9A-Fa-f]+", secret) is None)


def _not_identifier(secret: bytes) -> Outcome:
    """Not made of words, as `next_page_token`, `config.apiKey` or `/etc/app/v2`."""
    secret = secret[:MEASURED_BYTES]
    if (_CAMEL.fullmatch(secret) and worded(secret) > 4) or _TYPE.fullmatch(secret):
        return Outcome.FAILS  # `ed25519.Ed25519PublicKey`
    if re.search(rb"[0-9][A-Za-z]|[0-9]{5}|[!#$%^&*~]", secret):
        return Outcome.HOLDS
    for word in re.findall(rb"[A-Za-z]{6,}", secret):
        turns = len(re.findall(rb"[a-z](?=[A-Z])|[A-Z](?=[a-z])", word))
        if turns >= 4 and len(re.findall(rb"[A-Z]", word)) * 10 >= 3 * len(word):
            return Outcome.HOLDS
    return Outcome.FAILS


_CAMEL = re.compile(
    rb"(?:[a-z0-9_]{2,30}\.){0,3}_?(?:[A-Z][a-z]{0,20}){1,4}[0-9]{1,5}(?:[A-Z][a-z]{2,20}){1,4}"
)


_TYPE = re.compile(rb"[\w.]{2,80}[a-z0-9](?:Key|Token|Secret|Credential|Type|Request|Response)s?")
LEAST_HEX = 24  # digits of a secret in hexadecimal: 96 bits


def _random(secret: bytes) -> Outcome:
    """HOLDS for what no person thought of, FAILS for what is words, versions or a path.

    A run of letters of one case, or with a capital first, is a word where most of its pairs are.
    """
    body = PREFIX.sub(b"", secret[:MEASURED_BYTES])
    letters = len(re.findall(rb"[A-Za-z0-9]", body))
    in_words = worded(body)
    if letters < 10 or 10 * in_words >= 6 * letters or is_calendar(body) or _spells(body):
        return Outcome.FAILS
    if _PUBLIC.match(secret) or b"..." in secret or b"\xe2\x80\xa6" in secret:
        return Outcome.FAILS
    if placeholder(secret):  # abc123def456
        return Outcome.FAILS
    if len(body) < LEAST_HEX and _not_hex(body) is not Outcome.HOLDS:
        return Outcome.UNKNOWN  # a short digest has as many digits
    turns = len(re.findall(rb"[0-9](?=[A-Za-z])|[A-Za-z](?=[0-9])", body))
    if letters >= 16 and 2 * in_words < letters and turns >= letters // 8 and turns >= 3:
        return Outcome.HOLDS
    is_cased = letters >= 16 and _random_case(body) is Outcome.HOLDS and 10 * in_words < 4 * letters
    return Outcome.HOLDS if is_cased else Outcome.UNKNOWN


# Identifiers, publishable keys and test keys by their formats: rules/secrets-public.yaml has them.
_PUBLIC = re.compile(
    rb"(?:pk|sk|rk)_test_|pk_live_|pk-lf-|pk\.eyJ|phc_|sb_publishable_|mob-|rzp_|AC[0-9a-f]{32}\Z|"
    rb"A(?:IDA|ROA|GPA|IPA|NPA|NVA|PKA|SCA)[A-Z2-7]{16}|3MVG9|mdb_sa_id_|SCW[A-Z0-9]{17}\Z|EZTK|"
    rb"amzn1\.application|arn:aws|[xyzt]pub|[\w-]{22}:APA91b"
)


def _spells(body: bytes) -> bool:
    """True for base64 of words, as `not my real password`."""
    text = decoded(body) if len(body) >= 12 else None
    return text is not None and text.isascii() and 10 * worded(text) >= 6 * len(text)


# What ends a value in HTML, as a quote ends it elsewhere, or is typed by nobody.
_TYPED_END = re.compile(
    rb"&(?:amp;)?(?:#0?3[49]|#x2[27]|quot|apos|[lr]squo|[lg]t)\b|[\x00-\x1f\x7f]"
)


def _typed(secret: bytes) -> Outcome:
    """HOLDS for a password that somebody chose well: no word, no code, several kinds of sign."""
    secret, *cut = _TYPED_END.split(secret, 1)
    if cut and len(secret) < LEAST_LEFT:
        return Outcome.FAILS
    if _password(secret) is Outcome.FAILS or _not_identifier(secret) is not Outcome.HOLDS:
        return Outcome.FAILS
    body = secret[:MEASURED_BYTES]
    in_words = worded(body)
    if is_calendar(body) or 10 * in_words >= 7 * len(body) or _spells(body):
        return Outcome.FAILS
    signs = len(re.findall(rb"[^A-Za-z0-9_./:+=-]", body))
    if (
        len(body) >= 8
        and _classes(body) >= 3
        and 2 * in_words <= len(body)
        and entropy(body) >= 2.7
    ):
        return Outcome.HOLDS if signs or _random(body) is not Outcome.FAILS else Outcome.UNKNOWN
    return _random(body)


def _name_secret(name: bytes) -> Outcome:
    """Not the name of a key or token that everybody may see: of a cache, a page, a column."""
    found = re.findall(rb"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    words = [word.lower() for word in found]
    # One that a client makes up so that a request is done once.
    once = words[-2:] == [b"client", b"token"]
    return _says(not once and not any(word in public_names() for word in words))


def _jira(secret: bytes) -> Outcome:
    """A number, a colon, 20 random bytes, in base64 (Jira and Bitbucket Data Center)."""
    return _says(re.fullmatch(rb"(?s)[0-9]{6,14}:.{20}", decoded(secret) or b"") is not None)


def _bip39(secret: bytes) -> Outcome:
    """Words of a seed phrase, numbered or not, one a line or not (BIP-39)."""
    from pipeguard.core.checks.bip39 import holds_phrase

    return _says(holds_phrase(re.findall(rb"[a-z]+", secret[:MEASURED_BYTES])))


def _key_bytes(secret: bytes) -> Outcome:
    """A key as a JSON array of 64 bytes, as Solana's tools write it."""
    numbers = [int(one) for one in re.findall(rb"[0-9]{1,3}", secret[:MEASURED_BYTES])]
    return _says(len(numbers) == 64 and max(numbers) < 256 and len(set(numbers)) > 30)


def _number(argument: str) -> Test:
    """`number us-ssn`: a number of that kind that holds together and is in no documentation."""
    from pipeguard.core.checks.national_ids import NUMBERS, holds

    if argument not in NUMBERS:
        raise ValueError(f"no kind of number is called {argument}")

    def test(secret: bytes) -> Outcome:
        text = re.sub(rb"[ ./\s-]", b"", secret[:200]).upper().decode("utf-8", "replace")
        return _says(holds(argument, text))

    return test


def _password(secret: bytes) -> Outcome:
    """FAILS for what everybody types first, HOLDS for what nobody types by chance."""
    if placeholder(secret) or secret.lower() in weak_passwords():
        return Outcome.FAILS
    classes = _classes(secret)
    strong = (classes >= 2 and len(secret) >= 10) or (classes >= 3 and len(secret) >= 7)
    return Outcome.HOLDS if strong else Outcome.UNKNOWN


def _userinfo(secret: bytes) -> Outcome:
    """`user:password` of a URL (RFC 3986, 3.2.1): a password of its own, not the user again."""
    user, _, password = secret.partition(b":")
    password = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes.fromhex(m[1].decode()), password)
    if password.lower() == user.lower() or (user.lower() == b"user" and len(password) < 8):
        return Outcome.FAILS
    return _password(password)


# -- decoding ------------------------------------------------------------------------------------


def decoded(text: bytes) -> bytes | None:
    """The bytes under base64 or base64url, padded or not (RFC 4648, 4 and 5); None if it is not."""
    text = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return None


def _json(text: bytes | None) -> Mapping[str, object]:
    """The JSON object in `text`, empty where there is none."""
    if text is None or len(text) > JSON_BYTES:
        return {}
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _parts(secret: bytes) -> list[bytes]:
    return secret[: 2 * JSON_BYTES].rstrip(b".").split(b".")


def _claims(secret: bytes) -> Mapping[str, object]:
    """The claims of a JSON Web Token, empty where it is none (RFC 7519, 3 and 7.2)."""
    parts = _parts(secret)
    if len(parts) < 2 or not isinstance(_json(decoded(parts[0])).get("alg"), str):
        return {}
    return _json(decoded(parts[1]))


def _jwt(secret: bytes) -> Outcome:
    """A signed token with claims (RFC 7519), also one that was cut off in them.

    HOLDS too for an encrypted one: five parts and `enc` (RFC 7516, 3.1).
    """
    parts = _parts(secret)
    header = _json(decoded(parts[0]))
    if not isinstance(header.get("alg"), str) or header["alg"] == "none":
        return Outcome.FAILS
    if len(parts) == 2:
        start = decoded(parts[1][: len(parts[1]) // 4 * 4]) or b""
        return _says(len(start) >= 60 and start.startswith(b"{") and not _claims(secret))
    return _says((bool(_claims(secret)) and len(parts[2]) >= 20) or "enc" in header)


def _jwt_claim(argument: str) -> Test:
    """`role=admin`: a claim with that value; `kubernetes.io`: a claim of that name or under it."""
    name, equals, value = argument.partition("=")

    def test(secret: bytes) -> Outcome:
        claims = _claims(secret)
        if equals:
            return _says(claims.get(name) == value)
        return _says(any(key.partition("/")[0] == name for key in claims))

    return test


def _jwt_not(argument: str) -> Test:
    test = _jwt_claim(argument)
    return lambda secret: _says(test(secret) is Outcome.FAILS)


def _json_keys(argument: str) -> Test:
    """A JSON object with these keys, plain or as base64."""
    keys = argument.split()

    def test(secret: bytes) -> Outcome:
        text = secret if secret.startswith(b"{") else decoded(secret)
        return _says(set(keys) <= _json(text).keys())

    return test


def _base64_bytes(argument: str) -> Test:
    """Base64 of exactly so many bytes, as keys of a fixed size are."""
    size = int(argument)

    def test(secret: bytes) -> Outcome:
        raw = decoded(secret)
        return _says(raw is not None and len(raw) == size)

    return test


def _base64_prefix(argument: str) -> Test:
    """Base64 of bytes that begin so."""
    prefix = argument.encode()

    def test(secret: bytes) -> Outcome:
        raw = decoded(secret[: len(secret) // 4 * 4])
        return _says(raw is not None and raw.startswith(prefix))

    return test


def _basic_auth(secret: bytes) -> Outcome:
    """Base64 of `user:password` in printable ASCII (RFC 7617, 2), no placeholder."""
    raw = decoded(secret) or b""
    if not re.fullmatch(rb"[!-9;-~]{1,100}:[ -~]{3,300}", raw):
        return Outcome.FAILS
    return _says(_userinfo(raw) is not Outcome.FAILS)


def _pem(secret: bytes) -> Outcome:
    """A key's body after the BEGIN line (RFC 7468; OpenSSH's PROTOCOL.key), END not asked for.

    HOLDS for DER, OpenSSH and RFC 1421 encryption; UNKNOWN for what is as dense as base64; FAILS
    for prose that names the header.
    """
    secret = secret[:PEM_BYTES]
    body = re.sub(
        rb"-----[^-]{0,60}-----|\\[nr]|Proc-Type:[^\n\\]*|DEK-Info:[^\n\\]*", b" ", secret
    )
    text = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
    if len(text) < 64:
        return Outcome.FAILS
    start = decoded(text[:64]) or b""
    if b"Proc-Type" in secret or start.startswith((b"\x30", b"openssh-key-v1\0")):
        return Outcome.HOLDS
    return Outcome.UNKNOWN if entropy(text[:256]) >= 4.7 else Outcome.FAILS


def _discord(secret: bytes) -> Outcome:
    """The first part is a snowflake in base64 (Discord, API reference, Snowflakes)."""
    snowflake = decoded(secret.partition(b".")[0]) or b""
    if not re.fullmatch(rb"[0-9]{17,20}", snowflake):
        return Outcome.FAILS
    return _says(int(snowflake) >> 22 < 20 * 365 * 86_400_000)  # milliseconds since 2015


def _telegram(secret: bytes) -> Outcome:
    """A bot's id and a dense body (Telegram, Bot API, Authorizing your bot)."""
    return _says(entropy(secret.partition(b":")[2]) >= 4)


def _pypi_macaroon(secret: bytes) -> Outcome:
    """A macaroon, version 2: location, then identifier (libmacaroons, doc/format.txt)."""
    body = secret.partition(b"-")[2]
    raw = decoded(body[: len(body) // 4 * 4]) or b""
    if not raw.startswith(b"\x02\x01") or len(raw) < 40 or raw[2] > 64:
        return Outcome.FAILS
    return _says(raw[3 + raw[2]] == 2)


def _aws_account(secret: bytes) -> Outcome:
    """The 12-digit account inside a key id made since 2019; no checksum, so it proves little."""
    return Outcome.UNKNOWN if aws_account(secret) is None else Outcome.HOLDS


def aws_account(secret: bytes) -> str | None:
    """The account in an AWS access key id: 40 bits of its base32 body; None for older ids."""
    if not re.fullmatch(rb"[A-Z]{4}[Q-Z2-7][A-Z2-7]{15}", secret):
        return None
    number = 0
    for letter in secret[4:14]:
        number = number << 5 | checksums.BASE32.index(letter)
    number = (number >> 2 & 0x7FFFFFFFFF80) >> 7
    return f"{number:012d}" if number < 10**12 else None


# -- addresses -----------------------------------------------------------------------------------


def _host(argument: str) -> Test:
    """What follows `//` in an address: one of `addresses.WANTED`."""
    from pipeguard.core.checks import addresses  # here, since it costs a start 4 ms

    if argument not in addresses.WANTED:
        raise ValueError(f"a host is one of {', '.join(addresses.WANTED)}")
    return lambda secret: _says(addresses.says(secret, argument))


def _not_installer(text: bytes) -> Outcome:
    """FAILS where every address is of an installer that its project publishes."""
    return _says(not is_installer(text))


def _not_disposable(line: bytes) -> Outcome:
    """FAILS where what is destroyed is called a test's, a draft's or the like."""
    return _says(not is_disposable(line))


def _not_login(text: bytes) -> Outcome:
    """FAILS where the command's output only logs in; asked of a match and what is around it."""
    command, _, around = text.partition(AROUND)
    return _says(not logs_in(command, around))


# -- checksums -----------------------------------------------------------------------------------


def _github_crc(secret: bytes) -> Outcome:
    """The last 36 characters are 30 and their checksum (GitHub; npm since 2021)."""
    if not re.fullmatch(rb"[a-z]{3}_[0-9A-Za-z]{36}", secret):
        return Outcome.UNKNOWN
    return _says(checksums.github_crc(secret[-36:-6]) == secret[-6:])


def _gitlab_crc(secret: bytes) -> Outcome:
    found = re.fullmatch(rb"[a-z]+-([\w-]{27,300})\.[0-9a-z]{2}\.([0-9a-z]{2})[0-9a-z]{7}", secret)
    if found is None:
        return Outcome.UNKNOWN
    length = checksums.digits(len(found[1]), checksums.BASE36, 2)
    return _says(length == found[2] and checksums.gitlab_crc(secret[:-7]) == secret[-7:])


def _atlassian_crc(secret: bytes) -> Outcome:
    return _says(len(secret) > 20 and checksums.atlassian_crc(secret[:-8]) == secret[-8:])


def _grafana_crc(secret: bytes) -> Outcome:
    token, _, crc = secret.rpartition(b"_")
    return _says(checksums.grafana_crc(token) == crc)


def _cloudflare_crc(secret: bytes) -> Outcome:
    body = secret.partition(b"_")[2]
    return _says(len(body) == 48 and checksums.cloudflare_crc(body[:40]) == body[40:])


def _luhn(secret: bytes) -> Outcome:
    number = re.sub(rb"[ -]", b"", secret[:64])
    if not re.fullmatch(rb"[0-9]{8,19}", number):
        return Outcome.FAILS
    return _says(checksums.luhn_digit(number[:-1]) == number[-1:])


def _iban(secret: bytes) -> Outcome:
    """ISO 13616-1: the country's length, and 1 modulo 97 (ISO/IEC 7064)."""
    text = re.sub(rb"[ -]", b"", secret[:64]).upper()
    if not re.fullmatch(rb"[A-Z]{2}[0-9]{2}[0-9A-Z]{11,30}", text):
        return Outcome.FAILS
    number = "".join(str(int(chr(letter), 36)) for letter in text[4:] + text[:4])
    return _says(
        checksums.IBAN_LENGTHS.get(text[:2].decode()) == len(text) and int(number) % 97 == 1
    )


def _base58check(secret: bytes) -> Outcome:
    if not re.fullmatch(rb"[1-9A-HJ-NP-Za-km-z]{20,%d}" % BASE58_BYTES, secret):
        return Outcome.FAILS
    number = 0
    for letter in secret:
        number = number * 58 + checksums.BASE58.index(letter)
    ones = len(secret) - len(secret.lstrip(b"1"))
    data = bytes(ones) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return _says(checksums.double_sha256(data[:-4])[:4] == data[-4:])


def _bech32(secret: bytes) -> Outcome:
    """`AGE-SECRET-KEY-1…` (age, format specification) and `nsec1…` (Nostr, NIP-19)."""
    prefix, _, body = secret[:MEASURED_BYTES].lower().rpartition(b"1")
    if len(body) < 8 or not prefix or body.translate(None, checksums.BECH32):
        return Outcome.FAILS
    return _says(checksums.bech32_checksum(prefix, body[:-6]) == body[-6:])


def _stellar(secret: bytes) -> Outcome:
    """A Stellar seed: version, 32 bytes, CRC-16 (XMODEM), in base32 (Stellar, SEP-23)."""
    if not re.fullmatch(rb"S[A-Z2-7]{55}", secret):
        return Outcome.FAILS
    raw = checksums.base32(secret)
    return _says(binascii.crc_hqx(raw[:33], 0).to_bytes(2, "little") == raw[33:])


_PLAIN: Mapping[str, Test] = {
    "atlassian-crc": _atlassian_crc,
    "aws-account": _aws_account,
    "base58check": _base58check,
    "basic-auth": _basic_auth,
    "bech32": _bech32,
    "bip39": _bip39,
    "cloudflare-crc": _cloudflare_crc,
    "discord": _discord,
    "github-crc": _github_crc,
    "gitlab-routable-crc": _gitlab_crc,
    "grafana-crc": _grafana_crc,
    "iban": _iban,
    "jira": _jira,
    "jwt": _jwt,
    "key-bytes": _key_bytes,
    "luhn": _luhn,
    "mixed": _mixed,
    "name-secret": _name_secret,
    "not-hex": _not_hex,
    "around-not-login": _not_login,
    "not-disposable": _not_disposable,
    "not-identifier": _not_identifier,
    "not-installer": _not_installer,
    "password": _password,
    "pem": _pem,
    "pypi-macaroon": _pypi_macaroon,
    "random": _random,
    "random-case": _random_case,
    "stellar": _stellar,
    "telegram": _telegram,
    "typed": _typed,
    "userinfo": _userinfo,
}
_WITH_ARGUMENT: Mapping[str, Callable[[str], Test]] = {
    "base64-bytes": _base64_bytes,
    "base64-prefix": _base64_prefix,
    "entropy": _entropy,
    "host": _host,
    "json-keys": _json_keys,
    "jwt-claim": _jwt_claim,
    "jwt-not": _jwt_not,
    "number": _number,
}
