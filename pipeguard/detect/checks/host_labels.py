"""Detects data in the labels of a host name, by which a DNS query can exfiltrate a text.

Whoever answers for a domain sees every name below it that anybody asks for. A label has at most 63
letters, digits and hyphens (RFC 1035, 2.3.4), so a text goes out in hex, base32 or base64url, over
as many labels as it needs (MITRE ATT&CK T1048, T1071.004). Names that are generated, of buckets,
deployments and load balancers, have one long label, and it decodes to no text.
"""

from base64 import b32decode, b32hexdecode, urlsafe_b64decode
from binascii import unhexlify
from collections.abc import Iterator

from pipeguard.detect.checks.outcome import Checks
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_HOST_BYTES = 255  # RFC 1035, 2.3.4
LONGEST_LABEL = 128  # no host name has a label of even half this length
DOMAIN_LABELS = 2  # at the end, which are the domain's own; a third may be the collector's
LEAST_TEXT = 8  # bytes that read as text by chance in one label of several thousand
LEAST_ENCODED = 11  # the same bytes in base64, the densest of the alphabets
LEAST_SPLIT = 12  # of a text composed of labels, or that could be a long word
SHARE = 0.75  # of letters, digits and blanks in a text
SHARE_LONG = 0.55  # in one of
LONG_TEXT = 16  # bytes
LONG_LABEL = 30  # characters
LONG_HEX = 16
MANY_HEX = 56  # digits in several labels: more than a digest that is cut in two
_HEX = lazy_regex(r"[0-9a-f]+")
_BASE32 = lazy_regex(r"[a-z2-7]+")
_BASE32_HEX = lazy_regex(r"[0-9a-v]+")  # RFC 4648, section 7
_BASE64 = lazy_regex(r"[A-Za-z0-9_-]+")
_NUMBERED = lazy_regex(r"\A[a-z0-9]{1,4}[-_](?=.{8})")  # a piece of several
_REVERSE = ".in-addr.arpa", ".ip6.arpa"
_READABLE = lazy_regex(rb"[\t\n\r -~]+")
_WORDY = lazy_regex(rb"[A-Za-z0-9 ]")


def carries_data(host: str) -> bool:
    """True for a host name whose labels decode to text, or that is mostly long pieces of data."""
    if max(map(len, host.split("."))) > LONGEST_LABEL:
        return False
    host = host[:MAX_HOST_BYTES].rstrip(".")
    labels = host.split(".")[:-DOMAIN_LABELS]
    if sum(map(len, labels)) < LEAST_ENCODED or host.lower().endswith(_REVERSE):
        return False
    pieces = [_NUMBERED.sub("", label) for label in labels]
    for piece in pieces:
        least = LEAST_SPLIT if piece.isalpha() and piece.islower() else LEAST_TEXT
        if any(_is_text(text, least) for text in _decode(piece)):
            return True
    together = _decoded_together(pieces)
    return any(_is_text(text, LEAST_SPLIT) for text in together) or _is_long(pieces)


def _decoded_together(pieces: list[str]) -> Iterator[bytes]:
    """Decode labels joined together, with and without the last, and without a leading number."""
    for part in (pieces, pieces[1:], pieces[:-1], pieces[1:-1]):
        if len(part) > 1:
            yield from _decode("".join(part))


def _decode(label: str) -> Iterator[bytes]:
    """Decode a label in each alphabet that fits it."""
    small = label.lower()
    for alphabet, text, decode in (
        (_HEX, small, unhexlify),
        (_BASE32, small, lambda text: b32decode(_pad(text.upper(), 8))),
        (_BASE32_HEX, small, lambda text: b32hexdecode(_pad(text.upper(), 8))),
        (_BASE64, label, lambda text: urlsafe_b64decode(_pad(text, 4))),
    ):
        if alphabet.fullmatch(text):
            try:
                yield decode(text)
            except ValueError:
                continue


def _pad(text: str, group: int) -> str:
    return text + "=" * (-len(text) % group)


def _is_text(plain: bytes, least: int) -> bool:
    """True for bytes that are prose: printable, and mostly letters, digits and blanks."""
    if len(plain) < least:
        return False
    if not _READABLE.fullmatch(plain):
        return len(plain) >= LEAST_SPLIT and _is_of_other_script(plain)
    letters = len(_WORDY.findall(plain))
    share = SHARE_LONG if len(plain) >= LONG_TEXT else SHARE
    return letters >= share * len(plain)


def _is_of_other_script(plain: bytes) -> bool:
    """True for UTF-8 that is mostly letters beyond ASCII."""
    try:
        text = plain.decode()
    except UnicodeDecodeError:
        return False
    return text.isprintable() and 2 * sum(map(str.isalpha, text)) > len(text)


def _is_long(pieces: list[str]) -> bool:
    """True for several labels of only hex digits, or of letters and digits as in base64."""
    in_hex = [piece for piece in pieces if len(piece) >= LONG_HEX and _HEX.fullmatch(piece.lower())]
    if sum(map(len, in_hex)) >= MANY_HEX:
        return True
    dense = [piece for piece in pieces if len(piece) >= LONG_LABEL and _is_dense(piece)]
    return len(dense) > 1


def _is_dense(piece: str) -> bool:
    """True for letters with digits among them, and hardly any hyphens."""
    digits = sum(map(str.isdigit, piece))
    return digits >= len(piece) // 16 + 1 and piece.count("-") <= len(piece) // 24


CHECKS: Checks = {"host-carries-data": lambda secret: carries_data(secret.decode("latin-1"))}
