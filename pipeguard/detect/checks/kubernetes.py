"""Checks of Kubernetes' secrets: whether a member of a manifest is one, and a secret by its value.

Pure functions over bytes; none raises, and each takes time linear in them.
Source: kubernetes.io, API reference, Secret v1: `data` is base64, `stringData` is not.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeguard.detect.checks.outcome import AROUND, Check, Outcome, to_outcome
from pipeguard.detect.checks.passwords import password_outcome, typed_outcome
from pipeguard.detect.checks.placeholders import base64_decoded
from pipeguard.firewall.lazy_regex import lazy_regex

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
        return Outcome.FAILS
    ends = [match.start() for match in _NEXT_DOCUMENT.finditer(around)]
    low = max((end for end in ends if end < at), default=0)
    high = min((end for end in ends if end >= at), default=len(around))
    if not _KIND.search(around, low, high):
        return Outcome.FAILS
    before = around[low:at]
    if b"\n" in member[:2]:
        indent = len(member) - len(member.lstrip()) - 1
        lines = before.split(b"\n")
        outer = (line for line in reversed(lines) if line.strip() and _indent(line) < indent)
        return to_outcome(_MAP.search(next(outer, b"")) is not None)
    outside = before if member.startswith(b"{") else before.rpartition(b"{")[0]
    return to_outcome(_MAP.search(outside) is not None)


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip(b" \t"))


def _value(secret: bytes) -> Outcome:
    """HOLDS for a value, encoded or not, that is no name, no placeholder, no certificate."""
    raw = base64_decoded(secret)
    if raw is None or len(raw) < LEAST_BYTES:
        return typed_outcome(secret)
    if _PUBLIC.match(raw):
        return Outcome.FAILS
    try:
        text = raw.decode().strip().encode()
    except UnicodeDecodeError:
        is_key = len(raw) >= 2 * LEAST_BYTES  # random bytes
        return to_outcome(is_key and password_outcome(secret) is not Outcome.FAILS)
    if _PRIVATE.search(text):
        return Outcome.HOLDS
    return to_outcome(Outcome.FAILS not in (password_outcome(text), typed_outcome(text)))


CHECKS: Mapping[str, Check] = {
    "around-kubernetes": _in_secret,
    "kubernetes-value": _value,
}
