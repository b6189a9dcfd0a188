"""Fingerprints of what was found, by which an exception holds for that content alone.

The key is the installation's, and stands beside the store, not in the policy: without it, nobody
finds out by trying which secret a policy or an exported audit names (BLAKE2b with a key, RFC 7693).
"""

from __future__ import annotations

from pipeguard.detect.scanning.scan_result import Match
from pipeguard.firewall.digest import blake2b
from pipeguard.firewall.protocol.json_values import JsonValue, serialise
from pipeguard.firewall.protocol.places import Path, value_at

DIGITS = 32  # hex digits of a fingerprint: 128 bits


class ContentMarks:
    """The fingerprints in one value; a string is hashed once, however much is found in it.

    Of a secret that is there as it is, its own characters count, whatever is around it. Of anything
    else the whole string counts: words that are harmless in one text may be an order in another.

    Args:
        key: the installation's; without one there are no fingerprints.
        value: that is judged.
    """

    def __init__(self, key: bytes, value: JsonValue) -> None:
        self._key = key
        self._value = value
        self._digests: dict[Path, bytes] = {}

    def of_match(self, match: Match) -> str:
        """The fingerprint of what a rule matched; empty without a key, and of several strings."""
        if not self._key or len(match.paths) > 1:
            return ""
        if match.rule.is_private and match.exact and match.view == "text":
            text = value_at(self._value, match.path)
            if isinstance(text, str) and match.start < match.end:
                found = text[match.start : match.end].encode("utf-8", "surrogatepass")
                return self._signed(match.rule.id, b"match", blake2b(found).digest())
        return self._signed(match.rule.id, b"text", self._digest(match.path))

    def of_part(self, rule: str, path: Path) -> str:
        """The fingerprint of all at a path, for a rule that matches nowhere in it."""
        return self._signed(rule, b"part", self._digest(path)) if self._key else ""

    def _digest(self, path: Path) -> bytes:
        digest = self._digests.get(path)
        if digest is None:
            found = value_at(self._value, path)
            text = found.encode("utf-8", "surrogatepass") if isinstance(found, str) else None
            digest = blake2b(serialise(found) if text is None else text).digest()
            self._digests[path] = digest
        return digest

    def _signed(self, rule: str, kind: bytes, digest: bytes) -> str:
        data = b"\0".join((rule.encode(), kind, digest))
        return blake2b(data, digest_size=DIGITS // 2, key=self._key).hexdigest()
