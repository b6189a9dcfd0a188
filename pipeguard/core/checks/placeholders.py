"""What stands in a secret's place and is none: words, templates, rows, published samples.

Pure functions over bytes. Knows no rule and no format; never raises, in time linear in the bytes.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from math import log2

MEASURED_BYTES = 4096  # entropy and the like look no further: keys are shorter
# What an issuer writes before the body, as `sk-ant-api03-`: short, and of one case.
PREFIX = re.compile(rb"\A(?:(?:[a-z]{1,10}|[A-Z]{1,10})[0-9]{0,2}[_.:-]){1,3}")


def entropy(secret: bytes) -> float:
    """Shannon's entropy in bits per byte, of the first 4096 bytes."""
    secret = secret[:MEASURED_BYTES]
    total = len(secret)
    return -sum(n / total * log2(n / total) for n in map(secret.count, set(secret)))


# Words that stand where a secret will: the long ones anywhere, the short ones only by themselves.
_LONG = (
    b"examples?|sample|dummy|test(?:ing)?|fake|placeholder|change[-_ ]?(?:me|this|it)|your|insert|"
    b"replace|redacted|removed|hidden|masked|todo|none|null|undefined|secret|password|passwd|foobar|"
    b"lorem|ipsum|qwerty|asdf|mock|demo|default|string|token|apikey|access|private|credential|value|"
    b"enter|paste|here|something|whatever|invalid|not[-_ ]?(?:a[-_ ]?)?real|deadbeef|cafebabe"
)
_SHORT = b"my|key|api|foo|bar|baz|me|the|a|an|is|abc|pass|user|name|todo|tbd|n/a|id|as|x|of|for|and"


_SLOT = rb"\$?\{{1,2}[^{}]{0,80}\}{1,2}|<[^<>]{0,80}>|%\(\w{1,40}\)s"  # of a template
LEAST_LEFT = 8  # characters that must be left of a secret once all that is taken out


@cache
def _fillers() -> re.Pattern[bytes]:
    return re.compile(
        rb"%s|(?:%s)|(?<![0-9a-z])(?:%s)(?![0-9a-z])|(.)\1{4,}" % (_SLOT, _LONG, _SHORT),
        re.IGNORECASE | re.DOTALL,
    )


@cache
def _references() -> re.Pattern[bytes]:
    """Where a secret is named and not given: a variable, a vault's path, a template; whole.

    Manuals name in capitals what is to be put there: KEYSTONE_DBPASS.
    """
    return re.compile(
        rb"""(?xs) \s* (?:
            \$?\{{1,2} [^{}]{0,200} \}{1,2} | \$\(? [A-Za-z_][\w.]* \)? | %\w+%
          | <[^<>]{0,200}> | \[[^\[\]]{0,200}\] | \{%.{0,200}%\} | <%.{0,200}%>
          | (?: process\.env | import\.meta\.env | os\.environ | ENV | env | secrets | vars? | local
              | data | self | this | config | settings | process | options | args | params | props
            ) [.\[] .{0,200}
          | (?:os\.)?getenv\(? .{0,200} | \w+\( .{0,200}
          | (?: vault | op | ssm | ref\+\w+ | secretsmanager | keyvault ) ://? .{0,200}
          | vault: .{0,200} | arn:aws[\w-]*: .{0,300} | ENC\[ .{0,600} | !vault .{0,600}
          | @Microsoft\.KeyVault .{0,300}
          | (?:[A-Z]{2,16}_){1,4}
            (?: [A-Z]{0,6} (?: PASS(?:WD|WORD)? | PWD | SECRET | TOKEN | KEY ) | HERE )
        ) \s*"""
    )


def placeholder(secret: bytes) -> bool:
    """Say whether this evidently stands in a secret's place and is none.

    Words such as `example` are taken out of the body, and runs; what is left must be too little
    for a secret. So a word glued to a live key does not hide it.
    """
    if published(secret) or _references().fullmatch(secret[:MEASURED_BYTES]):
        return True
    body = PREFIX.sub(b"", secret[:MEASURED_BYTES])
    if len(body) < LEAST_LEFT:
        body = secret  # what looked like an issuer's letters is all that there is
    letters = re.sub(rb"[^0-9A-Za-z\x80-\xff]", b"", body)
    if not letters or _is_monotone(letters) or _is_masked(body, letters):
        return True
    rest, fillers = _fillers().subn(b"", body)
    if not fillers and b"..." not in body and b"\xe2\x80\xa6" not in body:
        return False
    rest = re.sub(rb"[^0-9A-Za-z]", b"", rest)
    return len(rest) < LEAST_LEFT or entropy(rest) < 2.5 or _is_monotone(rest)


def _is_masked(body: bytes, letters: bytes) -> bool:
    """Its middle is starred out, as logs and consoles do."""
    return b"***" in body and len(letters) < 2 * LEAST_LEFT


def _is_monotone(letters: bytes) -> bool:
    """One character for the most part, or an ascending or descending row of them."""
    if len(letters) < 6:
        return len(set(letters)) == 1
    text = letters.lower()
    rows = sum(-1 <= after - before <= 1 for before, after in pairwise(text))
    return rows * 10 >= 6 * len(text) or max(map(text.count, set(text))) * 10 >= 6 * len(text)


def published(secret: bytes) -> bool:
    """Say whether a vendor's own documentation prints it."""
    if re.fullmatch(rb"A[A-Z]{3}[A-Z0-9]{9}EXAMPLE", secret):  # docs.aws.amazon.com/IAM, throughout
        return True
    if not 14 <= len(secret) <= 400:
        return False
    from pipeguard.core.digest import sha256

    return sha256(secret).hexdigest()[:32] in _published_digests()


@cache
def _published_digests() -> frozenset[str]:
    """SHA-256, cut to 32 digits, of secrets that vendors print: so none of them stands here."""
    return frozenset(
        (
            # AWS documentation
            "78314b11be2e581549ac1c4f616563fa",
            "e21b597ba6b9cafa59d9ebc4d65c0385",
            # Azurite
            "0011cc25eb4320717494d2703e8cba85",
            # Azure Cosmos DB emulator
            "aa6547439583c3a275d4542a0df6c1ad",
            # Stripe documentation
            "2cafc0970149a84f3b9e62eaf169f36f",
            "f2d6ca16515033e5dce14eba840b979d",
            "2d1f7723aabc5c7a51fcdc2463c99b5f",
            # GitHub REST documentation
            "3543c50b0cb9cea8e55eb1f529b79f04",
            "bc3ae723f57c6b9e3fd80b699fcc420f",
            "82e74299544e00738f9c0acb69b1eb34",
            "797c0ce414586cc8eb6929afe947c720",
            "6d7fa4e64d4b1f3ea31962e258b684de",
            # RFC 6749 and RFC 6750, throughout
            "6c96130f130ab0d6d158397e24d2bcc1",
            "00cf4c781dc37003f7c7dd7d4c9a6ef1",
            "a35b81a7d7927b70ec99270dd2362b88",
            "ca7459e2b26776de081b9a07e40227fd",
            "e9974c507d2a802143f614c878fcbb62",
            "b8e148545b13c78bc74da2f1a7275dd7",
            # RFC 7519, 3.1
            "8d4ef6536dc8895f256c1e0d95dcd197",
            # jwt.io
            "7f75367e7881255134e1375e723d1dea",
            "da816f9f2c16e6c5390e7636cadc40c4",
            "c794fa6d20c64efb9adf980ae93af472",
        )
    )
