"""Shannon's entropy of a secret."""

import binascii
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import log2
from operator import sub

from pipeguard.detect.words import placeholders as words
from pipeguard.detect.words import published
from pipeguard.firewall.lazy_regex import lazy_regex

MEASURED_BYTES = 4096  # of a secret that checks read: keys are shorter


def entropy(secret: bytes) -> float:
    """Shannon's entropy in bits per byte, of the first 4096 bytes."""
    secret = secret[:MEASURED_BYTES]
    total = len(secret) or 1
    sizes = [count * log2(count) for count in map(secret.count, set(secret)) if count > 1]
    return log2(total) - sum(sizes) / total


# --- placeholders -----------------------------------------------------------------------
# Texts in a secret's place that are not secrets: words, templates, rows, published samples.

# An issuer's prefix, such as `sk-ant-api03-`: short, and of one case.
PREFIX = lazy_regex(rb"\A(?:(?:[a-z]{1,10}|[A-Z]{1,10})[0-9]{0,2}[_.:-]){1,3}")
FEW_TEXTS = 512  # whose results are cached: several rules check a secret, in several readings
LEAST_LEFT = 8  # characters of a secret that belong to no word or template
# Claims of jwt.io (`sub` 1234567890) and of RFC 7515, A.1 to A.5, however they are signed; those of
# PyJWT, jsonwebtoken and golang-jwt, with at most times of issue and expiry besides.
_SAMPLE_JWT = lazy_regex(
    rb"eyJ[\w-]{8,300}\.eyJ(?:zdWIiOiIxMjM0NTY3ODkwI|pc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAs)[\w-]*"
    rb"(?:\.[\w-]*)?"
)
_SAMPLE_SUBJECT = "1234567890"
_SAMPLE_CLAIMS = {"some": "payload"}, {"foo": "bar"}, {"hello": "world"}
_TIMES = frozenset(("exp", "iat", "nbf"))
_BCRYPT = lazy_regex(rb"\A\$2[abxy]\$[0-9]{2}\$(?=.{53}\Z)")
_SLOT = rb"\$?\{{1,2}[^{}]{0,80}\}{1,2}|<[^<>]{0,80}>|%\(\w{1,40}\)s"  # of a template


@lru_cache(FEW_TEXTS)
def is_placeholder(secret: bytes) -> bool:
    """True if a text is evidently written in a secret's place.

    Words such as `example` are taken out of the body, and runs of one character; the rest must
    be too little for a secret. So a word glued to a live key does not hide it.
    """
    if is_published(secret) or is_reference(secret):
        return True
    body = PREFIX.sub(b"", secret[:MEASURED_BYTES])
    if len(body) < LEAST_LEFT:
        body = secret  # the apparent issuer's prefix is the whole text
    letters = re.sub(rb"[^0-9A-Za-z\x80-\xff]", b"", body)
    is_masked = b"***" in body and len(letters) < 2 * LEAST_LEFT  # as logs and consoles star it
    if not letters or _is_monotone(letters) or is_masked:
        return True
    rest = _without_fillers(body)
    if rest == body and b"..." not in body and b"\xe2\x80\xa6" not in body:
        return False
    rest = re.sub(rb"[^0-9A-Za-z]", b"", rest)
    return len(rest) < LEAST_LEFT or entropy(rest) < 2.5 or _is_monotone(rest)


def is_reference(secret: bytes) -> bool:
    """True for a text that names a secret: a variable, a vault's path, a template."""
    return _REFERENCES.fullmatch(secret[:MEASURED_BYTES]) is not None


def is_weak_password(secret: bytes) -> bool:
    """True for the most common passwords, and for those in every example."""
    return secret.lower().decode("latin-1") in words.WEAK_PASSWORDS


def _without_fillers(body: bytes) -> bytes:
    """A text without words of examples, slots of templates and runs of one character."""
    spans = [filler.span() for filler in _FILLERS.finditer(body.lower())]
    starts = [start for start, _ in spans]
    ends = [end for _, end in spans]
    between = zip([0, *ends], [*starts, len(body)], strict=True)
    return b"".join([body[low:high] for low, high in between])


# Of several words.
_PHRASES = r"change[-_\x20]?(?:me|this|it)", r"not[-_\x20]?(?:a[-_\x20]?)?real"


def _group_by_first_letter(expressions: Iterable[str]) -> bytes:
    """A pattern for expressions that begin with a letter, grouped by first letter."""
    groups: dict[str, list[str]] = {}
    for word in expressions:
        groups.setdefault(word[0], []).append(word[1:])
    return (
        b"(?:%b)"
        % "|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in groups.items()).encode()
    )


# Fillers in small letters: `re` sorts words by first letter only in one case.
_FILLERS = lazy_regex(
    rb"(?=[$%%{<])(?:%s)|%s|(?<![0-9a-z])%s(?![0-9a-z])|(.)(?=\1)\1{4,}"
    % (
        _SLOT,
        _group_by_first_letter((*words.in_order("ANYWHERE"), *_PHRASES)),
        _group_by_first_letter(words.in_order("ALONE")),
    ),
    re.DOTALL,
)
# A text that names a secret: a variable, a vault's path, a template. Manuals put names in capitals
# for such values: KEYSTONE_DBPASS.
_REFERENCES = lazy_regex(
    rf"""(?sx)\s*(?:
        # Templates, variables, calls, resources, encrypted values.
        \$?\{{{{1,2}}[^{{}}]{{0,200}}\}}{{1,2}} | \$\(?[A-Za-z_][\w.]*\)? | %\w+% | <[^<>]{{0,200}}>
        | \[[^\[\]]{{0,200}}\] | \{{%.{{0,200}}%\}} | <%.{{0,200}}%>
        | (?:os\.)?getenv\(?.{{0,200}} | \w+\(.{{0,200}} | vault:.{{0,200}}
        | arn:aws[\w-]*:.{{0,300}} | ENC\[.{{0,600}} | !vault.{{0,600}}
        | @Microsoft\.KeyVault.{{0,300}}
        | (?:{words.alternatives("OBJECTS")})[.\[].{{0,200}}
        | (?:{words.alternatives("VAULTS")}|ref\+\w+)://?.{{0,200}}
        | (?:[A-Z]{{2,16}}_){{1,4}}(?:[A-Z]{{0,6}}(?:{words.alternatives("NAME_ENDINGS")})|HERE)
        )\s*""".encode()
)


def _is_monotone(letters: bytes) -> bool:
    """True for mostly one character, or an ascending or descending row of characters."""
    if len(letters) < 6:
        return len(set(letters)) == 1
    text = letters.lower()
    median = sorted(text)[len(text) // 2]  # a majority character is also in the middle
    if text.count(median) * 10 >= 6 * len(text):
        return True
    rows = [step for step in map(sub, text[1:], text) if -1 <= step <= 1]
    return len(rows) * 10 >= 6 * len(text)


@lru_cache(FEW_TEXTS)
def is_published(secret: bytes) -> bool:
    """True if a vendor's own documentation prints it."""
    if re.fullmatch(rb"A[A-Z]{3}[A-Z0-9]{9}EXAMPLE", secret):  # docs.aws.amazon.com/IAM, throughout
        return True
    if not 14 <= len(secret) <= 2000:
        return False
    if _SAMPLE_JWT.fullmatch(secret) or _is_sample_jwt(secret):
        return True
    secret = _BCRYPT.sub(b"", secret)  # every variant and cost of a printed hash
    from hashlib import sha256

    return sha256(secret).hexdigest()[:32] in published.SECRET_DIGESTS


def _is_sample_jwt(secret: bytes) -> bool:
    """True for a JSON Web Token with the claims of documentation, which identify nobody."""
    if not secret.startswith(b"eyJ") or secret.count(b".") != 2:
        return False
    claims = json_object(base64_decoded(secret.split(b".")[1]))
    others = {name: value for name, value in claims.items() if name not in _TIMES}
    return claims.get("sub") == _SAMPLE_SUBJECT or others in _SAMPLE_CLAIMS


# --- text in base64 ---------------------------------------------------------------------
# Base64 as tokens are written in it, and the JSON in it.

JSON_BYTES = 24 * 1024  # a token's parts: 8 KiB of header and 16 KiB of claims


def base64_decoded(text: bytes) -> bytes | None:
    """The bytes under base64 or base64url, padded or not (RFC 4648, 4 and 5); None for others."""
    text = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return None


def json_object(text: bytes | None) -> Mapping[str, object]:
    """The JSON object in `text`; empty without one."""
    if text is None or len(text) > JSON_BYTES:
        return {}
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
