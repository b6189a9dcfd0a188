"""Checks that distinguish random values from text that a person wrote.

Pure functions over bytes; none raises, and each takes time linear in them. Knows no format.
"""

import re

from pipeguard.detect.checks.outcome import AROUND, Check, Checks, ChecksWithArgument, Outcome
from pipeguard.detect.checks.placeholders import (
    MEASURED_BYTES,
    PREFIX,
    base64_decoded,
    entropy,
    is_placeholder,
)
from pipeguard.detect.checks.readable import has_date, readable_chars
from pipeguard.detect.words import credentials
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import name_words

LEAST_HEX = 24  # digits of a secret in hexadecimal: 96 bits
_DIGITS = b"0123456789"
# The kind of each byte: `A`, `a`, `0`, and a blank for any other.
_KINDS = bytes(
    next((kind for kind, first, last in (b"AAZ", b"aaz", b"009") if first <= code <= last), 0x20)
    for code in range(256)
)
_CAMEL = lazy_regex(
    rb"(?:[a-z0-9_]{2,30}\.){0,3}_?(?:[A-Z][a-z]{0,20}){1,4}[0-9]{1,5}(?:[A-Z][a-z]{2,20}){1,4}"
)
_TYPE = lazy_regex(rb"[\w.]{2,80}[a-z0-9](?:Key|Token|Secret|Credential|Type|Request|Response)s?")
# How identifiers, publishable keys and test keys begin, of which rules/secrets-public.yaml has the
# formats; the fingerprint of a key as OpenSSH prints it; and what Sealed Secrets encrypted, which
# begins with the length of a key of 4096 bits.
_PUBLIC_FORMAT = lazy_regex(
    rb"""(?x)(?:pk|sk|rk)_test_ | pk_live_ | pk-lf- | pk\.eyJ | phc_ | sb_publishable_ | mob- | rzp_
    | AC[0-9a-f]{32}\Z | A(?:IDA|ROA|GPA|IPA|NPA|NVA|PKA|SCA)[A-Z2-7]{16} | 3MVG9 | mdb_sa_id_
    | SCW[A-Z0-9]{17}\Z | EZTK | SHA256:[A-Za-z0-9+/]{43}[.:!?*]{0,3}\Z | django-insecure-
    | FLW(?:PUBK|SECK_TEST) | sandbox_ | NRJS- | Ag[A-D][A-Za-z0-9+/]{190} | (?:pub|sub)-c-
    | amzn1\.application | arn:aws | [xyzt]pub | [\w-]{22}:APA91b"""
)

# A value that is sent: the value, a line with nothing else, and its name in settings or JSON.
_TOKEN = lazy_regex(rb"[A-Za-z0-9_+/~-]{16,}={0,2}")
_ALONE = lazy_regex(rb"[ \t>*\"'`]{0,6}(?=[^\n]{0,100}[0-9])[A-Za-z0-9_+/=-]{16,}[\"'`,;.]{0,2}\r?")
_LABEL = lazy_regex(rb"(?:\A|[{,\s])[\"'`]?([\w.-]{1,64})[\"'`]?\s{0,4}[:=]\s{0,4}[\"'`]?\Z")
_FIELD = lazy_regex(  # of a text, which does not name the value in it
    rb"(?:\W{0,4}(?:text|body|message|msg|content|comment|note|description|data|d|payload|title"
    rb"|subject|caption|value|reply|answer|html)\W{1,8}){1,2}",
    re.IGNORECASE,
)
_PARAMETER = lazy_regex(rb"(?i)[?&](?:q|d|data|text|msg|m|message|body|content|note|payload)=\Z")
# A link that confirms something works once, and does not belong to a mailing.
_MAILING = lazy_regex(
    rb"""(?ix)[/.](?:un-?sub\w*|subscri\w*|opt-?out|preferences|newsletters?|abmeld\w*|abbestell\w*
    |d(?:e|\xc3\xa9)s(?:abonn|inscri)\w*|baja|disiscri\w*|track\w*|clicks?|opens?|views?)[/.?]""",
)
_SEARCH = lazy_regex(rb"(?i)[?&]q=\Z")
# A word of a search, shorter than a value; `+` is the blank between two.
_WORD = rb"(?:[A-Z0-9/_~-]{1,19}|[a-z0-9/_~-]{1,19}|[A-Za-z-]{1,19})"
_SEARCH_WORDS = lazy_regex(_WORD + rb"(?:\+" + _WORD + rb")+")
FEW_BYTES = 4  # before a value that fills its line
# A command, except for the data that it posts.
_COMMAND = lazy_regex(rb"\s*(?:command|cmd|script|code|args): (?!.*\s(?:-d|--data\S*)[ =][\"']?\Z)")
LABEL_BYTES = 80  # of the longest
FIELD_BYTES = 48
NAMED_BYTES = 60  # before a value, in which a word may identify it
# What ids, digests and public values are called, in small letters, which `re` finds faster.
_NO_SECRET = lazy_regex(
    rb"""(?x)\b(?:
    [a-z_-]{0,12}_?ids? | sha-?[0-9]{0,3} | md5 | commit | revision | rev | digest | hash | checksum
    | e-?tag | traces? | span | uuid | guid | cursor | page | nonce | fingerprint | integrity
    | public | pub | pubkey | peer | address | wallet | tx | transaction | block | signature | build
    | deployment | version | release | image | container | session | ray | cid | ipfs
    | ssh-[a-z0-9]+ | files? | folder | document | sheet | video | channel | order | ticket
    | reference | ref | tracking | invoice | serial | users? | customer | objects? | lock | node
    | item | record | samples? | examples? | fixture | expected | such\x20as | for\x20instance
    | test\x20vectors? | vouchers? | coupons? | promo(?:tion)?s? | gift[\x20-]?cards? | rebate
    | discount | bookings? | reservations?
    | (?:claim|policy|member(?:ship)?|registration|part|model|product|account|raffle|pick-?up
      |confirmation|referral|collection|redemption|loyalty)[\x20-](?:codes?|numbers?|no)
    | gutschein\w* | rabatt\w* | buchung\w* | bestell\w* | r\xc3\xa9servation | r\xc3\xa9duction
    | cup\xc3\xb3n | descuento | reserva | prenotazione | sconto | buono
    )\b | sha(?:256|384|512)[:/-] | @\Z"""
)
# Ids of known forms: UUIDs, ULIDs, Google's of documents, object ids with a prefix, public keys of
# SSH; short groups of one case, as of vouchers and parts, but not as of product and recovery keys.
_KNOWN_ID = lazy_regex(
    rb"""(?x).*[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}.* | [0-7][0-9A-HJKMNP-TV-Z]{25}
    | 1[A-Za-z0-9_-]{32}(?:[A-Za-z0-9_-]{11})? | [a-z]{2,6}_\w{8,} | AAAA[BC]3Nz\S+
    | (?!(?:[A-Z0-9]{4}-){5}|(?:[A-Z0-9]{5}-){4})
      (?:[A-Z0-9]{1,12}([-/_])[A-Z0-9]{1,12}(?:\1[A-Z0-9]{1,12})*
        |[a-z0-9]{1,12}([-/_])[a-z0-9]{1,12}(?:\2[a-z0-9]{1,12})*)"""
)
# The fingerprint of a key in hexadecimal (RFC 9580, 5.5.4; RFC 4716, 4), and signs of one: the
# name of a key that signs published data, in which GPG prints capitals; words next to it.
_FINGERPRINT = lazy_regex(
    rb"(?:0x)?([0-9A-F]{40}|[0-9A-Fa-f]{64}|[0-9a-f]{40}"
    rb"|(?:[0-9A-Fa-f]{2}:){15}(?:[0-9A-Fa-f]{2}:){0,16}[0-9A-Fa-f]{2})[.:!?*]{0,3}\Z"
)
_PUBLISHED_KEY = lazy_regex(
    rb"(?<![A-Za-z_-])(?:[Ss]ign(?:ing|ed)|[Mm]aster|[Rr]oot|[Pp]rimary)[ _-]?[Kk]ey\W[^\n]{0,16}\Z"
)
_SHARED_KEY = lazy_regex(
    rb"(?i)\b(?:api|cookie|hmac|jwt|request|secret|session|shared|token|webhook)s? [a-z]+[ _-]?key",
)
_PRINT_BEFORE = lazy_regex(
    rb"(?i)\b(?:fingerprint|thumbprint|(?:open)?pgp|gpg)\b"
    rb"[^\n,;\"'{}]{0,60}key\b[^\n,;{}]{0,16}\Z",
)
_PRINT_AFTER = lazy_regex(rb"(?i)[\"'`)*]{0,3}[ ,]{1,2}\(?(?:ed25519|rsa|ecdsa|fingerprint)\b")
# The first bytes of files: PNG, GIF, JPEG, RIFF, Ogg, PDF, zip, gzip, a font.
_FILE = lazy_regex(rb"\x89PNG|GIF8|\xff\xd8\xff|RIFF|OggS|%PDF|PK\x03\x04|\x1f\x8b\x08|wOF[F2]")


def character_classes(secret: bytes) -> int:
    """Count a secret's classes of characters: lower case, upper case, digits and others."""
    return (
        (secret != secret.upper())
        + (secret != secret.lower())
        + (len(secret) != len(secret.translate(None, _DIGITS)))
        + (not secret.isalnum() and bool(secret))
    )


def _entropy(argument: str) -> Check:
    """`entropy 3.5`: at least that many bits per byte."""
    least = float(argument)
    return lambda secret: entropy(secret) >= least


def _is_mixed(secret: bytes) -> bool:
    """Three classes of characters, or a sixth of digits: seldom in words and names."""
    secret = secret[:MEASURED_BYTES]
    numerals = len(secret) - len(secret.translate(None, _DIGITS))
    return numerals * 6 >= len(secret) > 0 or character_classes(secret) >= 3


def _random_case(secret: bytes) -> bool:
    """Upper and lower case at random, as by coin toss: in camelCase one letter in six is upper."""
    body = PREFIX.sub(b"", secret[:MEASURED_BYTES])
    kinds = body.translate(_KINDS)
    upper = kinds.count(b"A")
    letters = upper + kinds.count(b"a")
    least = 5 if b"AA" in kinds else 4
    return letters >= 8 and letters <= least * upper and 5 * upper <= 4 * letters


def _not_hex(secret: bytes) -> bool:
    """Not all hexadecimal, as digests, trace ids and commits are."""
    return re.fullmatch(rb"[0-9A-Fa-f]+", secret) is None


def not_identifier(secret: bytes) -> bool:
    """Not made of words, as `next_page_token`, `config.apiKey` or `/etc/app/v2`."""
    secret = secret[:MEASURED_BYTES]
    if (_CAMEL.fullmatch(secret) and readable_chars(secret) > 4) or _TYPE.fullmatch(secret):
        return False  # `ed25519.Ed25519PublicKey`
    if re.search(rb"[0-9][A-Za-z]|[0-9]{5}|[!#$%^&*~]", secret):
        return True
    for word in re.findall(rb"[A-Za-z]{6,}", secret):
        turns = len(re.findall(rb"[a-z](?=[A-Z])|[A-Z](?=[a-z])", word))
        if turns >= 4 and len(re.findall(rb"[A-Z]", word)) * 10 >= 3 * len(word):
            return True
    return False


def looks_random(secret: bytes) -> Outcome:
    """HOLDS for random values, FAILS for words, versions and paths.

    A run of letters of one case, or with a capital first, is a word if most of its pairs are.
    """
    body = PREFIX.sub(b"", secret[:MEASURED_BYTES])
    kinds = body.translate(_KINDS)
    letters = len(kinds) - kinds.count(b" ")
    in_words = readable_chars(body)
    if letters < 10 or 10 * in_words >= 6 * letters or has_date(body) or encodes_words(body):
        return False
    if is_public(secret) or b"..." in secret or b"\xe2\x80\xa6" in secret:
        return False
    if is_placeholder(secret):  # abc123def456
        return False
    if len(body) < LEAST_HEX and not _not_hex(body):
        return None  # a short digest has as many digits
    kinds = kinds.lower()
    turns = kinds.count(b"0a") + kinds.count(b"a0")
    if letters >= 16 and 2 * in_words < letters and turns >= letters // 8 and turns >= 3:
        return True
    is_cased = letters >= 16 and _random_case(body) and 10 * in_words < 4 * letters
    return is_cased or None


def is_public(secret: bytes) -> bool:
    """True for the formats of public values: identifiers, publishable and test keys."""
    return _PUBLIC_FORMAT.match(secret) is not None


def encodes_words(body: bytes) -> bool:
    """True for words in base64, such as `not my real password`; and for JSON without a token."""
    text = base64_decoded(body) if len(body) >= 12 else None
    if not text or not text.isascii():
        return False
    runs = _RUN.findall(text) if text[:1] in b"[{" else [b"-"]
    is_plain = not any(_not_hex(run) and not run.isalpha() for run in runs)
    return is_plain or 10 * readable_chars(text) >= 6 * len(text)


_RUN = lazy_regex(rb"[A-Za-z0-9]{12,}|[^ -~]")


def _name_secret(name: bytes) -> bool:
    """Not the name of a public key or token: of a cache, a page, a column."""
    words = name_words(name.decode("latin-1"))
    is_for_retries = words[-2:] == ["client", "token"]  # a client makes it up for one request
    public = (
        credentials.PUBLIC_OF_APIS if "api" in words[-2:-1] else credentials.PUBLIC
    )  # `COLUMN_API_KEY`
    return not is_for_retries and public.isdisjoint(words)


def _is_unlabelled(text: bytes) -> bool:
    """HOLDS if nothing next to a value calls it an id, a digest or public.

    A single word before a colon, as in settings or JSON, identifies the value; the name of a
    text's own field does not. Values in a row are base64 over lines, or a list.
    """
    match, _, around = text.partition(AROUND)
    token = max(_TOKEN.findall(match), key=len, default=b"")
    start = around.find(token)
    before = around[around.rfind(b"\n", 0, start) + 1 : start]
    after = around[start + len(token) :].partition(b"\n")[0]
    if _LABEL.search(before, max(0, len(before) - LABEL_BYTES)) and not _FIELD.fullmatch(before):
        return _PARAMETER.search(before) is not None
    address = (before + b".").rsplit(None, 1)[-1][:-1]
    if b"://" in address:
        if _MAILING.search(address) or (_SEARCH.search(address) and _SEARCH_WORDS.fullmatch(token)):
            return False
        return _PARAMETER.search(before) is not None
    if _COMMAND.match(before):
        return False
    above = around[:start].rsplit(b"\n", 4)[-4:-1]
    below = around[start:].split(b"\n", 4)[1:4]
    if sum(_ALONE.fullmatch(line) is not None for line in (*above, *below)) > 1:
        return False
    if len(before.strip()) < FEW_BYTES and not _FIELD.match(before):  # is the line above about it?
        before = next((line for line in reversed(above) if line.strip()), b"") + b" " + before
    if _FIELD.search(before, max(0, len(before) - NAMED_BYTES - FIELD_BYTES)):
        before = _FIELD.sub(b"", before, 1)
    named = before[-NAMED_BYTES:] + b" " + after[:24].partition(b" http")[0]
    return _NO_SECRET.search(named.lower()) is None


def _is_no_known_id(secret: bytes) -> bool:
    """Neither an id with a known form nor base64 of a text or a file."""
    is_known = _KNOWN_ID.fullmatch(secret) is not None or encodes_words(secret)
    head = base64_decoded(secret[:12]) or b""
    return not is_known and _FILE.match(head) is None


def _not_commit(text: bytes) -> bool:
    """FAILS for a commit after the name of an action: `create-github-app-token@bcd2ba49…`."""
    match = text.partition(AROUND)[0]
    return re.search(rb"[\w-]@[0-9a-f]{40}\Z", match) is None


def _not_fingerprint(text: bytes) -> bool:
    """FAILS for a key's fingerprint, which is public, by its name and the words around it."""
    match, _, around = text.partition(AROUND)
    printed = _FINGERPRINT.search(match)
    if not printed:
        return True
    start = max(0, around.find(match))
    end = start + len(match)
    before = around[max(0, start - NAMED_BYTES) : end - len(printed[0])]
    if _PRINT_BEFORE.search(before) or _PRINT_AFTER.match(around, end):
        return False
    is_of_gpg = printed[1].isupper() and len(printed[1]) == 40
    is_published = _PUBLISHED_KEY.search(before) and not _SHARED_KEY.search(before)
    return not (is_of_gpg and is_published)


CHECKS: Checks = {
    "around-not-commit": _not_commit,
    "around-not-fingerprint": _not_fingerprint,
    "around-unlabelled": _is_unlabelled,
    "mixed": _is_mixed,
    "name-secret": _name_secret,
    "no-known-id": _is_no_known_id,
    "not-hex": _not_hex,
    "not-identifier": not_identifier,
    "random": looks_random,
    "random-case": _random_case,
}
WITH_ARGUMENT: ChecksWithArgument = {"entropy": _entropy}
