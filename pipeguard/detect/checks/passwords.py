"""Checks of passwords, common and well-chosen, and of the values in Kubernetes' secrets.

Pure functions over bytes; none raises, and each takes time linear in them.
Source: kubernetes.io, API reference, Secret v1: `data` is base64, `stringData` is not.
"""

import re

from pipeguard.detect.checks import randomness, readable
from pipeguard.detect.checks.outcome import AROUND, Checks, Outcome
from pipeguard.detect.checks.placeholders import (
    LEAST_LEFT,
    MEASURED_BYTES,
    base64_decoded,
    entropy,
    is_placeholder,
    is_weak_password,
)
from pipeguard.detect.words import placeholders as words
from pipeguard.firewall.lazy_regex import lazy_regex

# The end of a sentence or a quotation behind a password, though it may be of it: not judged.
_SENTENCE_END = lazy_regex(
    rb"(?:(?<!\.)\.|[:!?*]|\xe2\x80[\x98-\x9f]|\xc2\xbb|\xe3\x80[\x80-\x8f]|\xef\xbc[\x80-\xbf])+\Z"
)
# Words with digits and signs between them, or `Winter-Sun-8842`, as people are advised to choose.
_CHOSEN = lazy_regex(
    rb"(?=.*[0-9])(?=.*[a-z]).[^!#$%&*+?@^~]*[!#$%&*+?@^~].*"
    rb"|(?:[a-z]{3,}[-_.+=])?(?:[A-Z][a-z]+[-_.+=]?){1,5}[0-9]{2,6}"
)
# Parts of values that nobody chose as a password: words of tests and manuals, a hash, an address, a
# query, a comparison.
_NOT_CHOSEN = lazy_regex(
    rb"""(?ix)
    p[a@4][s5$]{2} | sec(?:ur|ret) | strong | te?mp | test | admin | user | account | wrong
    | valid | hello | welcome | login | dummy | [^0-9](?:123|321|999|000) | \A\$
    | @[\w-]+\.[A-Za-z] | &[\w%.-]+= | [=!]= | :/ | :: | -> | => | \$[{(0-9] | %[ds]""",
)
# How ways to hash a password begin, and standards; a line of passwd(5); the working directory, a
# shell's PWD.
_STANDARD = lazy_regex(
    rb"""(?ix)https?:// | argon | [bs]crypt | pbkdf | scram | sha-?[1-5] | cve- | iso- | rfc-
    | [a-z_][\w-]{0,31}:[x*!]?:[0-9]+:[0-9]+:
    | ~?/(?:app|build|code|data|etc|home|mnt|opt|private|project|root|run|srv|tmp|usr|users|var
      |work)s?/""",
)
_CIPHER_SIGNS = lazy_regex(rb"[A-Za-z0-9!+_:.,@=/-]+")
_WORDS = lazy_regex(rb"[A-Za-z]+")
LEAST_CIPHERS = 2  # names of algorithms in a list of them
# A quote or a bracket in HTML, which ends a value, or a control character, which cannot be typed.
_TYPED_END = lazy_regex(
    rb"&(?:amp;)?(?:#0?3[49]|#x2[27]|quot|apos|[lr]squo|[lg]t)\b|[\x00-\x1f\x7f]"
)


def password_outcome(secret: bytes) -> Outcome:
    """FAILS for common passwords and placeholders, HOLDS for long ones of mixed characters."""
    if is_placeholder(secret) or is_weak_password(secret):
        return False
    classes = randomness.character_classes(secret)
    strong = (classes >= 2 and len(secret) >= 10) or (classes >= 3 and len(secret) >= 7)
    return strong or None


def typed_outcome(secret: bytes) -> Outcome:
    """HOLDS for a well-chosen password: mixed characters, not words or code."""
    secret, *cut = _TYPED_END.split(secret, 1)
    if cut and len(secret) < LEAST_LEFT:
        return False
    core = _SENTENCE_END.sub(b"", secret[:MEASURED_BYTES])
    body = core if len(core) >= LEAST_LEFT else secret[:MEASURED_BYTES]
    is_usual = is_weak_password(secret) or password_outcome(body) is False
    is_other = (
        randomness.is_public(body) or readable.has_date(body) or randomness.encodes_words(body)
    )
    if is_usual or is_other or _STANDARD.match(body) or _is_cipher_list(body):
        return False
    if _CHOSEN.fullmatch(body) and not _NOT_CHOSEN.search(body):
        return True
    in_words = readable.readable_chars(body)
    if not randomness.not_identifier(body) or 10 * in_words >= 7 * len(body):
        return False
    is_mixed = (
        len(body) >= 8 and randomness.character_classes(body) >= 3 and 2 * in_words <= len(body)
    )
    if not is_mixed or entropy(body) < 2.7:
        return randomness.looks_random(body)
    has_sign = re.search(rb"[^A-Za-z0-9_./:+=-]", body) is not None
    is_chosen = has_sign or randomness.looks_random(body) is not False
    return is_chosen or None


def _is_cipher_list(body: bytes) -> bool:
    """True for a list of ciphers, as OpenSSL, GnuTLS and IPsec write them: `HIGH:!aNULL:!MD5`."""
    if not _CIPHER_SIGNS.fullmatch(body):
        return False
    names = [word.decode() for word in _WORDS.findall(body.lower())]
    algorithms = sum(name in words.CIPHERS for name in names)
    return algorithms >= LEAST_CIPHERS and words.CIPHER_WORDS.issuperset(names)


def _userinfo(secret: bytes) -> Outcome:
    """`user:password` of a URL (RFC 3986, 3.2.1), with a password that differs from the user."""
    user, _, password = secret.partition(b":")
    password = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes.fromhex(m[1].decode()), password)
    if password.lower() == user.lower() or (user.lower() == b"user" and len(password) < 8):
        return False
    return password_outcome(password)


def _basic_auth(secret: bytes) -> Outcome:
    """Base64 of `user:password` in printable ASCII (RFC 7617, 2), except placeholders."""
    raw = base64_decoded(secret) or b""
    if not re.fullmatch(rb"[!-9;-~]{1,100}:[ -~]{3,300}", raw):
        return False
    return _userinfo(raw) is not False


# --- kubernetes -------------------------------------------------------------------------

LEAST_BYTES = 6  # of a value that opens something
_KIND = lazy_regex(rb"\bkind[\"']?: {0,3}[\"']?Secret\b")
_NEXT_DOCUMENT = lazy_regex(rb"\n---|\n```")
_MAP = lazy_regex(rb"\b(?:data|stringData)[\"']?:\s{0,3}\Z")
_PRIVATE = lazy_regex(rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY|\"(?:auth|password|private_key)\"\s?:")
_PUBLIC = lazy_regex(rb"\s{0,4}-----BEGIN (?:CERTIFICATE|PUBLIC)")


def _in_secret(text: bytes) -> Outcome:
    """HOLDS for a member of `data` or `stringData` of a Secret; run on it and its surroundings."""
    member, _, around = text.partition(AROUND)
    at = around.find(member)
    if at < 0:
        return False
    ends = [match.start() for match in _NEXT_DOCUMENT.finditer(around)]
    low = max((end for end in ends if end < at), default=0)
    high = min((end for end in ends if end >= at), default=len(around))
    if not _KIND.search(around, low, high):
        return False
    before = around[low:at]
    if b"\n" in member[:2]:
        indent = len(member) - len(member.lstrip()) - 1
        lines = before.split(b"\n")
        outer = (line for line in reversed(lines) if line[:indent].strip())
        return _MAP.search(next(outer, b"")) is not None
    outside = before if member.startswith(b"{") else before.rpartition(b"{")[0]
    return _MAP.search(outside) is not None


def _kubernetes_value(secret: bytes) -> Outcome:
    """HOLDS for a value, encoded or not, other than a name, a placeholder, or a certificate."""
    raw = base64_decoded(secret)
    if raw is None or len(raw) < LEAST_BYTES:
        return typed_outcome(secret)
    if _PUBLIC.match(raw):
        return False
    try:
        text = raw.decode().strip().encode()
    except UnicodeDecodeError:
        is_key = len(raw) >= 2 * LEAST_BYTES  # random bytes
        return is_key and password_outcome(secret) is not False
    if _PRIVATE.search(text):
        return True
    return False not in (password_outcome(text), typed_outcome(text))


CHECKS: Checks = {
    "around-kubernetes": _in_secret,
    "basic-auth": _basic_auth,
    "kubernetes-value": _kubernetes_value,
    "password": password_outcome,
    "typed": typed_outcome,
    "userinfo": _userinfo,
}
